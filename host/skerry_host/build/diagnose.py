"""Where an int8 model loses the signal: SQNR of each activation against the float model. Judges and repairs nothing."""

from collections.abc import Sequence
from itertools import pairwise

from ai_edge_litert.interpreter import Interpreter, OpResolverType
from msgspec import Struct

from skerry_agent.processing import Array, dequantize, preprocess
from skerry_agent.wire.manifest import Preprocess, TensorSpec
from skerry_host.build.evaluate import decibels, energies
from skerry_host.build.graph import Graph, describe
from skerry_host.build.tflite import read_model

SAMPLES = 16
"""Enough to rank layers."""


class Layer(Struct, frozen=True):
    """One activation and its signal to quantization noise in decibels."""

    op: str
    tensor: str
    sqnr_db: float

    def __str__(self) -> str:
        name = self.tensor.partition(";")[0]  # converters chain the names of all that they fused
        return f"{self.op} {name} ({self.sqnr_db:.1f} dB)"


def layers(float_model: bytes, int8_model: bytes, samples: Sequence[Array] | Array, prep: Preprocess) -> list[Layer]:
    """Every activation that both models have by the same name and shape, in the order of execution."""
    reference, quantized = _Probe(float_model), _Probe(int8_model)
    shared = [name for name in quantized.specs if reference.shape(name) == quantized.shape(name)]
    signal, noise = dict.fromkeys(shared, 0.0), dict.fromkeys(shared, 0.0)
    for sample in samples[:SAMPLES]:
        reference.run(sample, prep)
        quantized.run(sample, prep)
        for name in shared:
            loud, wrong = energies(reference.real(name), quantized.real(name))
            signal[name] += loud
            noise[name] += wrong
    return [Layer(quantized.ops[name], name, decibels(signal[name], noise[name])) for name in shared]


def explain(found: Sequence[Layer]) -> str:
    """One line: the layers with the least signal, and where it falls most from one to the next."""
    if not found:
        return "no layer of the int8 model can be matched with one of the float model"
    weakest = sorted(found, key=lambda layer: layer.sqnr_db)[:3]
    line = f"least signal in {', '.join(map(str, weakest))}"
    falls = [(before.sqnr_db - after.sqnr_db, after) for before, after in pairwise(found)]
    fall, at = max(falls, key=lambda pair: pair[0], default=(0.0, found[0]))
    return f"{line}; it falls most, by {fall:.1f} dB, at {at}" if fall > 0 else line


class _Probe:
    """A model whose activations can be read after a run: no delegate, which would keep them to itself."""

    def __init__(self, data: bytes) -> None:
        self._graph = describe(read_model(data))
        self.specs = _activations(self._graph)
        self.ops = {self._graph.tensors[index].name: op.name for op in self._graph.ops for index in op.outputs}
        self._interpreter = Interpreter(
            model_content=data,
            num_threads=1,
            experimental_preserve_all_tensors=True,
            experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        )
        self._interpreter.allocate_tensors()

    def shape(self, name: str) -> tuple[int, ...] | None:
        """The shape of an activation, None if there is none of that name."""
        return self.specs[name][1].shape if name in self.specs else None

    def run(self, sample: Array, prep: Preprocess) -> None:
        """Run a raw sample."""
        (tensor,) = self._graph.input_specs()
        self._interpreter.set_tensor(self._graph.inputs[0], preprocess(sample, prep, tensor))
        self._interpreter.invoke()

    def real(self, name: str) -> Array:
        """The real values of an activation in the last run."""
        index, spec = self.specs[name]
        return dequantize(self._interpreter.get_tensor(index), spec)


def _activations(graph: Graph) -> dict[str, tuple[int, TensorSpec]]:
    """Index and form of what each operator writes, by name."""
    found = [graph.tensors[index] for op in graph.ops for index in op.outputs]
    return {t.name: (t.index, TensorSpec(t.name, t.dtype, t.shape, t.scale, t.zero_point)) for t in found}
