"""Google's pycoral, where it is installed: its list of Edge TPUs and its delegate. Imports no other project's pycoral.

The Python package index has another project's package of this name. Google's is recognised by its file
`pycoral/utils/edgetpu.py`; it was never published there, and its wheels end at Python 3.9. A pycoral that was built for
a newer Python comes with a libedgetpu that matches it. So nothing here depends on pycoral, and only the functions that
reach the device are used. Not run on hardware.
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

    def find_devices(self) -> Found:
        """Its list, which holds the same records as that of the C API."""
        devices = tuple(f"{tpu['type']}:{tpu['path']}" for tpu in self._module.list_edge_tpus())
        return Found(str(self._module.get_runtime_version()), devices, self.name)

    def delegate(self, index: int) -> Any:
        """See `tpu.Driver.delegate`."""
        return self._module.load_edgetpu_delegate({"device": f":{index}"})
