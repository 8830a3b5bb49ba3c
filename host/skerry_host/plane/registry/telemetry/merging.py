"""Merges reports into roll-ups: counts add, sketches merge, samples keep lowest, mean and highest value. Pure.

Nothing is averaged that cannot be: a quantile of a roll-up is that of all its values. In whatever order reports are
merged, the roll-up is the same but for the last digits of its means.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from skerry_host.plane.registry.telemetry import runs
from skerry_host.plane.registry.telemetry.packing import (
    Name,
    PackedModel,
    PackedReport,
    RollUp,
    pack_figures,
)
from skerry_host.plane.registry.telemetry.runs import MOST

MOST_NAMES = 256
"""A roll-up holds at most so many labels of a model, and so many samples; those seen least are left out."""

SHORTEST_S = 1e-3
"""The weight of a sample in an interval that says it lasted no time."""

Figures = tuple[float, float, float, float]


def of_report(place: int, report: PackedReport) -> RollUp:
    """The roll-up of one report."""
    seconds = max(report.duration_s, SHORTEST_S)
    values = pack_figures([(value, value, value, seconds) for value in report.sample_values()])
    parts = place, 1, report.duration_s, report.outbox_dropped, report.models, report.samples, values
    return RollUp(*parts)


def merged(parts: Sequence[RollUp]) -> RollUp:
    """Several roll-ups of one period as one."""
    if len(parts) == 1:
        return parts[0]
    samples = _samples(parts)
    return RollUp(
        parts[0].place,
        sum(part.reports for part in parts),
        sum(part.duration_s for part in parts),
        max(part.outbox_dropped for part in parts),
        list(_models(model for part in parts for model in part.models)),
        list(samples),
        pack_figures(list(samples.values())),
    )


def _models(models: Iterable[PackedModel]) -> Iterator[PackedModel]:
    by_name: dict[Name, list[PackedModel]] = {}
    for model in models:
        by_name.setdefault(model.name, []).append(model)
    return map(_model, by_name.values())


def _model(parts: Sequence[PackedModel]) -> PackedModel:
    """One model of several roll-ups: of the load time and the memory, the largest."""
    energy = _energy(parts)
    return PackedModel(
        parts[0].name,
        min(MOST, sum(part.inferences for part in parts)),
        min(MOST, sum(part.errors for part in parts)),
        min(MOST, sum(part.invalid_outputs for part in parts)),
        min(MOST, sum(part.dropped for part in parts)),
        runs.merged(part.latency for part in parts),
        sum(part.total_us for part in parts),
        max((part.load_us for part in parts if part.load_us is not None), default=None),
        max((part.rss_bytes for part in parts if part.rss_bytes is not None), default=None),
        *energy[:2],
        _outputs(parts),
        energy[2],
    )


def _energy(parts: Sequence[PackedModel]) -> tuple[float | None, Name | None, int]:
    """Energy per inference, and what names its source: that of most inferences, where there are several."""
    sums: dict[Name, tuple[float, int]] = {}
    for part in parts:
        if part.energy_uj is not None and part.energy is not None:
            metered = part.inferences if part.metered is None else part.metered
            energy, count = sums.get(part.energy, (0.0, 0))
            sums[part.energy] = energy + part.energy_uj * metered, count + metered
    if not sums:
        return None, None, 0
    name, (energy, count) = max(sums.items(), key=lambda each: each[1][1])
    return (energy / count if count else 0.0), name, min(MOST, count)


def _outputs(parts: Sequence[PackedModel]) -> dict[Name, int]:
    sums: Counter[Name] = Counter()
    for part in parts:
        for label, count in part.outputs.items():
            sums[label] += count
    return {label: max(-MOST, min(MOST, count)) for label, count in sums.most_common(MOST_NAMES)}


def _samples(parts: Sequence[RollUp]) -> dict[Name, Figures]:
    sums: dict[Name, Figures] = {}
    for part in parts:
        for name, (low, mean, high, seconds) in zip(part.samples, part.figures(), strict=True):
            known = sums.get(name)
            if known is None:
                sums[name] = low, mean, high, seconds
            else:
                weight = known[3] + seconds
                middle = known[1] + (mean - known[1]) * (seconds / weight)
                sums[name] = min(low, known[0]), middle, max(high, known[2]), weight
    longest = sorted(sums, key=lambda name: -sums[name][3])[:MOST_NAMES]
    return {name: sums[name] for name in longest}
