"""TFLite models on tflite-runtime 2.14, its last release: Python 3.11 at most, numpy 1, a separate environment.

It delegates float models to XNNPACK and runs int8 ones on its own kernels (measured on x86-64), so that litert is
faster for the cpu target. Its purpose: a libedgetpu that was built for its TFLite release.
"""

from types import ModuleType

from skerry_agent.runner.engines import tflite
from skerry_agent.runner.engines.base import ModelFile


def open_tflite_runtime(model: ModelFile) -> tflite.TfliteEngine:
    """Load with the runtime's default delegate. Raises `EngineError`."""
    return tflite.open_tflite(interpreter_module(), model)


def check() -> str:
    """Name and version; raises `EngineError` if it does not work here, for instance with numpy 2."""
    return tflite.check(interpreter_module())


def interpreter_module() -> ModuleType:
    """The module with `Interpreter` and `load_delegate`; raises `EngineError` if it is not installed."""
    return tflite.interpreter_module("tflite_runtime", "skerry-agent[coral]")
