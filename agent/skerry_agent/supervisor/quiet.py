"""Quiet intervals: those of a device that does nothing and whose measurements hardly change. Pure.

Several of them in a row are one longer report. An interval with inferences, errors or anything dropped never is quiet,
so no latency and no energy is ever part of a mean here.
"""

from msgspec.structs import replace

from skerry_agent.wire.telemetry import ModelStats, Report, Sample

TOLERANCE = 0.1
"""Relative: how much a value may differ from the one that was reported last."""

LEAST_CHANGE = {"W": 0.2, "degC": 3.0, "cores": 0.05}
"""What is small in each unit, whatever the value. Of flags (0 or 1, in unit 1) no change is."""

CLOCK_S = 5.0
"""A wall clock that was set by more ends a merged interval: the host reads `started` by it."""

_MEANS = frozenset({"power", "power_active", "cpu"})
"""Samples that are means over the interval; others are of its end."""


def is_quiet(report: Report, before: Report) -> bool:
    """Whether an interval says nothing that the report before it does not say."""
    if before.outbox_dropped != report.outbox_dropped:
        return False
    known = {(stats.model, stats.release): stats for stats in before.models}
    if known.keys() != {(stats.model, stats.release) for stats in report.models}:
        return False
    return _alike(report.samples, before.samples) and all(
        _is_idle(stats) and _is_close(stats.rss_bytes or 0, known[stats.model, stats.release].rss_bytes or 0, "bytes")
        for stats in report.models
    )


def joined(first: Report, second: Report) -> Report | None:
    """Two quiet intervals as one; None where the clock was set between them."""
    if abs(second.started - first.started - first.duration_s) > CLOCK_S:
        return None
    before = {sample.name: sample for sample in first.samples}
    weights = first.duration_s, second.duration_s
    return replace(
        second,
        started=first.started,
        duration_s=first.duration_s + second.duration_s,
        samples=tuple(_mean(before.get(sample.name), sample, weights) for sample in second.samples),
    )


def _mean(before: Sample | None, sample: Sample, weights: tuple[float, float]) -> Sample:
    if before is None or sample.name not in _MEANS:
        return sample
    mean = (before.value * weights[0] + sample.value * weights[1]) / sum(weights)
    return replace(sample, value=mean)


def _is_idle(stats: ModelStats) -> bool:
    happened = stats.inferences, stats.errors, stats.input_errors, stats.invalid_outputs, stats.dropped
    return not (any(happened) or stats.outputs)


def _alike(samples: tuple[Sample, ...], before: tuple[Sample, ...]) -> bool:
    """The same measurements with about the same values; `power` says what `power_active` is derived from."""
    new = {sample.name: sample for sample in samples if sample.name != "power_active"}
    old = {sample.name: sample for sample in before if sample.name != "power_active"}
    return new.keys() == old.keys() and all(_is_close(s.value, old[name].value, s.unit) for name, s in new.items())


def _is_close(value: float, before: float, unit: str) -> bool:
    if unit == "1" and {value, before} == {0.0, 1.0}:
        return False
    return abs(value - before) <= max(LEAST_CHANGE.get(unit, 0.0), TOLERANCE * abs(before))
