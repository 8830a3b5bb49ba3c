"""Runs an ONNX model in this process, as the device's engine does: the ONNX side of `runtime.session`."""

from collections.abc import Sequence
from typing import Any

from skerry_agent.processing import Array
from skerry_host.builder.recipe.errors import ModelError


class OnnxRunner:
    """A loaded model; call it with its inputs for its outputs. Not `fused`: every node as it stands in the file."""

    def __init__(self, data: bytes, threads: int, *, fused: bool = True) -> None:
        import onnxruntime as ort  # noqa: PLC0415  (an extra)

        options = ort.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.log_severity_level = 4
        if not fused:
            options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        try:
            self._session: Any = ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's errors share no base
            raise ModelError(f"the model does not load: {_line(error)}", code="does_not_load") from error
        self._inputs = [node.name for node in self._session.get_inputs()]

    def __call__(self, tensors: Sequence[Array]) -> list[Array]:
        """The outputs; raises `ModelError`."""
        try:
            outputs: list[Array] = self._session.run(None, dict(zip(self._inputs, tensors, strict=True)))
        except Exception as error:
            raise ModelError(f"the model does not run: {_line(error)}", code="does_not_run") from error
        return outputs


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
