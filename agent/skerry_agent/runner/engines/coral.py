"""Google's pycoral, where it is installed: its list of Edge TPUs and its delegate. Imports no other project's pycoral.

Under this name the Python registry has another project's package, so that a name alone proves nothing: Google's has
`pycoral/utils/edgetpu.py`. It was never published there, and its own wheels end at Python 3.9; who builds it for newer
ones builds a libedgetpu beside it that fits. So nothing here depends on it, and nothing of it is asked for but what
reaches the device. Not run on hardware.
"""

import importlib
import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from skerry_agent.runner.engines.tpu import Found

MODULE = "pycoral.utils.edgetpu"
Kind = Literal["google", "other", "absent"]


def installed() -> Kind:
    """Whose pycoral there is, by its files: looking up a top-level name runs no code of the package."""
    spec = importlib.util.find_spec("pycoral")
    if spec is None:
        return "absent"
    places = [Path(place) for place in spec.submodule_search_locations or ()]
    return "google" if any((place / "utils" / "edgetpu.py").is_file() for place in places) else "other"


class Pycoral:
    """A `tpu.Driver`. Raises `ImportError` when it is made and what is installed cannot be imported here."""

    name = "pycoral"

    def __init__(self) -> None:
        self._module: ModuleType = importlib.import_module(MODULE)

    def look(self) -> Found:
        """Its list, which holds the same records as that of the C API."""
        devices = tuple(f"{tpu['type']}:{tpu['path']}" for tpu in self._module.list_edge_tpus())
        return Found(str(self._module.get_runtime_version()), devices, self.name)

    def delegate(self, index: int) -> Any:
        """See `tpu.Driver.delegate`."""
        return self._module.load_edgetpu_delegate({"device": f":{index}"})
