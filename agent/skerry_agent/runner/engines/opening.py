"""Which runtime opens a model, by the name in a `Job`."""

from collections.abc import Callable

from skerry_agent.runner import protocol
from skerry_agent.runner.engines.base import Engine


def open_engine(kind: protocol.Engine, path: str, threads: int) -> Engine:
    """Load the model file at `path`. Raises `EngineError` when the runtime is missing or refuses it."""
    return _OPENERS[kind](path, threads)


def _litert(path: str, threads: int) -> Engine:
    from skerry_agent.runner.engines import tflite  # noqa: PLC0415 - a runtime costs memory: only the one in use

    return tflite.open_litert(path, threads)


def _tflite_runtime(path: str, threads: int) -> Engine:
    from skerry_agent.runner.engines import tflite  # noqa: PLC0415

    return tflite.open_tflite_runtime(path, threads)


def _edgetpu(path: str, threads: int) -> Engine:
    from skerry_agent.runner.engines import edgetpu  # noqa: PLC0415

    return edgetpu.open_edgetpu(path, threads)


def _onnxruntime(path: str, threads: int) -> Engine:
    from skerry_agent.runner.engines import onnx  # noqa: PLC0415

    return onnx.open_onnxruntime(path, threads)


_OPENERS: dict[protocol.Engine, Callable[[str, int], Engine]] = {
    "litert": _litert,
    "tflite_runtime": _tflite_runtime,
    "edgetpu": _edgetpu,
    "onnxruntime": _onnxruntime,
}
