"""Which runtime opens a model, by the name in a `Job`, and whether it works here.

A runtime costs memory: only the one that is asked for is imported.
"""

from collections.abc import Callable

from msgspec import Struct

from skerry_agent.ports import runner_protocol
from skerry_agent.runner.engines.base import Engine, ModelFile


class Runtime(Struct, frozen=True):
    """How a runtime opens a model, and how it says in one line that it works here. Both raise `EngineError`."""

    open: Callable[[ModelFile], Engine]
    check: Callable[[], str]


def open_engine(kind: runner_protocol.Engine, model: ModelFile) -> Engine:
    """Load a model file. Raises `EngineError` when the runtime is missing or refuses it."""
    return _RUNTIMES[kind]().open(model)


def check_engine(kind: runner_protocol.Engine) -> str:
    """Name and version of a runtime that works here; raises `EngineError`. A broken one may end the process."""
    return _RUNTIMES[kind]().check()


def _litert() -> Runtime:
    from skerry_agent.runner.engines import litert  # noqa: PLC0415

    return Runtime(litert.open_litert, litert.check)


def _tflite_runtime() -> Runtime:
    from skerry_agent.runner.engines import tflite_runtime  # noqa: PLC0415

    return Runtime(tflite_runtime.open_tflite_runtime, tflite_runtime.check)


def _edgetpu() -> Runtime:
    from skerry_agent.runner.engines import edgetpu  # noqa: PLC0415

    return Runtime(edgetpu.open_edgetpu, edgetpu.check)


def _onnxruntime() -> Runtime:
    from skerry_agent.runner.engines import onnx  # noqa: PLC0415

    return Runtime(onnx.open_onnxruntime, onnx.check)


_RUNTIMES: dict[runner_protocol.Engine, Callable[[], Runtime]] = {
    "litert": _litert,
    "tflite_runtime": _tflite_runtime,
    "edgetpu": _edgetpu,
    "onnxruntime": _onnxruntime,
}
