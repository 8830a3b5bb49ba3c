"""TFLite models on ai-edge-litert, which delegates int8 and float models to XNNPACK by default."""

from types import ModuleType

from skerry_agent.runner.engines import tflite
from skerry_agent.runner.engines.base import ModelFile


def open_litert(model: ModelFile) -> tflite.TfliteEngine:
    """Load with the runtime's default delegate. Raises `EngineError`."""
    return tflite.open_tflite(interpreter_module(), model)


def check() -> str:
    """Name and version; raises `EngineError` if it does not work here."""
    return tflite.check(interpreter_module())


def interpreter_module() -> ModuleType:
    """The module with `Interpreter` and `load_delegate`; raises `EngineError` if it is not installed."""
    return tflite.interpreter_module("ai_edge_litert", "skerry-agent[litert]")
