"""Case T4: a gigabyte of forged telemetry against `skerry serve` and a real mosquitto without access rules.

It comes in the name of one enrolled device, of all of them, and of strangers, as large and as small messages, well
formed and not. Meanwhile honest devices report: their reports must be stored, each of them, in little time, and the
plane's memory stay small. After it a device brings an outbox of 30 days, of which nothing may be dropped.

    python benchmarks/flood.py [--megabytes 1000]
"""

import argparse
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.goals import Goal, finish, skip  # noqa: E402
from benchmarks.plane import Process, counted  # noqa: E402
from skerry_agent.wire import codec, topics  # noqa: E402
from skerry_agent.wire.telemetry import Report, Sample  # noqa: E402
from skerry_host.home import Home, init_home  # noqa: E402
from skerry_host.plane.broker.broker import find_mosquitto  # noqa: E402
from skerry_host.plane.registry.database import Registry, open_registry  # noqa: E402
from skerry_host.plane.registry.records import receipts  # noqa: E402
from tests.kit.commands import Serving, serving  # noqa: E402
from tests.kit.device import BrokerPort, FakeDevice  # noqa: E402
from tests.kit.flood import Forged, flooding  # noqa: E402
from tests.sim.enrol import enrol  # noqa: E402
from tests.sim.scenario import Group, Scenario  # noqa: E402

DEVICES, HONEST = 20, 5
LEAST_HONEST = 25
"""Reports of others meanwhile, at least."""

PATIENCE_S = 120.0
OUTBOX_REPORTS = 43_200
RSS_MB = 300
MB = 1_000_000
SMALL_SHARE = 10
"""A gigabyte of small reports is seven million of them: a tenth takes long enough."""


def large_report(device: str, number: int, boot: str = "flood") -> bytes:
    """Well formed, and nearly as large as a message may be."""
    samples = tuple(Sample(f"sensor-{n}-{'x' * 300}", float(n), "W", "measured", "m" * 390) for n in range(250))
    return codec.encode(Report(device, boot, number, 100.0, 50.0, 10.0, (), samples))


def small_report(device: str, number: int, boot: str = "flood") -> bytes:
    """As devices send them."""
    return codec.encode(Report(device, boot, number, 100.0 + 10 * number, 50.0 + 10 * number, 10.0))


def renumbered(raw: bytes) -> Callable[[int], bytes]:
    """The same report under another number each time: to make it anew would be slower than what it is to flood."""
    before, after = raw.split(b'"sequence":7', 1)
    return lambda number: b'%b"sequence":%d%b' % (before, number, after)


def floods() -> dict[str, Forged]:
    """Who floods with what, as forged messages."""
    names = [f"sim-{n:05d}" for n in range(HONEST, DEVICES)]
    large = {name: renumbered(large_report(name, 7)) for name in names}
    small = {name: renumbered(small_report(name, 7)) for name in names}

    first, garbage = names[0], os.urandom(200_000)

    def in_turn(number: int) -> tuple[str, bytes]:
        name = names[number % len(names)]
        return topics.telemetry(name), large[name](number)

    return {
        "large reports of one device": lambda n: (topics.telemetry(first), large[first](n)),
        "large reports of all devices": in_turn,
        "small reports of one device": lambda n: (topics.telemetry(first), small[first](n)),
        "reports of strangers": lambda n: (topics.telemetry(f"stranger-{n % 5000}"), large[first](n)),
        "garbage": lambda _n: (topics.telemetry(first), garbage),
    }


