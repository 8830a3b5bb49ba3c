"""TFLite models compiled for a Coral Edge TPU, through the libedgetpu delegate.

A stock libedgetpu 16.0 kills the process with runtimes of TFLite 2.12 and newer unless it was rebuilt, so that the
delegate is first tried in a child process. No Edge TPU was at hand: what follows a good probe has not run on hardware.
Never uses `pycoral`: its registry name belongs to another project, and `load_delegate` is all that is needed.
"""

import importlib.util
import json
import subprocess
import sys
from types import ModuleType

import msgspec

from skerry_agent.runner.engines import tflite, tpu
from skerry_agent.runner.errors import EngineError

LIBRARY = "libedgetpu.so.1"
PROBE_TIMEOUT_S = 30.0


def open_edgetpu(path: str, threads: int, library: str = LIBRARY) -> tflite.TfliteEngine:
    """Load a compiled model on the first Edge TPU. Raises `EngineError` (no_accelerator) if it cannot be used."""
    module = _runtime()
    found = probe(module.__name__, library)
    try:
        delegate = module.load_delegate(library)
    except (ValueError, OSError) as error:  # between the probe and now somebody else may have taken it
        raise _unusable(f"the Edge TPU is gone: {error}", "use it from one process only") from None
    runtime = f" runtime {found.runtime}" if found.runtime else ""
    return tflite.open_tflite(module, path, threads, [delegate], f"libedgetpu{runtime} on {found.devices[0]}")


def probe(module: str, library: str, timeout_s: float = PROBE_TIMEOUT_S) -> tpu.Found:
    """Ask for devices and load the delegate once in a child process; the answer, with a device at least.

    Raises `EngineError` (no_accelerator) that says why this process must not try.
    """
    command = [sys.executable, "-m", tpu.__name__, library, module]
    try:
        child = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)
    except subprocess.TimeoutExpired:
        raise _unusable(f"the Edge TPU does not answer within {timeout_s:.0f} s", "replug it") from None
    said = [line for line in child.stdout.splitlines() if line.startswith("{")]
    found = msgspec.convert(json.loads(said[-1]), tpu.Found) if said else None
    if child.returncode < 0:
        raise _unusable(
            f"{library} crashes with {module.partition('.')[0]} (signal {-child.returncode})",
            "install a libedgetpu that was built for this TFLite release, or use the cpu target",
        )
    if found is not None and not found.devices:
        raise _unusable(_absent(), "connect it and check its udev rule, or use the cpu target")
    if found is None or child.returncode:
        reason = child.stderr.strip().splitlines()[-1:] or ["no reason given"]
        raise _unusable(
            f"no Edge TPU through {library}: {reason[0]}",
            "install libedgetpu1-std, connect the Edge TPU and let no other process use it, or use the cpu target",
        )
    return found


def _absent() -> str:
    """No device for the library; the kernel may see one that this process may not open."""
    seen = tpu.by_system()
    return f"the Edge TPU {seen[0]} is there, but not for this user" if seen else "no Edge TPU is connected"


def _unusable(what: str, hint: str) -> EngineError:
    return EngineError(what, hint=hint, code="no_accelerator")


def _runtime() -> ModuleType:
    """The coral environment has tflite-runtime, all others ai-edge-litert."""
    if importlib.util.find_spec("tflite_runtime"):
        return tflite.tflite_runtime_module()
    return tflite.litert_module()
