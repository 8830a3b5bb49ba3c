"""What every reader takes and gives, and the two ways in which data can be wrong. Reads nothing itself."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from skerry_agent.processing import Array
from skerry_host.builder.recipe.data import Data

Sample = tuple[Array, ...]
NO_CLASS = -1
NAMED = 5
"""How many of many names a message lists."""


class UnusableDataError(Exception):
    """Data that cannot be used as a whole, in one line that says what to do."""


class DamagedError(Exception):
    """One sample that cannot be read, and why; the others may be fine."""


class SampleSource(Protocol):
    """Samples that are read when they are asked for, and may be asked for again."""

    def __len__(self) -> int:
        """How many there are."""

    def __getitem__(self, index: int, /) -> Sample:
        """One raw array for each input of the model. Raises `DamagedError`."""

    def check(self, index: int, /) -> None:
        """Read it as far as it takes to know that it can be read. Raises `DamagedError`."""

    def remarks(self) -> list[str]:
        """What was done to the samples that were read, in words, and to how many."""


class TruthSource(Protocol):
    """What is right for each sample, in the form of the task (docs/tasks.md); may be read when it is asked for."""

    def __len__(self) -> int:
        """As many as there are samples."""

    def __getitem__(self, index: int, /) -> Any:
        """What is right for one. Raises `DamagedError`."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked of a reader: the recipe's task, names of classes and keys of `[data]`; shapes of the inputs."""

    task: str
    names: tuple[str, ...] = ()
    plan: Data = field(default_factory=Data)
    shapes: tuple[tuple[int, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class Found:
    """What a reader has found: nothing is decoded yet.

    `truth` is what is right for each sample (None: nothing says), `names` the classes in their order, `keys` what a
    person calls a sample, `groups` the class by which sets are balanced (`NO_CLASS`: none), `files` what each sample is
    read from, `notes` what a person should know, `damaged` what was left out already, with the reason.
    `ordered`: neighbouring values of a sample belong together, as in an image, not as in a table.
    """

    inputs: SampleSource
    keys: Sequence[str]
    files: Sequence[tuple[Path, ...]]
    truth: TruthSource | None = None
    groups: Sequence[int] | None = None
    names: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    damaged: tuple[str, ...] = ()
    ordered: bool = True

    def __len__(self) -> int:
        return len(self.keys)


@dataclass(frozen=True, slots=True)
class Picked:
    """Some samples, or what is right for them, of a larger sequence; nothing is copied."""

    whole: Any
    indices: Sequence[int]

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> Any:
        return self.whole[self.indices[index]]

    def __iter__(self) -> Iterator[Any]:
        return (self.whole[at] for at in self.indices)


def listed(names: Sequence[str]) -> str:
    """The first names of many: "a, b, c and 4 more"."""
    rest = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + rest
