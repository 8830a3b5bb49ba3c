"""The faults of a bench, of which each is tried: a kill at every call of its clean run, and every write that fails.

A bench runs one thing a device does, from the same start each time. What is broken then, it says itself.
"""

import sys
import tempfile
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from typing import Any, Protocol

from tests.lab.fault import Call

ERRORS = ("ENOSPC", "EIO", "EROFS")
Fault = tuple[str, Callable[[], list[str]]]
"""What is done, and what does it; it returns what is broken."""
Point = tuple[str, list[str]]
"""What was done, and what is broken."""


class Bench(Protocol):
    """`calls` are those of the clean run."""

    calls: list[Call]

    def kill(self, call: Call) -> list[str]:
        """Kill at a call."""

    def fail(self, call: Call, error: str) -> list[str]:
        """Let a call fail."""


def kills(bench: Bench, word: str = "") -> list[Fault]:
    """At every call; `word` begins what is said of it."""
    return [(f"{word}{call}", lambda call=call: bench.kill(call)) for call in bench.calls]  # type: ignore[misc]


def failures(bench: Bench, writes: Collection[str]) -> list[Fault]:
    """Every call of these names, with each error."""
    return [
        (f"{call} {error}", lambda call=call, error=error: bench.fail(call, error))  # type: ignore[misc]
        for call in bench.calls
        if call.name in writes
        for error in ERRORS
    ]


def played(faults: list[Fault], only: int = 0) -> Iterator[Point]:
    """Every fault; of `only` so many, evenly, if that is given."""
    step = max(1, len(faults) // only) if only else 1
    for what, play in faults[::step]:
        yield what, play()


def report(name: str, width: int, ways: Iterable[Any], points: Callable[[Any, Path], Iterable[Point]]) -> None:
    """Try all `points` of each way, in a folder of its own, and print a line for it; exit 1 if anything is broken."""
    began, broken = time.monotonic(), []
    for way in ways:
        with tempfile.TemporaryDirectory(prefix=f"skerry-{name}-", dir="/dev/shm") as folder:
            found = list(points(way, Path(folder)))
        lines = [line for _, lines in found for line in lines]
        seconds = time.monotonic() - began
        print(f"{way.name:<{width}}{len(found):>6} points {len(lines):>4} broken {seconds:>7.0f} s", flush=True)
        broken += lines
    print("\n".join(broken[:40]))
    sys.exit(1 if broken else 0)
