"""Samples that tell which of them were read, and how often."""

from dataclasses import dataclass, field

from skerry_agent.processing import Sample, SampleSequence


@dataclass
class Counted:
    """Other samples, whose every reading is noted."""

    inputs: SampleSequence
    reads: list[int] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.inputs)

    def __getitem__(self, index: int) -> Sample:
        self.reads.append(index)
        return self.inputs[index]
