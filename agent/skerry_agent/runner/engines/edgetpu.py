"""TFLite models compiled for a Coral Edge TPU, through the libedgetpu delegate.

A stock libedgetpu 16.0 kills the process with runtimes of TFLite 2.12 and newer unless it was rebuilt, so that the
delegate is first tried in a child process. No Edge TPU was at hand: what follows a good probe has not run on hardware.
Never uses `pycoral`: its registry name belongs to another project, and `load_delegate` is all that is needed.
"""

import importlib.util
import subprocess
import sys
from types import ModuleType

from skerry_agent.runner.engines import tflite
from skerry_agent.runner.errors import EngineError

LIBRARY = "libedgetpu.so.1"
PROBE_TIMEOUT_S = 30.0
_PROBE = "import sys, importlib; importlib.import_module(sys.argv[1]).load_delegate(sys.argv[2])"


def open_edgetpu(path: str, threads: int, library: str = LIBRARY) -> tflite.TfliteEngine:
    """Load a compiled model on the first Edge TPU. Raises `EngineError` if it cannot be used."""
    module = _runtime()
    probe(module.__name__, library)
    try:
        delegate = module.load_delegate(library)
    except (ValueError, OSError) as error:  # between the probe and now somebody else may have taken it
        raise EngineError(f"the Edge TPU is gone: {error}", hint="use it from one process only") from None
    return tflite.open_tflite(module, path, threads, [delegate])


def probe(module: str, library: str, timeout_s: float = PROBE_TIMEOUT_S) -> None:
    """Load the delegate once in a child process; raises `EngineError` that says why this process must not try."""
    command = [sys.executable, "-c", _PROBE, module, library]
    try:
        child = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)
    except subprocess.TimeoutExpired:
        raise EngineError(f"the Edge TPU does not answer within {timeout_s:.0f} s", hint="replug it") from None
    if child.returncode < 0:
        raise EngineError(
            f"{library} crashes with {module.partition('.')[0]} (signal {-child.returncode})",
            hint="install a libedgetpu that was built for this TFLite release, or use the cpu target",
        )
    if child.returncode:
        reason = child.stderr.strip().splitlines()[-1:] or ["no reason given"]
        raise EngineError(
            f"no Edge TPU through {library}: {reason[0]}",
            hint="install libedgetpu1-std, connect the Edge TPU and check its udev rule, or use the cpu target",
        )


def _runtime() -> ModuleType:
    """The coral environment has tflite-runtime, all others ai-edge-litert."""
    if importlib.util.find_spec("tflite_runtime"):
        return tflite.tflite_runtime_module()
    return tflite.litert_module()
