"""TFLite models compiled for a Coral Edge TPU, through the libedgetpu delegate on litert or tflite-runtime.

The model is first run in a child process (`tpu_probe`). No Edge TPU was available: what follows a successful probe has
not run on hardware. What an accelerator lacks has a code of `wire.accelerators`; one lost in service, too.

The delegate needs TFLite's classic Interpreter: LiteRT's CompiledModel takes no delegate from outside, so its C API
(`litert_c`), which the cpu target uses, is not used here, whatever the version.
"""

import importlib.util
from collections.abc import Sequence
from types import ModuleType

from skerry_agent.ports.edgetpu_devices import by_system
from skerry_agent.runner.engines import coral, litert, tflite, tflite_runtime, tpu, tpu_probe
from skerry_agent.runner.engines.base import Engine, ModelFile
from skerry_agent.runner.errors import EngineError, InferenceError
from skerry_agent.runner.tensor import Tensor


class EdgeTpuEngine:
    """A loaded engine whose device may be pulled out."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.about, self.inputs, self.outputs = engine.about, engine.inputs, engine.outputs

    def infer(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        """See `Engine.infer`. Raises `EngineError` (device_lost) when it failed and the kernel shows no Edge TPU."""
        try:
            return self._engine.infer(inputs)
        except InferenceError as error:
            if by_system():
                raise
            raise tpu_probe.unusable("device_lost", f"the Edge TPU was lost ({error})") from None

    def close(self) -> None:
        """See `Engine.close`."""
        self._engine.close()


def open_edgetpu(model: ModelFile, library: str = tpu.LIBRARY) -> EdgeTpuEngine:
    """Load a compiled model on the first Edge TPU that is free.

    Raises `EngineError` if there is none, or it cannot run this model: then the device uses its cpu bundle.
    """
    module = _interpreter_module()
    try:
        tflite.check(module)
    except EngineError as error:  # the cpu bundle may run on another runtime
        raise EngineError(error.message, hint=error.hint, code="runtime_unfit") from None
    request = tpu_probe.ProbeRequest(module.__name__, library, model, tpu_probe.DEVICE_WAIT_S)
    usable = tpu_probe.probe(request)
    about = f"{usable.found.about} on {usable.device}"
    try:
        delegate = tpu_probe.open_again(usable, request)
        return EdgeTpuEngine(tflite.open_tflite(module, model, [delegate], about))
    except (ValueError, OSError, EngineError) as error:  # since the child left, somebody else may have taken it
        reason = error.message if isinstance(error, EngineError) else tflite.one_line(error)
        raise tpu_probe.unusable("device_lost", f"the Edge TPU was lost: {reason}") from None


def check(library: str = tpu.LIBRARY) -> str:
    """The driver and its devices, and whose pycoral there is; opens none. Raises `EngineError`."""
    module = _interpreter_module()
    impostor = coral.installed() == "other"
    note = "; the pycoral installed here is another project's package: not used" if impostor else ""
    runtime = tflite.check(module)
    try:
        found = tpu_probe.find_devices(tpu_probe.ProbeRequest(module.__name__, library))
    except EngineError as error:
        raise EngineError(f"{error.code}: {error.message}", hint=error.hint + note, code=error.code) from None
    return f"{runtime}, {found.about}: {', '.join(found.devices)}{note}"


def _interpreter_module() -> ModuleType:
    """The coral environment has tflite-runtime, all others ai-edge-litert."""
    if importlib.util.find_spec("tflite_runtime"):
        return tflite_runtime.interpreter_module()
    return litert.interpreter_module()
