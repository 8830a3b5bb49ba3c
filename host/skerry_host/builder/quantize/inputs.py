"""Preprocesses samples for the float model one at a time: all at once may not fit into memory.

Where outputs are fed back, the float model itself runs along, so that ranges are measured on states that it reaches.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from skerry_agent.processing import Array, Feeding, Sample
from skerry_agent.wire.manifest import TensorSpec
from skerry_host.builder.data.kept import fitting
from skerry_host.builder.data.samples import Samples
from skerry_host.builder.recipe.progress import Progress, watched
from skerry_host.builder.runtime.session import Session
from skerry_host.builder.sources.load import SourceModel

THREADS = 2


@dataclass(frozen=True, slots=True)
class Inputs:
    """The samples of a data set, preprocessed as a device does it, for all inputs of a float model."""

    samples: Samples
    feeding: Feeding
    source: SourceModel

    def __len__(self) -> int:
        return len(self.samples)

    def __iter__(self) -> Iterator[list[Array]]:
        """One array for each input, in the model's order."""
        if self.feeding.feedback:
            return self._stream()
        samples, feeding = fitting(self.samples.inputs, self.feeding, self.tensors)
        return (feeding.tensors(samples[at], self.tensors) for at in range(len(samples)))

    @property
    def tensors(self) -> tuple[TensorSpec, ...]:
        """The model's inputs."""
        return self.source.graph.input_specs()

    @property
    def signature(self) -> str:
        """The name of the model's signature."""
        return self.source.graph.signature

    def first(self, count: int) -> "Inputs":
        """At most `count` of them, from all over the set: the classes may stand in order. A stream keeps its start."""
        if self.feeding.feedback:
            return replace(self, samples=self.samples.subset(range(min(count, len(self)))))
        return replace(self, samples=self.samples.spread(count))

    def input_ranges(self) -> list[tuple[float, float]]:
        """The least and largest value that each input must be able to hold, zero among them.

        What the samples have and, of samples in uint8, all that preprocessing can make of one: a device sees others,
        and 256 values fit into 256 steps without loss.
        """
        found = np.zeros((len(self.tensors), 2))
        for place, tensor in self._widest():
            found[place] = _wider(found[place], tensor)
        for tensors in self:
            for place, tensor in enumerate(tensors):
                found[place] = _wider(found[place], tensor)
        return [(float(low), float(high)) for low, high in found]

    def _stream(self) -> Iterator[list[Array]]:
        session = Session(self.source.data)
        for sample in self.samples:
            yield session.tensors(sample, self.feeding)
            session.run_raw(sample, self.feeding)

    def _widest(self) -> Iterator[tuple[int, Array]]:
        """What preprocessing makes of the least and the largest sample in uint8, by the place of the input."""
        first = self.samples.inputs[0]
        brought = self.feeding.brought(self.tensors)
        bytewise = [raw.dtype == np.uint8 for raw in first]
        for value in (0, 255) if any(bytewise) else ():
            extreme: Sample = tuple(
                np.full_like(raw, value) if whole else raw for raw, whole in zip(first, bytewise, strict=True)
            )
            tensors = self.feeding.tensors(extreme, self.tensors)
            yield from ((place, tensors[place]) for place, whole in zip(brought, bytewise, strict=True) if whole)


@dataclass(frozen=True, eq=False)
class Runs:
    """A float model on samples: the same as another with equal bytes on the very same samples.

    A search makes a dozen models of one, and what it measures for that is the same for most of them: it takes most of
    a build's time.
    """

    source: SourceModel
    inputs: Inputs
    progress: Progress

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Runs):
            return NotImplemented
        one, two = self.inputs, other.inputs
        same = one.samples is two.samples and one.feeding == two.feeding
        return same and self.source.data == other.source.data

    def __hash__(self) -> int:
        return hash((self.source.data, id(self.inputs.samples)))

    def first(self, count: int) -> "Runs":
        """The model on at most `count` of the samples: see `Inputs.first`."""
        return replace(self, inputs=self.inputs.first(count))

    def activations(self, step: str) -> Iterator[Callable[[int], Array]]:
        """What reads a tensor's values by its index, once for each sample that the model has run on; `step` is told.

        On the plain kernels, for a delegate keeps no tensors between.
        """
        interpreter = Interpreter(
            model_content=self.source.data,
            num_threads=THREADS,
            experimental_preserve_all_tensors=True,
            experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        )
        interpreter.allocate_tensors()
        for tensors in watched(self.inputs, step, self.progress, of=len(self.inputs)):
            for index, tensor in zip(self.source.graph.inputs, tensors, strict=True):
                interpreter.set_tensor(index, tensor)
            interpreter.invoke()
            yield interpreter.get_tensor


def _wider(limits: Array, tensor: Array) -> tuple[float, float]:
    return min(float(limits[0]), float(tensor.min())), max(float(limits[1]), float(tensor.max()))