class Honest:
    """Devices that report five times a second, and how long it takes until a report is stored."""

    def __init__(self, registry: Registry, broker: str) -> None:
        self._registry = registry
        self.devices = [FakeDevice(f"sim-{n:05d}", BrokerPort(broker)) for n in range(HONEST)]
        self._sent = 0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.slowest_s = 0.0

    def __enter__(self) -> "Honest":
        for device in self.devices:
            device.connect()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.wait(0.2):
            for device in self.devices:
                device.telemetry()
            self._sent += 1

    def finish(self) -> int:
        """End; how many reports are not stored, once nothing more comes."""
        self._stopping.set()
        self._thread.join()
        began = time.monotonic()
        while self.missing() and time.monotonic() - began < PATIENCE_S:
            time.sleep(0.2)
        self.slowest_s = time.monotonic() - began
        missing = self.missing()
        for device in self.devices:
            device.crash()
        return missing

    def missing(self) -> int:
        """Reports that were sent and are not stored."""
        with self._registry.read() as session:
            found = receipts.of(session, {device.id for device in self.devices})
        boots = {device.boot for device in self.devices}
        spans = [span for each in found.values() for boot in each.boots if boot.boot in boots for span in boot.spans]
        return self._sent * HONEST - sum(last - first + 1 for first, last in spans)

    @property
    def sent(self) -> int:
        """How many reports."""
        return self._sent * HONEST


class Bench:
    """One plane and what was measured of it."""

    def __init__(self, registry: Registry, plane: Serving) -> None:
        self.registry, self.plane = registry, plane
        self.process = Process(plane.pid)
        self.goals: list[Goal] = []
        self.details: dict[str, Any] = {}

    def flood(self, name: str, forge: Forged, size: int) -> None:
        """`size` bytes, and until everything that had come is worked through."""
        most, began = 0.0, time.monotonic()
        with Honest(self.registry, self.plane.broker) as honest:
            with flooding(self.plane.broker, forge, bytes_most=size) as flood:
                while not flood.done.wait(0.1):
                    most = max(most, self.process.rss_mb)
            while honest.sent < LEAST_HONEST:
                time.sleep(0.1)
            poured_s, mid = time.monotonic() - began, counted(self.plane.page)
            missing = honest.finish()
            while counted(self.plane.page) != mid:
                most, mid = max(most, self.process.rss_mb), counted(self.plane.page)
                time.sleep(0.5)
        most = max(most, self.process.rss_mb)
        self.details[name] = {"messages": flood.sent, "megabytes": flood.sent_bytes / MB, "poured_s": poured_s,
                              "rss_mb": most, "last_honest_s": honest.slowest_s, "counts": dict(mid)}  # fmt: skip
        print(name, self.details[name], file=sys.stderr)
        self.goals.append(Goal(f"memory of the plane: {name}", most, RSS_MB, "MB"))
        self.goals.append(Goal(f"reports of others lost: {name}", missing, 0, f"of {honest.sent}"))

    def outbox(self) -> None:
        """A device that comes back with 30 days of reports: none may be dropped."""
        before, forge = counted(self.plane.page), renumbered(small_report("sim-00000", 7, "away"))
        began = time.monotonic()
        topic = topics.telemetry("sim-00000")
        with flooding(self.plane.broker, lambda n: (topic, forge(n)), bytes_most=OUTBOX_REPORTS * len(forge(10_000))):
            while (now := counted(self.plane.page))["accepted"] - before["accepted"] < 0.99 * OUTBOX_REPORTS:
                if time.monotonic() - began > PATIENCE_S:
                    break
                time.sleep(0.5)
        self.details["outbox_s"] = time.monotonic() - began
        self.goals.append(Goal("dropped of an outbox of 30 days", now["too_many"] - before["too_many"], 0, "reports"))


def run(home: Home, size: int) -> Bench:
    """All floods, one after the other, against one plane."""
    with open_registry(home.registry) as registry:
        enrol(registry, Scenario((Group("sim", DEVICES),)))
        with serving(home, "--port", "0", "--http-port", "0") as plane:
            bench = Bench(registry, plane)
            for name, forge in floods().items():
                bench.flood(name, forge, size // (SMALL_SHARE if name.startswith("small") else 1))
            bench.outbox()
            plane.stop()
    return bench


def main() -> None:
    """A gigabyte in all, then the goals."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=1000, help="of each flood [1000]")
    given = parser.parse_args()
    if find_mosquitto() is None:
        skip("flood", "mosquitto is not installed")
    with tempfile.TemporaryDirectory(prefix="skerry-flood-") as folder:
        bench = run(init_home(Path(folder) / "home"), given.megabytes * MB)
    finish("flood", bench.goals, bench.details)


if __name__ == "__main__":
    main()
