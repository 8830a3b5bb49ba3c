"""`python -m tests.lab.settings`: kill -9, and failing calls, at every system call of an order of settings.

A device's keeper of settings and its files, from the order to the end of its trial. Promises: it works by the values
before or by those on trial, never by others; a trial is begun three times at most, without anybody's help; what is bad
is left in the end, what is good is kept if it can be; what was kept before is never lost.
"""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from skerry_agent.config import AgentConfig, AgentSection, BoardSection, BrokerSection, DeviceSection
from skerry_agent.machine.settings import MAX_ATTEMPTS
from skerry_agent.supervisor.settings_keeper import SettingsKeeper, Ties
from skerry_agent.supervisor.settings_proofs import SHOWN, Failure, Open
from skerry_agent.wire.settings import SettingsOrder
from tests.kit.clock import FakeClock
from tests.lab import fault
from tests.lab.fault import Call
from tests.lab.faults import Point, failures, kills, played, report
from tests.lab.ledger import Ledger

BEFORE, NEW = 20.0, 30.0
"""The interval that is kept when the run begins, and the one that is ordered."""
KEPT, ORDERED = SettingsOrder("before", {"telemetry_interval_s": BEFORE}), "ordered"
TRIAL_S = 10.0
WRITES = frozenset({"openat", "write", "fsync", "rename", "unlink", "mkdir"})
"""Calls that a disk may refuse."""


@dataclass(frozen=True)
class Way:
    """One way through a trial: what is ordered, whether the device is healthy under it, and how often it starts."""

    name: str
    good: bool
    starts: int = 1
    values: tuple[tuple[str, object], ...] = (("telemetry_interval_s", NEW),)

    @property
    def order(self) -> SettingsOrder:
        return SettingsOrder(ORDERED, dict(self.values), TRIAL_S)


WAYS = (
    Way("kept", good=True),
    Way("rolled back", good=False),
    Way("started anew", good=False, starts=MAX_ATTEMPTS + 1),
    Way("refused", good=False, values=(("telemetry_interval_s", "never"),)),
)


class Effects:
    """Notes what is put into effect."""

    def apply(self, config, keys):
        return None

    def take_back(self, config, keys):
        """Nothing is left."""

    def settle(self):
        """Nothing was before."""


class Judged:
    """Healthy, or never."""

    def __init__(self, good: bool) -> None:
        self._good = good

    def state(self):
        return SHOWN if self._good else Open(Failure("no_connection", "nothing answers there"))


class Device:
    """One start of a device's keeper on its files."""

    def __init__(self, folder: Path, way: Way) -> None:
        self.clock, self.way = FakeClock(), way
        sections = DeviceSection("dev-1"), BrokerSection("mqtt://here"), BoardSection("test"), AgentSection()
        self.keeper = SettingsKeeper(AgentConfig(*sections, folder=str(folder)), self.clock)
        ties = Ties(Effects(), lambda _keys: [Judged(way.good)], lambda _keys: False, set, lambda: None)
        self.keeper.begin(ties)  # type: ignore[arg-type]

    @property
    def interval(self) -> float:
        return self.keeper.config.agent.telemetry_interval_s

    def turn(self, seconds: float) -> None:
        for _ in range(round(seconds)):
            self.clock.advance(1.0)
            self.keeper.check()


class Bench:
    """A device on which something is kept, and that can be put back to that moment; and the calls of a clean run."""

    def __init__(self, way: Way, folder: Path) -> None:
        self.way, self.folder, self.ledger = way, folder, Ledger()
        self.run, self.start = folder / "run", folder / "start"
        (self.run / "state").mkdir(parents=True)
        device = Device(self.run, Way("before", good=True))
        device.keeper.order(KEPT)
        device.turn(2.0)
        assert device.interval == BEFORE
        shutil.copytree(self.run, self.start)
        self.calls = fault.record(self._work, self.run, folder / "trace")

    def _work(self) -> None:
        """The boot that faults are put into; each start is noted before it does anything by what it works by."""
        for start in range(self.way.starts):
            device = Device(self.run, self.way)
            self.ledger.note(f"works {device.interval:g}")
            device.keeper.order(self.way.order)
            if start == self.way.starts - 1:
                device.turn(TRIAL_S + 5.0)

    def reset(self) -> None:
        shutil.rmtree(self.run)
        shutil.copytree(self.start, self.run)
        self.ledger.clear()

    def kill(self, call: Call) -> list[str]:
        """Kill it there, and let it go on."""
        self.reset()
        fault.kill_at(self._work, call, self.ledger)
        return self._after(f"killed at {call}")

    def fail(self, call: Call, error: str) -> list[str]:
        """Let the call fail: the keeper goes on."""
        self.reset()
        ended = fault.fail_at(self._work, call, error, self.ledger)
        broken = [] if ended.well else [f"it died: {ended.said}"]
        return [*broken, *self._after(f"{error} at {call}")]

    def _after(self, what: str) -> list[str]:
        works = [float(each) for each in self.ledger.lines("works")]
        self.ledger.clear()
        ended = fault.run(self._again, self.ledger)
        broken = self.ledger.lines("broken") if ended.well else [f"it does not recover: {ended.said}"]
        works += [float(each) for each in self.ledger.lines("works")]
        broken += [f"it worked by {each:g}" for each in works if each not in {BEFORE, NEW}]
        return [f"{self.way.name}, {what}: {line}" for line in broken]

    def _again(self) -> None:
        """The starts that follow, each ended by a power cut while it is under way, and then one that is left alone.

        The host's order is on the disk, so each start has it again.
        """
        begun = 0
        for _ in range(MAX_ATTEMPTS + 2):
            device = Device(self.run, self.way)
            device.keeper.order(self.way.order)
            self.ledger.note(f"works {device.interval:g}")
            begun += device.keeper.on_trial
        if begun > MAX_ATTEMPTS:
            self.ledger.note(f"broken it was begun {begun} times")
        device = Device(self.run, self.way)
        device.turn(TRIAL_S + 5.0)
        self._judge(device)

    def _judge(self, device: Device) -> None:
        record = device.keeper.record
        if device.keeper.on_trial:
            self.ledger.note("broken it is on trial without end")
        if not record.knows(ORDERED):
            self.ledger.note("broken the order is forgotten")
        if device.interval == NEW and not self.way.good:
            self.ledger.note("broken what is bad is in effect")
        if (device.interval == NEW) != (record.kept.id == ORDERED):
            self.ledger.note(f"broken it works by {device.interval:g}, and has kept {record.kept.id!r}")
        if record.kept.id not in {ORDERED, KEPT.id}:
            self.ledger.note("broken what was kept before is lost")
        if Device(self.run, self.way).interval != device.interval:
            self.ledger.note("broken the next start works by something else")


def points(bench: Bench, only: int = 0) -> Iterator[Point]:
    """(what was done, what is broken) of every fault; of `only` so many, evenly, if that is given."""
    return played([*kills(bench), *failures(bench, WRITES)], only)


def main() -> None:
    """All of them; exit 1 if anything is broken."""
    report("settings", 14, WAYS, lambda way, folder: points(Bench(way, folder)))


if __name__ == "__main__":
    main()
