"""Builds the telemetry report of an interval from the runners' heartbeats and the meters' samples.

Quiet intervals are held back, and become one longer report.
"""

from msgspec.structs import replace

from skerry_agent.ports.interfaces import Clock, Meters
from skerry_agent.ports.runner_protocol import Exercised, Heartbeat
from skerry_agent.supervisor.energy import LONGEST_S, Energy, EnergyAccounts, Work
from skerry_agent.supervisor.quiet import is_quiet, joined
from skerry_agent.wire.telemetry import ModelStats, Report


class Telemetry:
    """Collects heartbeats until `take` makes a report of them."""

    def __init__(self, device: str, boot: str, clock: Clock, meters: Meters) -> None:
        self.device, self._boot = device, boot
        self._clock, self._meters = clock, meters
        self._sequence = 0
        self._held: Report | None = None
        self._last: Report | None = None
        self._energies = EnergyAccounts()
        self._told: dict[str, tuple[float, Energy]] = {}
        self._begin()

    def _begin(self) -> None:
        self._stats: dict[tuple[str, str], ModelStats] = {}
        self._work: dict[tuple[str, str], Work] = {}
        self._started, self._started_at = self._clock.wall(), self._clock.monotonic()

    @property
    def newest(self) -> int:
        """The sequence of the newest report."""
        return self._sequence - 1

    def heartbeat(
        self, model: str, release: str, load_us: float | None, heartbeat: Heartbeat, *, accelerated: bool = False
    ) -> None:
        """Add a heartbeat of a runner; `accelerated`: its inferences run on an accelerator."""
        known = self._stats.get((model, release)) or ModelStats(model, release, 0, 0)
        outputs = dict(known.outputs)
        for label, count in heartbeat.outputs.items():
            outputs[label] = outputs.get(label, 0) + count
        real, golden = _works_of(heartbeat, accelerated)
        for worker, work in ((model, real), (GOLDEN, golden)):
            self._work[worker, release] = self._work.get((worker, release), Work()).plus(work)
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
            input_errors=known.input_errors + heartbeat.input_errors,
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
        numbered = [
            replace(each, sequence=n, device=self.device)
            for n, each in enumerate(filter(None, reports), start=self._sequence)
        ]
        self._sequence += len(numbered)
        self._held, self._last = None, numbered[-1]
        return numbered

    def _interval(self, pids: list[int], outbox_dropped: int) -> Report:
        uptime = self._clock.monotonic()
        duration = uptime - self._started_at
        cpu_s, accelerator_s = (sum(getattr(work, name) for work in self._work.values()) for name in _BUSY)
        samples = self._meters.samples(pids, duration, accelerator_s)
        energy = self._meters.active_energy(cpu_s, accelerator_s)
        if energy is not None and energy.source == "modelled":
            self._energies.add(energy, self._work, duration, self._modelled_j)
        else:
            self._energies.add(energy, self._work, duration)
        report = Report(
            device=self.device,
            boot=self._boot,
            sequence=self._sequence,
            started=self._started,
            uptime_s=uptime,
            duration_s=duration,
            models=tuple(map(self._with_energy, self._stats.values())),
            samples=tuple(samples),
            outbox_dropped=outbox_dropped,
        )
        self._begin()
        return report

    def _modelled_j(self, work: Work) -> float:
        energy = self._meters.active_energy(work.cpu_s, work.accelerator_s)
        return 0.0 if energy is None else energy.joules

    def energies(self) -> dict[str, Energy]:
        """Energy per inference of each model that has had a figure lately."""
        since = self._clock.monotonic() - LONGEST_S
        return {model: energy for model, (at, energy) in self._told.items() if at >= since}

    def _with_energy(self, stats: ModelStats) -> ModelStats:
        """A model's figures with its energy per inference, where there were inferences and it is known."""
        taken = self._energies.take(stats.model, stats.release) if stats.inferences else None
        if taken is None:
            return stats
        self._told[stats.model] = self._clock.monotonic(), taken
        return replace(
            stats,
            energy_uj=taken.per_inference_uj,
            energy_source=taken.source,
            energy_method=taken.method,
            energy_relative_uncertainty=taken.relative_uncertainty,
        )


_BUSY = ("cpu_s", "accelerator_s")
GOLDEN = "golden inputs"
"""Who they are done for: no name that a model can have."""


def _works_of(heartbeat: Heartbeat, accelerated: bool) -> tuple[Work, Work]:
    """What a runner did for real load, and what for golden inputs: they have an account of their own.

    What it took to load, to validate or to wait is neither's. Of CPU time only the sum is known: it is divided by the
    time in the runtime.
    """
    exercised = heartbeat.exercised or Exercised()
    accelerator_s = [max(0.0, each.latency.total) / 1e6 if accelerated else 0.0 for each in (heartbeat, exercised)]
    share = _golden_share(heartbeat, exercised)
    golden = Work(exercised.inferences, heartbeat.cpu_s * share, accelerator_s[1])
    if heartbeat.inferences or heartbeat.errors or heartbeat.busy_s > 0:
        return Work(heartbeat.inferences, heartbeat.cpu_s * (1 - share), accelerator_s[0]), golden
    return Work(), golden


def _golden_share(heartbeat: Heartbeat, exercised: Exercised) -> float:
    """The part of a runner's work that golden inputs were, from 0 to 1."""
    real_us, golden_us = heartbeat.latency.total, exercised.latency.total
    if real_us > 0 and golden_us > 0:
        return golden_us / (real_us + golden_us)
    real, golden = heartbeat.inferences + heartbeat.errors, exercised.inferences + exercised.errors
    return golden / (real + golden) if golden else 0.0
