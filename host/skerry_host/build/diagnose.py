"""Where an int8 model loses the signal: each activation against the float model's on real samples.

Measures only; `advice` says what it means and what to try. Repairs nothing.
"""

from collections.abc import Sequence
from math import isfinite, sqrt

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from msgspec import Struct

from skerry_agent.processing import Array, dequantize, preprocess
from skerry_agent.wire.manifest import Preprocess, TensorSpec
from skerry_host.build.evaluate import CEILING_DB, decibels
from skerry_host.build.graph import Graph, Tensor, describe
from skerry_host.build.progress import Progress, silent, watched
from skerry_host.build.tflite import read_model

SAMPLES = 16
"""Enough to rank layers."""


class Layer(Struct, frozen=True):
    """One activation of the int8 model, in the order of execution, compared with the float model's of the same name.

    `sqnr_db`: signal to quantization noise, at most `CEILING_DB` either way. `cosine`: of the two as vectors.
    `clipped`: the share of values that lie outside of the integers' range by over half a step. `dead`: channels
    (last axis) that vary in the float model but are constant here, of `channels`; `silent`: those constant in both.
    `crest`: the largest value over the root mean square: high where a few outliers stretch the range. `fall_db`: how
    much less signal comes out than goes in, of the inputs the one with the least.
    """

    index: int
    op: str
    tensor: str
    sqnr_db: float
    cosine: float
    clipped: float
    dead: int
    silent: int
    channels: int
    crest: float
    fall_db: float

    @property
    def name(self) -> str:
        """The first of the names that converters chain when they fuse."""
        return self.tensor.partition(";")[0]

    def __str__(self) -> str:
        return f"{self.op} {self.name} ({self.sqnr_db:.1f} dB)"


def layers(
    float_model: bytes,
    int8_model: bytes,
    samples: Sequence[Array] | Array,
    prep: Preprocess,
    progress: Progress = silent,
) -> list[Layer]:
    """Every activation that both models have by the same name and shape, in the order of execution."""
    reference, quantized = _Probe(float_model), _Probe(int8_model)
    shared = [name for name in quantized.specs if reference.shape(name) == quantized.shape(name)]
    tallies = {name: _Tally(quantized.specs[name][1]) for name in shared}
    for sample in watched(samples[:SAMPLES], "comparing layers with the float model", progress):
        reference.run(sample, prep)
        quantized.run(sample, prep)
        for name in shared:
            tallies[name].add(reference.real(name), quantized.real(name))
    return _chain(quantized.graph, tallies)


def _chain(graph: Graph, tallies: "dict[str, _Tally]") -> list[Layer]:
    """The layers in order, each with what was lost since its inputs."""
    found: list[Layer] = []
    decibels_of: dict[str, float] = {}
    for op in graph.ops:
        for index in op.outputs:
            name = graph.tensors[index].name
            if name not in tallies:
                continue
            tally = tallies[name]
            came = [decibels_of[n] for i in op.inputs if (n := graph.tensors[i].name) in decibels_of]
            own = tally.sqnr_db
            decibels_of[name] = own
            fall = max(0.0, min(came) - own) if came else 0.0
            found.append(tally.layer(op.index, op.name, name, fall))
    return found


class _Tally:
    """Sums over samples of one activation."""

    def __init__(self, spec: TensorSpec) -> None:
        self._low, self._high = _limits(spec)
        self._signal = self._noise = self._dot = self._other = 0.0
        self._clipped = self._count = 0
        self._peak = 0.0
        self._span: tuple[Array, Array, Array, Array] | None = None

    def add(self, reference: Array, got: Array) -> None:
        """One sample's real values."""
        a, b = reference.astype(np.float64).ravel(), got.astype(np.float64).ravel()
        self._signal += float(a @ a)
        self._other += float(b @ b)
        self._dot += float(a @ b)
        self._noise += float(np.square(a - b).sum())
        self._clipped += int(((a < self._low) | (a > self._high)).sum())
        self._count += a.size
        self._peak = max(self._peak, float(np.abs(a).max(initial=0.0)))
        low, high = _ends(reference)
        dark, bright = _ends(got)
        if self._span is None:
            self._span = (low, high, dark, bright)
        else:
            was = self._span
            pick = (np.minimum, np.maximum, np.minimum, np.maximum)
            self._span = tuple(f(x, y) for f, x, y in zip(pick, was, (low, high, dark, bright), strict=True))  # type: ignore[assignment]

    @property
    def sqnr_db(self) -> float:
        return max(-CEILING_DB, min(CEILING_DB, decibels(self._signal, self._noise)))

    def layer(self, index: int, op: str, name: str, fall: float) -> Layer:
        """What the sums say."""
        assert self._span is not None
        low, high, dark, bright = self._span
        moves, still = high > low, dark == bright
        norm = sqrt(self._signal * self._other)
        rms = sqrt(self._signal / self._count) if self._count and isfinite(self._signal) else 0.0
        return Layer(
            index=index,
            op=op,
            tensor=name,
            sqnr_db=self.sqnr_db,
            cosine=self._dot / norm if norm else float(self._noise == 0),
            clipped=self._clipped / max(1, self._count),
            dead=int((moves & still).sum()),
            silent=int((~moves & still).sum()),
            channels=len(low),
            crest=self._peak / rms if rms else 0.0,
            fall_db=fall,
        )


def _limits(spec: TensorSpec) -> tuple[float, float]:
    """The real values that the tensor's integers reach, half a step more on either side."""
    if not spec.scale:
        return -np.inf, np.inf
    ends = np.iinfo(spec.dtype)
    return ((ends.min - spec.zero_point - 0.5) * spec.scale, (ends.max - spec.zero_point + 0.5) * spec.scale)


def _ends(values: Array) -> tuple[Array, Array]:
    """Smallest and largest value of each channel (last axis)."""
    rows = values.reshape(-1, values.shape[-1] if values.ndim else 1)
    return rows.min(axis=0), rows.max(axis=0)


class _Probe:
    """A model whose activations can be read after a run: no delegate, which would keep them to itself."""

    def __init__(self, data: bytes) -> None:
        self.graph = describe(read_model(data))
        self.specs = _activations(self.graph)
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
        (tensor,) = self.graph.input_specs()
        self._interpreter.set_tensor(self.graph.inputs[0], preprocess(sample, prep, tensor))
        self._interpreter.invoke()

    def real(self, name: str) -> Array:
        """The real values of an activation in the last run."""
        index, spec = self.specs[name]
        return dequantize(self._interpreter.get_tensor(index), spec)


def _activations(graph: Graph) -> dict[str, tuple[int, TensorSpec]]:
    """Index and form of what each operator writes, by name; indices and truth values carry no signal."""
    found = [graph.tensors[index] for op in graph.ops for index in op.outputs]
    return {t.name: (t.index, _spec(t)) for t in found if t.dtype.startswith(("float", "int8", "uint8", "int16"))}


def _spec(tensor: Tensor) -> TensorSpec:
    return TensorSpec(tensor.name, tensor.dtype, tensor.shape, tensor.scale, tensor.zero_point)
