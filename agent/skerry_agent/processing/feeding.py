"""From a sample, one raw array for each input, to the tensors that a model takes; and outputs that are fed back.

Keeps no state itself: whoever runs the model holds what is fed back, and decides when a stream begins anew.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
from msgspec import Struct

from skerry_agent.processing.arrays import Array
from skerry_agent.processing.errors import ProcessingError
from skerry_agent.processing.tensors import dequantize, preprocess, quantize
from skerry_agent.wire.manifest import Bundle, Preprocess, TensorSpec

Sample = tuple[Array, ...]
"""Raw arrays before preprocessing: one for each input that is not fed back, in the order of the inputs."""


class SampleSequence(Protocol):
    """Raw samples by index. One is read when it is asked for, and perhaps again: all together need no memory."""

    def __len__(self) -> int:
        """How many there are."""

    def __getitem__(self, index: int, /) -> Sample:
        """One sample; raises `IndexError` behind the last."""


class Feeding(Struct, frozen=True):
    """How samples become inputs: `preprocesses` by the place of an input, plain where there is none.

    `feedback`: the inputs, by name, that take an output of the sample before, by its name; zeros at the first sample.
    """

    preprocesses: tuple[Preprocess, ...] = ()
    feedback: Mapping[str, str] = {}

    @classmethod
    def of(cls, bundle: Bundle) -> "Feeding":
        """What a bundle says."""
        return cls(bundle.preprocessing, bundle.feedback)

    def at(self, place: int) -> Preprocess:
        """The preprocessing of an input by its place."""
        return self.preprocesses[place] if place < len(self.preprocesses) else Preprocess()

    def brought(self, inputs: Sequence[TensorSpec]) -> list[int]:
        """The places of the inputs that a sample brings: all that are not fed back."""
        return [place for place, tensor in enumerate(inputs) if tensor.name not in self.feedback]

    def tensors(self, sample: Sample, inputs: Sequence[TensorSpec], states: Mapping[str, Array] = {}) -> list[Array]:
        """A sample as all inputs of a model, with its `states` by input name; raises `ProcessingError`."""
        places = self.brought(inputs)
        if len(sample) != len(places):
            names = ", ".join(inputs[place].name for place in places)
            raise ProcessingError(f"sample has {len(sample)} arrays, the model takes {len(places)}: {names}")
        given = dict(zip(places, sample, strict=True))
        return [
            preprocess(given[place], self.at(place), tensor) if place in given else _state(tensor, states)
            for place, tensor in enumerate(inputs)
        ]

    def states(
        self, answers: Mapping[str, Array], inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]
    ) -> dict[str, Array]:
        """What the next sample gets of the answers, by input name: their real values in the input's own scale."""
        specs = {spec.name: spec for spec in outputs}
        pairs = ((tensor, self.feedback[tensor.name]) for tensor in inputs if tensor.name in self.feedback)
        return {tensor.name: _fed_back(answers[name], specs[name], tensor) for tensor, name in pairs}


def _fed_back(answer: Array, output: TensorSpec, tensor: TensorSpec) -> Array:
    """An output as the input that takes it; the same bytes where both have the same form."""
    same = (output.dtype, output.scale, output.zero_point) == (tensor.dtype, tensor.scale, tensor.zero_point)
    values = answer if same else quantize(dequantize(answer, output), tensor)
    return values.reshape(tensor.shape)


def _state(tensor: TensorSpec, states: Mapping[str, Array]) -> Array:
    """A state, or the zero of the tensor's own scale at the beginning."""
    found = states.get(tensor.name)
    return np.full(tensor.shape, tensor.zero_point, tensor.dtype) if found is None else found
