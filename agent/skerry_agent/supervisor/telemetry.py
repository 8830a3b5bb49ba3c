"""Builds the telemetry report of an interval from the runners' heartbeats and the meters' samples.

Quiet intervals are held back, and become one longer report.
"""

from collections.abc import Callable

from msgspec.structs import replace

from skerry_agent.ports.interfaces import Clock, Meters
from skerry_agent.ports.runner_protocol import Heartbeat
from skerry_agent.supervisor.quiet import is_quiet, joined
from skerry_agent.wire.telemetry import ModelStats, Report, Sample


class Telemetry:
    """Collects heartbeats until `take` makes a report of them."""

    def __init__(self, device: str, boot: str, clock: Clock, meters: Meters) -> None:
        self._device, self._boot = device, boot
        self._clock, self._meters = clock, meters
        self._sequence = 0
        self._held: Report | None = None
        self._last: Report | None = None
        self._begin()

    def _begin(self) -> None:
        self._stats: dict[tuple[str, str], ModelStats] = {}
        self._cpu_s = 0.0
        self._exercised = 0
        self._started, self._started_at = self._clock.wall(), self._clock.monotonic()

    def heartbeat(self, model: str, release: str, load_us: float | None, heartbeat: Heartbeat) -> None:
        """Add a heartbeat of a runner."""
        known = self._stats.get((model, release)) or ModelStats(model, release, 0, 0)
        outputs = dict(known.outputs)
        for label, count in heartbeat.outputs.items():
            outputs[label] = outputs.get(label, 0) + count
        self._cpu_s += heartbeat.cpu_s
        self._exercised += heartbeat.exercised.inferences if heartbeat.exercised is not None else 0
        self._stats[model, release] = replace(
            known,
            inferences=known.inferences + heartbeat.inferences,
            errors=known.errors + heartbeat.errors,
            invalid_outputs=known.invalid_outputs + heartbeat.invalid_outputs,
            dropped=known.dropped + heartbeat.dropped,
            latency=known.latency.merged(heartbeat.latency),
            load_us=load_us,
            rss_bytes=heartbeat.rss_bytes,
            outputs=outputs,
        )

    def take(self, pids: list[int], outbox_dropped: int, most_quiet_s: float = 0.0) -> list[Report]:
        """What is to be reported now that an interval ends; the next one begins.

        Nothing while intervals are quiet, until together they are `most_quiet_s` long, or twice as long as the report
        before, or another follows: then they are one report. So a report says when the next one is due at the latest.
        """
        interval = self._interval(pids, outbox_dropped)
        if self._last is None or most_quiet_s <= 0 or not is_quiet(interval, self._last):
            return self._numbered(self._held, interval)
        longer = joined(self._held, interval) if self._held is not None else interval
        if longer is None:
            due, self._held = self._numbered(self._held), interval
        elif longer.duration_s + interval.duration_s / 2 < min(most_quiet_s, 2 * self._last.duration_s):
            due, self._held = [], longer
        else:
            due = self._numbered(longer)
        return due

    def _numbered(self, *reports: Report | None) -> list[Report]:
        """These reports, each with its sequence; none is held back any more."""
        numbered = [replace(each, sequence=n) for n, each in enumerate(filter(None, reports), start=self._sequence)]
        self._sequence += len(numbered)
        self._held, self._last = None, numbered[-1]
        return numbered

    def _interval(self, pids: list[int], outbox_dropped: int) -> Report:
        uptime = self._clock.monotonic()
        duration = uptime - self._started_at
        samples = self._meters.samples(pids, duration)
        report = Report(
            device=self._device,
            boot=self._boot,
            sequence=self._sequence,
            started=self._started,
            uptime_s=uptime,
            duration_s=duration,
            models=tuple(map(_energy_of(samples, duration, self._inferences()), self._stats.values())),
            samples=tuple(samples),
            outbox_dropped=outbox_dropped,
        )
        self._begin()
        return report

    def _inferences(self) -> int:
        """Of real load and of golden inputs: they take their share of the energy, and are in no other figure."""
        return self._exercised + sum(stats.inferences for stats in self._stats.values())


def _energy_of(samples: list[Sample], duration_s: float, inferences: int) -> Callable[[ModelStats], ModelStats]:
    """Energy per inference from the power above idle, with the power's source; absent without power or inferences."""
    power = next((s for s in samples if s.name == "power_active"), None)

    def with_energy(stats: ModelStats) -> ModelStats:
        if power is None or not inferences or not stats.inferences:
            return stats
        energy = max(0.0, power.value) * duration_s * 1e6 / inferences
        return replace(stats, energy_uj=energy, energy_source=power.source, energy_method=power.method)

    return with_energy
