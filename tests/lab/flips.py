"""One bit flipped in a stored file: it is found, the previous bundle serves, and the next order makes all well."""

import random
from collections.abc import Iterator
from pathlib import Path

from tests.lab import fault
from tests.lab.fault import Call
from tests.lab.points import Bench

POSITIONS = ("first", "middle", "last", "any")


def flips(at: Bench, rng: random.Random, moments: int) -> Iterator[tuple[str, list[str]]]:
    """(what, what broke) for every stored file at the start, and at some moments of a deployment that was cut short."""
    for moment in [None, *rng.sample(at.calls, min(moments, len(at.calls)))]:
        _stand_at(at, moment)
        for name in stored_files(at.state):
            for position in POSITIONS:
                _stand_at(at, moment)
                flip(at.state / name, position, rng)
                at.stage.order_again()
                yield f"{moment or 'start'}: {name} {position}", _broken(at, name)


def _stand_at(at: Bench, moment: Call | None) -> None:
    at.reset()
    if moment is not None:
        fault.kill_at(at.play, moment, at.ledger)


def stored_files(state: Path) -> list[str]:
    """Files with content; the record before shares its inode with the newest only while that is being replaced."""
    files = [path for path in sorted(state.rglob("*")) if path.is_file() and path.stat().st_size]
    return [str(path.relative_to(state)) for path in files if path.stat().st_nlink == 1]


def flip(path: Path, position: str, rng: random.Random) -> None:
    """Flip one bit in place."""
    data = bytearray(path.read_bytes())
    index = {"first": 0, "middle": len(data) // 2, "last": len(data) - 1}.get(position, rng.randrange(len(data)))
    data[index] ^= 1 << rng.randrange(8)
    with path.open("r+b") as file:
        file.write(data)


def _broken(at: Bench, name: str) -> list[str]:
    """A damaged report cannot be sent; that it is counted as dropped is what can be asked."""
    broken = at.recovered(damaged=True)
    return [line for line in broken if not (name.startswith("outbox/") and "was kept and lost" in line)]
