"""One bit flipped in a stored file, or in each of several at once: found, never served, mended by the next order.

A fallback serves meanwhile, within two seconds: the previous bundle, the factory release, a second copy. Where there is
none, only files are hit that a committed release can serve without. A bit that rots touches no clock, so the times of
the files stay as they were.
"""

import os
import random
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from tests.lab import fault
from tests.lab.fault import Call
from tests.lab.points import Bench

POSITIONS = ("first", "middle", "last", "any")


@dataclass(frozen=True)
class Several:
    """Files that are hit together, as patterns below the device's folder; which of them leave nothing to serve."""

    name: str
    patterns: tuple[str, ...]
    bare: bool = False


NOT_NEEDED = ("state/bundles/*/golden.bin", "state/bundles/*/labels.bin")
JOURNALS = "state/models/*/journal.json*"
BUNDLES = "state/bundles/*/*"
FACTORY = "state/factory/*/*"
WITH_FACTORY = [
    Several("both journals", (JOURNALS,)),
    Several("all bundles", (BUNDLES,)),
    Several("journals, bundles", (JOURNALS, BUNDLES)),
    Several("journals, agent.toml, trust.json", (JOURNALS, "agent.toml", "trust.json")),
    Several("all but factory and copies", (JOURNALS, BUNDLES, "agent.toml", "trust.json", "state/desired.json")),
    Several("factory", (FACTORY,)),
    Several("factory and bundles", (FACTORY, BUNDLES), bare=True),
    Several("factory and journals", (FACTORY, JOURNALS), bare=True),
]
WITHOUT_FACTORY = [
    Several("both journals", (JOURNALS,), bare=True),
    Several("all bundles", (BUNDLES,), bare=True),
    Several("both desired states", ("state/desired.*",)),
    Several("both copies", ("state/kept/*",)),
]


def flips(at: Bench, rng: random.Random, moments: int, positions: int) -> Iterator[tuple[str, list[str]]]:
    """(what, what broke) for every stored file at the start, and at some moments of a deployment that was cut short.

    One bit at so many of `POSITIONS`; then in several files at once.
    """
    for moment in [None, *rng.sample(at.calls, min(moments, len(at.calls)))]:
        _stand_at(at, moment)
        for name in stored_files(at.folder):
            for position in rng.sample(POSITIONS, positions):
                yield f"{moment or 'start'}: {name} {position}", _flipped(at, moment, [name], position, rng)
    scenario = at.stage.scenario
    for several in WITH_FACTORY if scenario.factory else WITHOUT_FACTORY:
        if several.bare and scenario.order not in scenario.final:
            continue  # what is ordered is no good, so nothing could be mended
        _stand_at(at, None)
        names = [name for name in stored_files(at.folder) if any(fnmatchcase(name, p) for p in several.patterns)]
        yield several.name, _flipped(at, None, names, "middle", rng, bare=several.bare)


def flips_without_fallback(at: Bench, rng: random.Random, positions: int) -> Iterator[tuple[str, list[str]]]:
    """(what, what broke) for files beside the model, on a device that has no other release."""
    _stand_at(at, None)
    names = [name for name in stored_files(at.folder) if any(fnmatchcase(name, p) for p in NOT_NEEDED)]
    for name in names:
        for position in rng.sample(POSITIONS, positions):
            yield f"alone: {name} {position}", _flipped(at, None, [name], position, rng)


def _flipped(
    at: Bench, moment: Call | None, names: list[str], position: str, rng: random.Random, *, bare: bool = False
) -> list[str]:
    _stand_at(at, moment)
    for name in names:
        flip(at.folder / name, position, rng)
    at.stage.order_again()
    broken = at.recovered(damaged=True, bare=bare)
    return [line for line in broken if not _sent_damaged(names, line)]


def _sent_damaged(names: list[str], line: str) -> bool:
    """A damaged report cannot be sent; that it is counted as dropped is what can be asked."""
    return any(name.startswith("state/outbox/") for name in names) and "was kept and lost" in line


def _stand_at(at: Bench, moment: Call | None) -> None:
    at.reset()
    if moment is not None:
        fault.kill_at(at.play, moment, at.ledger)


def stored_files(folder: Path) -> list[str]:
    """Files with content; the record before shares its inode with the newest only while that is being replaced."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.stat().st_size]
    return [str(path.relative_to(folder)) for path in files if path.stat().st_nlink == 1]


def flip(path: Path, position: str, rng: random.Random) -> None:
    """Flip one bit in place."""
    before, data = path.stat(), bytearray(path.read_bytes())
    index = {"first": 0, "middle": len(data) // 2, "last": len(data) - 1}.get(position, rng.randrange(len(data)))
    data[index] ^= 1 << rng.randrange(8)
    with path.open("r+b") as file:
        file.write(data)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
