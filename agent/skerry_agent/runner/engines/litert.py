"""TFLite models on ai-edge-litert, which delegates int8 and float models to XNNPACK by default.

Through its C API where that takes the model (`litert_c`), which needs less than half the memory; else through its
Interpreter. Both run the same kernels and give the same answers.
"""

import logging
from types import ModuleType

from skerry_agent.runner.engines import litert_c
from skerry_agent.runner.engines.base import Engine, ModelFile
from skerry_agent.runner.errors import EngineError

_LOG = logging.getLogger(__name__)


def open_litert(model: ModelFile) -> Engine:
    """Load with the runtime's default delegate. Raises `EngineError`."""
    try:
        return litert_c.open_compiled(model)
    except EngineError as reason:
        _LOG.info("%s", reason)
    return open_interpreter(model)


def open_interpreter(model: ModelFile) -> Engine:
    """Load with the package's Interpreter, which needs numpy. Raises `EngineError`."""
    from skerry_agent.runner.engines import tflite  # noqa: PLC0415 - imports numpy

    return tflite.open_tflite(interpreter_module(), model)


def check() -> str:
    """Name and version; raises `EngineError` if it does not work here."""
    from skerry_agent.runner.engines import tflite  # noqa: PLC0415 - imports numpy

    return tflite.check(interpreter_module())


def interpreter_module() -> ModuleType:
    """The module with `Interpreter` and `load_delegate`; raises `EngineError` if it is not installed."""
    from skerry_agent.runner.engines import tflite  # noqa: PLC0415 - imports numpy

    return tflite.interpreter_module("ai_edge_litert", "skerry-agent[litert]")
