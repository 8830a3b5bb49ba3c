"""The fault points of each case. Every function returns or yields the broken invariants, empty if there is none."""

import random
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.lab import fault
from tests.lab.fault import Call
from tests.lab.invariants import recover
from tests.lab.ledger import Ledger
from tests.lab.scenarios import PreparedScenario, Scenario, prepare


@dataclass
class Bench:
    """A scenario on the bench: its stage, a folder to work in, and the calls of its clean run."""

    stage: PreparedScenario
    folder: Path
    calls: list[Call]
    ledger: Ledger = field(default_factory=Ledger)

    @property
    def state(self) -> Path:
        return self.folder / "state"

    def play(self) -> None:
        self.stage.play(self.state, self.ledger)

    def play_again(self) -> None:
        self.stage.play(self.state, self.ledger, "again")

    def reset(self) -> None:
        """The starting point, and a clean ledger."""
        self.stage.fresh(self.folder)
        self.ledger.clear()

    def recovered(self, *, damaged: bool = False, bare: bool = False) -> list[str]:
        """Boot in a child and say what is broken."""

        def work() -> None:
            recover(self.stage, self.state, self.ledger, damaged=damaged, bare=bare)

        ended = fault.run(work, self.ledger)
        broken = self.ledger.lines("broken")
        return broken if ended.well else [*broken, f"recovery died: signal {ended.signal}, {ended.said}"]


def bench(scenario: Scenario, folder: Path) -> Bench:
    """Set a scenario up and record its clean run."""
    run = folder / scenario.name.replace("/", "_") / "run"
    made = Bench(prepare(scenario, run), run, [])
    made.reset()
    made.calls = fault.record(made.play, run, folder / "trace")
    return made


def kill(at: Bench, call: Call) -> list[str]:
    """One kill -9, one recovery."""
    at.reset()
    ended = fault.kill_at(at.play, call, at.ledger)
    if ended.signal != 9:
        return [f"not killed: {ended}"]
    return at.recovered()


def kill_twice(at: Bench, first: Call, rng: random.Random, seconds: int) -> Iterator[list[str]]:
    """Killed, then killed again at `seconds` places of the boot that recovers, then left alone."""
    at.reset()
    fault.kill_at(at.play, first, at.ledger)
    after_first, ledger = at.folder.parent / "after-first", at.ledger.copy()
    shutil.rmtree(after_first, ignore_errors=True)
    shutil.copytree(at.state, after_first)
    calls = fault.record(at.play_again, at.folder, at.folder.parent / "trace-again")
    for second in rng.sample(calls, min(seconds, len(calls))):
        shutil.rmtree(at.state)
        shutil.copytree(after_first, at.state)
        at.ledger.restore(ledger)
        ended = fault.kill_at(at.play_again, second, at.ledger)
        broken = [f"not killed: {ended}"] if ended.signal != 9 else at.recovered()
        yield [f"then {second}: {line}" for line in broken]


ERRORS = {
    "openat": ("ENOSPC", "EIO", "EROFS", "EINTR", "EMFILE"),
    "write": ("ENOSPC", "EIO", "EINTR"),
    "pwrite64": ("ENOSPC", "EIO", "EINTR"),
    "sendfile": ("ENOSPC", "EIO", "EINTR"),
    "ftruncate": ("ENOSPC", "EIO", "EROFS"),
    "fsync": ("ENOSPC", "EIO"),
    "rename": ("ENOSPC", "EIO", "EROFS"),
    "link": ("ENOSPC", "EIO", "EROFS"),
    "unlink": ("EIO", "EROFS"),
    "unlinkat": ("EIO", "EROFS"),
    "rmdir": ("EIO", "EROFS"),
    "mkdir": ("ENOSPC", "EIO", "EROFS"),
    "read": ("EIO", "EINTR"),
    "pread64": ("EIO", "EINTR"),
    "getdents64": ("EIO",),
    "statfs": ("EIO",),
    "newfstatat": ("EIO",),
    "close": ("EIO",),
}
"""What each call may answer on a disk that is full, broken or read-only, or when a signal comes."""


def failures(calls: list[Call]) -> list[tuple[Call, str]]:
    """Every (call, error) of a clean run."""
    return [(call, error) for call in calls for error in ERRORS.get(call.name, ())]


def fail(at: Bench, call: Call, error: str) -> list[str]:
    """One failing call: the supervisor goes on and serves; a later order succeeds."""
    at.reset()
    ended = fault.fail_at(at.play, call, error, at.ledger)
    if not ended.well:
        return [f"the supervisor died: signal {ended.signal}, {ended.said}"]
    at.stage.order_again()
    return at.recovered()
