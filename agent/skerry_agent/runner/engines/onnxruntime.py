"""ONNX models on onnxruntime's CPU provider. Shapes must be fixed; quantization lives inside the graph (QDQ)."""

from collections.abc import Sequence
from types import ModuleType
from typing import Any

from skerry_agent.runner.arrays import from_array, to_array
from skerry_agent.runner.engines.base import About, ModelFile
from skerry_agent.runner.errors import EngineError, InferenceError
from skerry_agent.runner.tensor import Tensor
from skerry_agent.wire.manifest import TensorSpec

_DTYPES = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(double)": "float64",
    "tensor(uint8)": "uint8",
    "tensor(int8)": "int8",
    "tensor(uint16)": "uint16",
    "tensor(int16)": "int16",
    "tensor(int32)": "int32",
    "tensor(int64)": "int64",
    "tensor(bool)": "bool",
}
_FAILURES = (
    "Fail",
    "InvalidArgument",
    "InvalidGraph",
    "InvalidProtobuf",
    "NoSuchFile",
    "RuntimeException",
    "NotImplemented",
    "ModelLoaded",
    "EPFail",
)
"""The exceptions of onnxruntime, which share no base of their own."""


class OnnxEngine:
    """An onnxruntime session."""

    def __init__(self, session: Any, failures: tuple[type[Exception], ...], version: str) -> None:
        self._session = session
        self.about = About("onnxruntime", version, str(session.get_providers()[0]))
        self._failures = failures
        self.inputs = tuple(map(_spec, session.get_inputs()))
        self.outputs = tuple(map(_spec, session.get_outputs()))
        self._names = [spec.name for spec in self.inputs]

    def infer(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        """See `Engine.infer`."""
        try:
            feeds = dict(zip(self._names, map(to_array, inputs), strict=True))
            outputs = self._session.run(None, feeds)
        except self._failures as error:
            raise InferenceError(f"inference failed: {_line(error)}") from None
        return list(map(from_array, outputs))

    def close(self) -> None:
        """See `Engine.close`."""
        self._session = None


def open_onnxruntime(model: ModelFile) -> OnnxEngine:
    """Load on the CPU. Raises `EngineError` when onnxruntime is missing, refuses the model or its shapes are open."""
    ort = _module()
    from onnxruntime.capi import onnxruntime_pybind11_state as native  # noqa: PLC0415 - an optional runtime

    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = model.threads, 1
    failures = (RuntimeError, ValueError, *(getattr(native, name) for name in _FAILURES))
    try:
        session = ort.InferenceSession(model.path, options, providers=["CPUExecutionProvider"])
    except failures as error:
        raise EngineError(f"{model.title} does not load: {_line(error)}", hint="build the release again") from None
    return OnnxEngine(session, failures, str(ort.__version__))


def check() -> str:
    """Name and version; raises `EngineError` if it is not installed."""
    return f"onnxruntime {_module().__version__}"


def _module() -> ModuleType:
    try:
        import onnxruntime  # noqa: PLC0415 - an optional runtime
    except ImportError as error:
        raise EngineError(
            f"onnxruntime is not usable ({_line(error)})", hint="pip install 'skerry-agent[onnx]'"
        ) from None
    module: ModuleType = onnxruntime
    return module


def _spec(node: Any) -> TensorSpec:
    if node.type not in _DTYPES:
        raise EngineError(f"tensor {node.name} is of {node.type}", hint="only numeric tensors can be served")
    if not all(isinstance(n, int) for n in node.shape):
        raise EngineError(f"tensor {node.name} has the open shape {node.shape}", hint="fix the shapes when building")
    return TensorSpec(node.name, _DTYPES[node.type], tuple(node.shape))


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
