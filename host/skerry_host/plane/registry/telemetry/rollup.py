"""Roll-ups: the reports of one period merged. Counts add, sketches merge, samples keep lowest, mean and highest. Pure.

Nothing is averaged that cannot be: a quantile of a roll-up is that of all its values. In whatever order reports are
merged, the roll-up is the same but for the last digits of its means.

At rest a block of roll-ups is MessagePack arrays, compressed together; golden files pin it. Fields may be appended: a
shorter array has their defaults.
"""

import struct
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec

from skerry_agent.wire.sketch import MAX_TOTAL, Sketch, pack_sketch, unpack_sketch
from skerry_agent.wire.tallies import MAX_NUMBER
from skerry_agent.wire.telemetry import MeasurementSource, ModelStats
from skerry_host.plane.registry.telemetry.port import Interval, SampleFigures

MOST_NAMES, MOST_MODELS = 256, 64
"""A roll-up has at most so many labels of a model, samples, and releases of models; those seen least are left out."""

SHORTEST_S = 1e-3
"""The weight of a sample in an interval that says it lasted no time."""

FIGURES = struct.Struct("<4f")
"""Of a sample: lowest, mean and highest value, and for how many seconds it was measured."""

LARGEST = 3e38
"""What is larger does not fit into 32 bits."""

PLANES = 4
"""The bytes of a 32-bit float. The first, third, ... of all figures are kept together, as they are much alike."""

SampleKey = tuple[str, str, MeasurementSource, str]
"""Name, unit, source and method."""

Figures = tuple[float, float, float, float]

Metered = tuple[ModelStats, int]
"""A model's figures, and how many inferences their energy is of."""


class RolledModel(msgspec.Struct, array_like=True):
    """One model over the period; `metered` counts the inferences that its energy is of."""

    model: str
    release: str
    inferences: int
    errors: int
    invalid_outputs: int
    dropped: int
    latency: bytes
    load_us: float | None
    rss_bytes: int | None
    energy_uj: float | None
    energy_source: MeasurementSource | None
    energy_method: str
    metered: int
    outputs: dict[str, int]
    energy_relative_uncertainty: float | None = None
    input_errors: int = 0

    def stats(self) -> ModelStats:
        """The same as in a report."""
        return ModelStats(
            self.model,
            self.release,
            self.inferences,
            self.errors,
            self.invalid_outputs,
            self.dropped,
            unpack_sketch(self.latency),
            self.load_us,
            self.rss_bytes,
            self.energy_uj,
            self.energy_source,
            self.energy_method,
            self.outputs,
            input_errors=self.input_errors,
            energy_relative_uncertainty=self.energy_relative_uncertainty,
        )


class RollUp(msgspec.Struct, array_like=True):
    """Reports of one period merged; `number` counts the periods since 1970, `values` are its samples' figures."""

    number: int
    reports: int
    duration_s: float
    outbox_dropped: int
    models: list[RolledModel]
    samples: list[SampleKey]
    values: bytes

    def figures(self) -> Iterator[tuple[SampleKey, Figures]]:
        """The samples with their figures."""
        return zip(self.samples, _unpacked(self.values), strict=True)


_ENCODE = msgspec.msgpack.Encoder().encode
_DECODE = msgspec.msgpack.Decoder(list[RollUp]).decode


def pack_block(rolled: Sequence[RollUp]) -> bytes:
    """A block at rest."""
    return zlib.compress(_ENCODE(rolled))


def unpack_block(raw: bytes) -> list[RollUp]:
    """A block at rest, read. Raises `ValueError` when it is damaged."""
    try:
        return _DECODE(zlib.decompress(raw))
    except (zlib.error, msgspec.DecodeError) as error:
        raise ValueError(str(error)) from None


def of_intervals(number: int, intervals: Sequence[Interval]) -> RollUp:
    """The roll-up of the reports of one period."""
    models = [(stats, _metered(stats)) for one in intervals for stats in one.models]
    samples = [
        (_key(sample), (sample.low, sample.value, sample.high, max(one.duration_s, SHORTEST_S)))
        for one in intervals
        for sample in one.samples
    ]
    dropped = max(one.outbox_dropped for one in intervals)
    return _rolled_up(number, (len(intervals), sum(one.duration_s for one in intervals), dropped), models, samples)


def merged(number: int, parts: Sequence[RollUp]) -> RollUp:
    """Several roll-ups as one: of the same period, or of those that make it up."""
    if len(parts) == 1 and parts[0].number == number:
        return parts[0]
    models = [(model.stats(), model.metered) for part in parts for model in part.models]
    samples = [each for part in parts for each in part.figures()]
    dropped = max(part.outbox_dropped for part in parts)
    sums = sum(part.reports for part in parts), sum(part.duration_s for part in parts), dropped
    return _rolled_up(number, sums, models, samples)


def _rolled_up(
    number: int, sums: tuple[int, float, int], models: Iterable[Metered], samples: Iterable[tuple[SampleKey, Figures]]
) -> RollUp:
    by_key = _samples(samples)
    return RollUp(number, *sums, _models(models), list(by_key), _packed(by_key.values()))


def _key(sample: SampleFigures) -> SampleKey:
    return sample.name, sample.unit, sample.source, sample.method


