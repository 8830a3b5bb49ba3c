"""Reads the activations of an ONNX model after a run: each becomes an output. Compares nothing.

An activation that is followed by QuantizeLinear and DequantizeLinear is read after them, where its integers show. Graph
optimizations are off, so that every value exists: fused integer kernels round a little differently.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from skerry_agent.processing import Array, Feeding, Sample
from skerry_agent.wire.manifest import TensorSpec
from skerry_host.builder.diagnose.layers import Written
from skerry_host.builder.modelfile.onnx import describe_onnx

_QUANTIZE, _DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"


class OnnxActivations:
    """`specs`: what each operator writes, by name; `written`: in the order of execution, without the rounding."""

    def __init__(self, data: bytes) -> None:
        import onnxruntime as ort  # noqa: PLC0415  (an extra)

        model = onnx.shape_inference.infer_shapes(onnx.load_from_string(data))
        self._inputs = describe_onnx(data).input_specs()
        pairs = _Pairs(model.graph)
        self.written = list(_written(model.graph, pairs))
        shapes = _float_shapes(model.graph)
        self.specs = {one.tensor: pairs.spec(one.tensor, shapes) for one in self.written if one.tensor in shapes}
        self._read = {name: pairs.behind.get(name, name) for name in self.specs}
        there = {value.name for value in model.graph.output}
        new = dict.fromkeys(name for name in self._read.values() if name not in there)
        model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in new)
        options = ort.SessionOptions()
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.intra_op_num_threads, options.log_severity_level = 1, 4
        self._session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        self._values: dict[str, Array] = {}

    def run(self, sample: Sample, feeding: Feeding) -> None:
        """Run a raw sample, at the beginning of a stream where outputs are fed back."""
        names = list(dict.fromkeys(self._read.values()))
        tensors = feeding.tensors(sample, self._inputs)
        feed = {tensor.name: given for tensor, given in zip(self._inputs, tensors, strict=True)}
        self._values = dict(zip(names, self._session.run(names, feed), strict=True))

    def real(self, name: str) -> Array:
        """The real values of an activation in the last run, channels last."""
        values = self._values[self._read[name]]
        return np.moveaxis(values, 1, -1) if values.ndim == 4 else values


class _Pairs:
    """The roundings of a graph: `behind` each rounded value its twin, and what both are called by the float model.

    onnxruntime gives an output's name to what is behind the pair: that is then what the operator writes.
    """

    def __init__(self, graph: Any) -> None:
        self._constants = {tensor.name: tensor for tensor in graph.initializer}
        rounded = {node.output[0]: node for node in graph.node if node.op_type == _QUANTIZE}
        self._nodes = {node.output[0]: rounded[node.input[0]] for node in graph.node if _widens(node, rounded)}
        outputs = {value.name for value in graph.output}
        self._called = {node.input[0]: after for after, node in self._nodes.items() if after in outputs}
        self.before = {after: self.called(node.input[0]) for after, node in self._nodes.items()}
        self.behind = {name: after for after, name in self.before.items()}

    def called(self, name: str) -> str:
        """The name that the float model has for a value."""
        found: str = self._called.get(name, name)
        return found

    def spec(self, name: str, shapes: dict[str, tuple[int, ...]]) -> TensorSpec:
        """The form of an activation; float32 where nothing rounds it."""
        node = self._nodes.get(self.behind.get(name, ""))
        if node is None or len(node.input) < 2 or node.input[1] not in self._constants:
            return TensorSpec(name, "float32", shapes[name])
        scale = numpy_helper.to_array(self._constants[node.input[1]])
        zero = self._constants.get(node.input[2]) if len(node.input) > 2 else None
        integers = np.zeros(1, np.uint8) if zero is None else numpy_helper.to_array(zero)
        if scale.size != 1 or integers.size != 1:
            return TensorSpec(name, "float32", shapes[name])
        return TensorSpec(name, str(integers.dtype), shapes[name], float(scale.flat[0]), int(integers.flat[0]))


def _widens(node: Any, rounded: dict[str, Any]) -> bool:
    return node.op_type == _DEQUANTIZE and node.input[0] in rounded


def _written(graph: Any, pairs: _Pairs) -> Iterator[Written]:
    for at, node in enumerate(graph.node):
        if node.op_type not in {_QUANTIZE, _DEQUANTIZE}:
            reads = tuple(pairs.before.get(name, name) for name in node.input)
            for name in node.output:
                yield Written(at, node.op_type, pairs.called(name), reads)


def _float_shapes(graph: Any) -> dict[str, tuple[int, ...]]:
    """Shapes of float values by name: indices and truth values carry no signal."""
    found = (value for value in (*graph.value_info, *graph.output))
    floats = (v for v in found if v.type.tensor_type.elem_type == onnx.TensorProto.FLOAT)
    return {v.name: tuple(int(dim.dim_value) for dim in v.type.tensor_type.shape.dim) for v in floats}
