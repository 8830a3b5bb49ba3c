"""Raw samples as the float model's inputs, made as they are asked for: all at once can be more than memory holds."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from skerry_agent.processing import Array, preprocess
from skerry_agent.wire.manifest import Preprocess, TensorSpec
from skerry_host.build.data import Samples


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
