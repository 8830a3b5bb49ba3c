"""How a build reports its progress: the current step, and how far it is. Prints nothing."""

from collections.abc import Iterable, Iterator, Sized
from typing import Protocol, TypeVar

Item = TypeVar("Item")


class Progress(Protocol):
    """Told at the start of every step, and during long ones: `done` parts of `of`; 0 of 0 if that is not known."""

    def __call__(self, step: str, done: int = 0, of: int = 0, /) -> None:
        """Show it."""


def silent(step: str, done: int = 0, of: int = 0, /) -> None:
    """Show nothing."""


def watched(items: Iterable[Item], step: str, progress: Progress, of: int = 0) -> Iterator[Item]:
    """The items, with progress reported before each; `of` where they do not know how many they are."""
    count = of or (len(items) if isinstance(items, Sized) else 0)
    for done, item in enumerate(items):
        progress(step, done, count)
        yield item
