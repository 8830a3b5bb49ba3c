"""One device that goes away: what is done to it, and what is wrong with it when it is back. No tests here."""

import contextlib
import hashlib
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

from skerry_agent.state.outbox import BLOCK_BYTES
from skerry_agent.supervisor.local import LocalError, SilentError, Status, StatusRequest, ask
from skerry_agent.supervisor.report import LocalStatus
from skerry_agent.wire import codec
from skerry_agent.wire.telemetry import ModelStats, Report
from skerry_host.cli.demo.client import Client
from skerry_host.home import Home
from skerry_host.plane.registry.database import open_registry
from skerry_host.plane.registry.telemetry.port import StoredReport
from skerry_host.plane.registry.telemetry.sql import SqlTelemetry
from tests.kit.commands import skerry
from tests.system.fleet import FIRST, SECOND, provision

DAY = 86400.0
INTERVAL_S = 0.2
EARLIER = "earlier-boot"
SLACK_S = 3.0
"""A time that the host worked out is late by as much as the quickest report of its boot took."""

Identity = tuple[str, int]
"""Of a report: boot and sequence."""

T = TypeVar("T")


class Away:
    """The device of a row, which says what it is called and how its outbox is bounded."""

    def __init__(self, row: Any, home: Home, url: str, folder: Path, installed: Path) -> None:
        self.row = row
        self.device = provision(home, row.name, url, folder / row.name)
        shutil.copytree(installed, self.device.state, ignore=shutil.ignore_patterns("*.sock", "ports.json"))
        text = self.device.config.read_text().replace("interval_s = 1.0", f"interval_s = {INTERVAL_S}")
        self.device.config.write_text(text.replace("rate_hz = 100.0", "rate_hz = 5.0"))
        self.device.configure("agent", row.bounds)
        self._clock = self.device.folder / "clock"
        path = os.pathsep.join([str(Path(__file__).parent / "shifted_clock"), *sys.path])
        self.device.environment = {"SKERRY_TEST_CLOCK": str(self._clock), "PYTHONPATH": path}
        self.began = time.time()
        self.rollout = ""
        self.most_bytes = self.most_reports = self.largest = 0
        self.kept: set[Identity] = set()
        self.client: Client | None = None
        self.answered = 0

    def set_clock(self, shift_s: float) -> None:
        """Its wall clock is so many seconds ahead of ours."""
        temporary = self._clock.with_suffix(".tmp")
        temporary.write_text(str(shift_s))
        temporary.replace(self._clock)

    def status(self) -> LocalStatus | None:
        """What the agent says of itself, if it does."""
        with contextlib.suppress(LocalError, SilentError):  # it is about to start
            reply = ask(self.device.state, StatusRequest())
            return reply.status if isinstance(reply, Status) else None
        return None

    def serves(self, release: str) -> bool:
        """Whether it serves a release and is at rest."""
        status = self.status()
        model = status.models.get("fashion") if status else None
        at_rest = model is not None and model.serving and model.state == "idle" and model.current is not None
        return bool(at_rest and model.current.release == release)

    def look(self) -> None:
        """Note how full the outbox is."""
        sizes = [-(-path_size // BLOCK_BYTES) * BLOCK_BYTES for path_size in self._outbox(_size)]
        self.most_bytes, self.most_reports = max(self.most_bytes, sum(sizes)), max(self.most_reports, len(sizes))
        self.largest = max([self.largest, *sizes])

    def find_earlier_reports(self) -> None:
        """So many of a boot before the first: more than can be made while a test waits. The agent does not run."""
        outbox, row = self.device.state / "outbox", self.row
        first = 1 + max((int(path.stem) for path in outbox.glob("*.json")), default=0)
        step_s = row.days * DAY / max(1, row.earlier)
        for i in range(row.earlier):
            started, stats = self.began - row.days * DAY + i * step_s, ModelStats("fashion", FIRST, 100, 0)
            report = Report(self.device.id, EARLIER, i, started, i * step_s, step_s, (stats,))
            body = codec.encode(report)
            sealed = hashlib.sha256(body).hexdigest().encode() + b"\n" + body
            (outbox / f"{first + i:012}.json").write_bytes(sealed)

    def come_back(self) -> None:
        """Note what it has kept for the host; what is bounded may still be dropped."""
        self.kept = self._waiting()
        self.answered = self.client.answered if self.client is not None else 0

    def _waiting(self) -> set[Identity]:
        reports = [json.loads(raw.partition(b"\n")[2]) for raw in self._outbox(Path.read_bytes)]
        return {(report["boot"], report["sequence"]) for report in reports}

    def _outbox(self, read: Callable[[Path], T]) -> list[T]:
        """What can be read of the waiting reports: some go meanwhile."""
        found = []
        for path in (self.device.state / "outbox").glob("*.json"):
            with contextlib.suppress(FileNotFoundError):
                found.append(read(path))
        return found


def _size(path: Path) -> int:
    return path.stat().st_size


class Seen:
    """What the host has of a device; boots with their reports in the order in which they were made."""

    def __init__(self, home: Home, away: Away) -> None:
        self._away, self._row = away, away.row
        self._boots: dict[str, list[StoredReport]] = {}
        with open_registry(home.registry) as registry, registry.read() as session:
            kept = SqlTelemetry(session).reports(away.device.id, 0.0, 4e9)
            for report in sorted(kept, key=lambda each: each.sequence):
                self._boots.setdefault(report.boot, []).append(report)
        view = json.loads(skerry(home, "rollout", "status", away.rollout, "--json").stdout)
        (self._deployment,) = [each for each in view["deployments"] if each["device"] == away.device.id]

    def complaints(self) -> list[str]:
        """What is wrong, or not yet right."""
        return [*self._of_deployment(), *self._of_reports(), *self._of_bounds(), *self._of_times()]

    def _of_deployment(self) -> Iterator[str]:
        ended = self._deployment["outcome"], self._deployment["reason"]
        if ended != self._row.ends:
            yield f"its deployment: {ended}"
        if not self._away.serves(SECOND if self._row.ends[0] == "succeeded" else FIRST):
            yield f"does not serve what it should: {self._away.status()}"
        client = self._away.client
        if client is not None and (client.lost or client.answered <= self._away.answered):
            yield f"{client.lost} requests were lost, {client.answered} answered"

    def _of_reports(self) -> Iterator[str]:
        """Exactly once: what is not here was dropped and counted; what is dropped may be here, but not known to be."""
        reports = [report for boot in self._boots.values() for report in boot]
        here = {(report.boot, report.sequence) for report in reports}
        if len(self._boots) != 1 + self._row.killed + bool(self._row.earlier):
            yield f"{len(self._boots)} boots"
        if len(here) != len(reports):
            yield "reports are here twice"
        missing = sum(boot[-1].sequence + 1 - len(boot) for boot in self._boots.values())
        dropped = sum(boot[-1].interval.outbox_dropped for boot in self._boots.values())
        if missing > dropped or (missing and not self._row.bounded):
            yield f"{missing} reports are missing, {dropped} are said to be dropped"
        if self._row.bounded and not missing:
            yield "nothing was dropped"
        if not self._row.bounded and self._away.kept - here:
            yield f"{len(self._away.kept - here)} that were kept are not here"

    def _of_bounds(self) -> Iterator[str]:
        """One report may be there above the bounds while the oldest goes."""
        row, away = self._row, self._away
        if row.most_bytes and abs(away.most_bytes - row.most_bytes) > away.largest:
            yield f"{away.most_bytes} B waited"
        if row.most_reports and not row.most_reports <= away.most_reports <= row.most_reports + 1:
            yield f"{away.most_reports} reports waited"

    def _of_times(self) -> Iterator[str]:
        """In the order in which they were made, and when that was."""
        for boot in self._boots.values():
            if any(later.started < earlier.started - SLACK_S for earlier, later in pairwise(boot)):
                yield "times are out of order"
        times = [report.started for boot in self._boots.values() for report in boot]
        first = self._away.began - self._row.days * DAY
        if not first - SLACK_S < min(times) <= max(times) < time.time() + SLACK_S:
            yield f"times from {min(times):.0f} to {max(times):.0f}"
        if max(times) - min(times) < self._row.days * DAY:
            yield f"times of {max(times) - min(times):.0f} s only"


def waits_for_its_hour(status: LocalStatus | None) -> bool:
    """Whether it was told of a deployment and holds back."""
    deployment = status.models["fashion"].deployment if status else None
    return bool(deployment and deployment.outcome is None and deployment.detail.startswith("waiting until"))