def _packed(figures: Iterable[Figures]) -> bytes:
    """As floats of 32 bits, the last 8 of them 0: a thousandth of a percent is more than any sensor tells."""
    raw = b"".join(FIGURES.pack(*(max(-LARGEST, min(LARGEST, each)) for each in numbers)) for numbers in figures)
    words = [(word + 0x80) & 0xFFFFFF00 for (word,) in struct.iter_unpack("<I", raw)]
    rounded = struct.pack(f"<{len(words)}I", *words)
    return b"".join(rounded[plane::PLANES] for plane in range(PLANES))


def _unpacked(planes: bytes) -> Iterator[Figures]:
    raw, size = bytearray(len(planes)), len(planes) // PLANES
    for plane in range(PLANES):
        raw[plane::PLANES] = planes[plane * size : (plane + 1) * size]
    return FIGURES.iter_unpack(raw)


def _metered(stats: ModelStats) -> int:
    return stats.inferences if stats.energy_uj is not None else 0


def _models(models: Iterable[Metered]) -> list[RolledModel]:
    by_name: dict[tuple[str, str], list[Metered]] = {}
    for each in models:
        by_name.setdefault((each[0].model, each[0].release), []).append(each)
    rolled = [_model(*name, parts) for name, parts in by_name.items()]
    return sorted(rolled, key=lambda model: -model.inferences)[:MOST_MODELS] if len(rolled) > MOST_MODELS else rolled


def _model(model: str, release: str, parts: Sequence[Metered]) -> RolledModel:
    """One model of several intervals: of the load time and the memory, the largest."""
    stats = [each for each, _ in parts]
    energy_uj, source, method, metered, uncertainty = merged_energy(parts)
    return RolledModel(
        model,
        release,
        _sum(each.inferences for each in stats),
        _sum(each.errors for each in stats),
        _sum(each.invalid_outputs for each in stats),
        _sum(each.dropped for each in stats),
        pack_sketch(_sketch(each.latency for each in stats)),
        max((each.load_us for each in stats if each.load_us is not None), default=None),
        max((each.rss_bytes for each in stats if each.rss_bytes is not None), default=None),
        energy_uj,
        source,
        method,
        metered,
        _outputs(each.outputs for each in stats),
        energy_relative_uncertainty=uncertainty,
        input_errors=_sum(each.input_errors for each in stats),
    )


def _sum(counts: Iterable[int]) -> int:
    """What a sketch can count, no more."""
    return min(MAX_NUMBER, sum(counts))


def _sketch(sketches: Iterable[Sketch]) -> Sketch:
    sums: Counter[str] = Counter()
    zeros, total = 0, 0.0
    for sketch in sketches:
        zeros, total = zeros + sketch.zeros, total + sketch.total
        sums.update(sketch.buckets)
    buckets = {index: min(MAX_NUMBER, count) for index, count in sums.items()}
    return Sketch(buckets, min(MAX_NUMBER, zeros), max(-MAX_TOTAL, min(MAX_TOTAL, total)))


class _Energies(msgspec.Struct):
    """Energies of one source and method: sums over `count` inferences; the uncertainty's is None if any is not known.

    Uncertainties are added, not averaged: one sensor, or one model of a board, is off in the same way each time.
    """

    energy_uj: float = 0.0
    count: int = 0
    uncertainty_uj: float | None = 0.0

    def add(self, stats: ModelStats, metered: int) -> None:
        energy = (stats.energy_uj or 0.0) * metered
        bound = stats.energy_relative_uncertainty
        self.energy_uj, self.count = self.energy_uj + energy, self.count + metered
        known = None if bound is None or self.uncertainty_uj is None else self.uncertainty_uj + energy * bound
        self.uncertainty_uj = known if metered else self.uncertainty_uj


def merged_energy(parts: Iterable[Metered]) -> tuple[float | None, MeasurementSource | None, str, int, float | None]:
    """Energy per inference with source, method and uncertainty: those of most inferences, where there are several."""
    sums: dict[tuple[MeasurementSource | None, str], _Energies] = {}
    for stats, metered in parts:
        if stats.energy_uj is not None:
            sums.setdefault((stats.energy_source, stats.energy_method), _Energies()).add(stats, metered)
    if not sums:
        return None, None, "", 0, None
    (source, method), total = max(sums.items(), key=lambda each: each[1].count)
    if not total.count or not total.energy_uj:
        return 0.0, source, method, _sum((total.count,)), None
    bound = None if total.uncertainty_uj is None else total.uncertainty_uj / total.energy_uj
    return total.energy_uj / total.count, source, method, _sum((total.count,)), bound


def _outputs(parts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    sums: Counter[str] = Counter()
    for outputs in parts:
        sums.update(outputs)
    return {label: _sum((count,)) for label, count in sums.most_common(MOST_NAMES)}


def _samples(samples: Iterable[tuple[SampleKey, Figures]]) -> dict[SampleKey, Figures]:
    sums: dict[SampleKey, Figures] = {}
    for key, (low, mean, high, seconds) in samples:
        known = sums.get(key, (low, mean, high, 0.0))
        weight = known[3] + seconds
        middle = known[1] + (mean - known[1]) * (seconds / weight)
        sums[key] = min(low, known[0]), middle, max(high, known[2]), weight
    longest = sorted(sums, key=lambda key: -sums[key][3])[:MOST_NAMES]
    return {key: sums[key] for key in longest}
