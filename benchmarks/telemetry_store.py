"""Telemetry at rest: what a report costs to store, what a month of a device takes on disk, what is read how quickly.

Reports are those of a board that serves a classifier, 60 s each, stored in SQLite through the store itself, with its
upkeep at the times when it is due. `--days 30` is the month of the goal; fewer days are quicker and judge no size.
"""

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from msgspec.structs import replace

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.goals import Goal, finish
from skerry_agent.wire.report_forms import encode_report
from skerry_host.fleet.device import Device
from skerry_host.plane.registry.database import Registry, open_registry
from skerry_host.plane.registry.records import devices
from skerry_host.plane.registry.telemetry.port import Arrival
from skerry_host.plane.registry.telemetry.sql import SqlTelemetry
from tests.kit.reports import typical_report

BEGAN = 1_800_000_000.0
BATCH = 500
UPKEEP_EVERY = 10
SAMPLES = [typical_report(inferences=600, seed=seed) for seed in range(300)]


def arrivals(fleet: int, sequence: int, source: random.Random) -> list[Arrival]:
    """One report of each device, packed as the wire has it."""
    started = BEGAN + 60 * sequence
    made = []
    for number in range(fleet):
        report = replace(
            source.choice(SAMPLES), device=f"dev-{number:05}", boot=f"{number:016x}", sequence=sequence, started=started
        )
        report = replace(report, uptime_s=60.0 * sequence + 100)
        made.append(Arrival(report, encode_report(report)))
    return made


def enrolled(folder: Path, fleet: int) -> Registry:
    """A new registry with a fleet."""
    registry = open_registry(folder / "r.sqlite")
    with registry.write() as session:
        for number in range(fleet):
            devices.add(session, Device(f"dev-{number:05}", "generic-x86"), 1.0)
    return registry


def month(fleet: int, days: int) -> dict[str, float]:
    """Bytes a device after so many days, and CPU seconds a device and day of upkeep."""
    source, upkeep_s = random.Random(1), 0.0
    with tempfile.TemporaryDirectory() as name, enrolled(Path(name), fleet) as registry:
        for sequence in range(days * 1440):
            now = BEGAN + 60 * sequence + 61
            with registry.write() as session:
                SqlTelemetry(session).add(arrivals(fleet, sequence, source), now)
            if sequence % UPKEEP_EVERY == 0:
                upkeep_s += cpu_of(lambda now=now: upkeep(registry, now))  # type: ignore[misc]
        size = (Path(name) / "r.sqlite").stat().st_size
    return {"bytes_a_device": size / fleet, "upkeep_s_a_device_and_day": upkeep_s / fleet / days}


def upkeep(registry: Registry, now: float) -> None:
    """All that is due."""
    done = 1
    while done:
        with registry.write() as session:
            done = SqlTelemetry(session).maintain(now, 1)


def costs(fleet: int, rounds: int) -> dict[str, float]:
    """Microseconds of CPU a stored report, and seconds of what is read of the fleet then."""
    source, spent = random.Random(2), []
    with tempfile.TemporaryDirectory() as name, enrolled(Path(name), fleet) as registry:
        for sequence in range(rounds):
            made = arrivals(fleet, sequence, source)
            spent.append(cpu_of(lambda made=made: store(registry, made)) / fleet * 1e6)  # type: ignore[misc]
        page = [f"dev-{number:05}" for number in range(100)]
        with registry.read() as session:
            read = SqlTelemetry(session)
            return {
                "us_a_report": sorted(spent)[len(spent) // 2],
                "page_s": cpu_of(lambda: read.recent(page, 40)),
                "newest_of_all_s": cpu_of(read.newest),
            }


def store(registry: Registry, made: Sequence[Arrival]) -> None:
    """In batches as the plane writes them."""
    for first in range(0, len(made), BATCH):
        with registry.write() as session:
            SqlTelemetry(session).add(made[first : first + BATCH], BEGAN + 3600)


def cpu_of(work: Callable[[], object]) -> float:
    """CPU seconds of this process."""
    before = time.process_time()
    work()
    return time.process_time() - before


def main() -> None:
    """Measure and judge."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--devices", type=int, default=5000)
    chosen = parser.parse_args()
    measured = costs(chosen.devices, 7)
    one, ten = month(1, chosen.days), month(10, chosen.days)
    share = ten["upkeep_s_a_device_and_day"] * chosen.devices / 864
    size = [Goal(f"a month of one device, {n} in the file", each["bytes_a_device"] / 1e6, 1.5, "MB") for n, each in
            ((1, one), (10, ten))]  # fmt: skip
    goals = [
        Goal("CPU of storing a report", measured["us_a_report"], 100, "us"),
        Goal(f"CPU of upkeep for {chosen.devices} devices", share, 3, "% of a core"),
        Goal("CPU of reading a page of 100 devices", measured["page_s"], 0.3, "s"),
        *(size if chosen.days == 30 else ()),
    ]
    finish("telemetry_store", goals, {"costs": measured, "one": one, "ten": ten, "days": chosen.days})


if __name__ == "__main__":
    main()
