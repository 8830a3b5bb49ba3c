"""Preprocesses samples for the float model one at a time: all at once may not fit into memory."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np

from skerry_agent.processing import Array, preprocess
from skerry_agent.wire.manifest import Preprocess, TensorSpec
from skerry_host.builder.data.samples import Samples


@dataclass(frozen=True, slots=True)
class Inputs:
    """The samples of a data set, preprocessed as a device does it, for the one input of a float model."""

    samples: Samples
    prep: Preprocess
    tensor: TensorSpec
    signature: str

    def __len__(self) -> int:
        return len(self.samples)

    def __iter__(self) -> Iterator[Array]:
        return (preprocess(raw, self.prep, self.tensor) for raw in self.samples.inputs)

    def first(self, count: int) -> "Inputs":
        """At most `count` of them, from all over the set: the classes may stand in order."""
        return replace(self, samples=self.samples.every(-(-len(self) // count)))

    def input_range(self) -> tuple[float, float]:
        """The least and largest value that the input must be able to hold, zero among them.

        What the samples have and, of samples in uint8, all that preprocessing can make of one: a device sees others,
        and 256 values fit into 256 steps without loss.
        """
        raw = self.samples.inputs
        extremes = [np.full_like(raw[0], value) for value in (0, 255)] if raw.dtype == np.uint8 else []
        widest = (preprocess(one, self.prep, self.tensor) for one in extremes)
        found = [(float(t.min()), float(t.max())) for t in chain(widest, self)]
        return min(0.0, *(low for low, _high in found)), max(0.0, *(high for _low, high in found))
