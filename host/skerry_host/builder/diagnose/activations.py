"""Reads the activations of a TFLite model after a run, without a delegate, which would hide them. Compares nothing."""

from collections.abc import Collection

from ai_edge_litert.interpreter import Interpreter, OpResolverType

from skerry_agent.processing import Array, Feeding, Sample, dequantize
from skerry_agent.wire.manifest import TensorSpec
from skerry_host.builder.diagnose.layers import Activations, Written
from skerry_host.builder.judge.signal import as_seen
from skerry_host.builder.modelfile.describe import is_tflite
from skerry_host.builder.modelfile.graph import Graph, Tensor, describe
from skerry_host.builder.modelfile.tflite import read_model


def activations_of(model: bytes, through_sigmoid: Collection[str] = ()) -> Activations:
    """The activations of a TFLite or ONNX model; those that are only read through a sigmoid as far as it sees them."""
    if is_tflite(model):
        return TfliteActivations(model, through_sigmoid)
    from skerry_host.builder.diagnose.onnx_activations import OnnxActivations  # noqa: PLC0415  (an extra)

    return OnnxActivations(model)


class TfliteActivations:
    """`specs`: what each operator writes, by name; `written`: in the order of execution."""

    def __init__(self, data: bytes, through_sigmoid: Collection[str] = ()) -> None:
        graph = describe(read_model(data))
        self._seen = frozenset(through_sigmoid)
        self._graph = graph
        self._places = _places(graph)
        self.specs = {name: spec for name, (_index, spec) in self._places.items()}
        self.written = [
            Written(op.index, op.name, graph.tensors[index].name, tuple(graph.tensors[i].name for i in op.inputs))
            for op in graph.ops
            for index in op.outputs
        ]
        self._interpreter = Interpreter(
            model_content=data,
            num_threads=1,
            experimental_preserve_all_tensors=True,
            experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        )
        self._interpreter.allocate_tensors()

    def run(self, sample: Sample, feeding: Feeding) -> None:
        """Run a raw sample, at the beginning of a stream where outputs are fed back."""
        tensors = feeding.tensors(sample, self._graph.input_specs())
        for index, tensor in zip(self._graph.inputs, tensors, strict=True):
            self._interpreter.set_tensor(index, tensor)
        self._interpreter.invoke()

    def real(self, name: str) -> Array:
        """The real values of an activation in the last run, channels last."""
        index, spec = self._places[name]
        found = dequantize(self._interpreter.get_tensor(index), spec)
        return as_seen(found) if name in self._seen else found


def _places(graph: Graph) -> dict[str, tuple[int, TensorSpec]]:
    """Index and form of what each operator writes, by name; indices and truth values carry no signal."""
    found = [graph.tensors[index] for op in graph.ops for index in op.outputs]
    return {t.name: (t.index, _spec(t)) for t in found if t.dtype.startswith(("float", "int8", "uint8", "int16"))}


def _spec(tensor: Tensor) -> TensorSpec:
    return TensorSpec(tensor.name, tensor.dtype, tensor.shape, tensor.scale, tensor.zero_point)
