"""Roll-ups: the reports of one period merged. Counts add, sketches merge, samples keep lowest, mean and highest. Pure.

Nothing is averaged that cannot be: a quantile of a roll-up is that of all its values. In whatever order reports are
merged, the roll-up is the same but for the last digits of its means.

At rest a block of roll-ups is MessagePack arrays, compressed together; golden files pin it. Fields may be appended: a
shorter array has their defaults.
"""

import struct
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from skerry_agent.wire.sketch import MAX_TOTAL, Sketch, pack_sketch, unpack_sketch
from skerry_agent.wire.tallies import MAX_NUMBER
from skerry_agent.wire.telemetry import MeasurementSource, ModelStats
from skerry_host.plane.registry.telemetry.port import Interval, SampleFigures

MOST_NAMES = 256
"""A roll-up has at most so many labels of a model, and so many samples; those seen least are left out."""

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
        )


class RollUp(msgspec.Struct, array_like=True):
    """Reports of one period merged; `place` is that of the period in its block, `values` are its samples' figures."""

    place: int
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
    """A block at rest, read."""
    return _DECODE(zlib.decompress(raw))


def of_interval(place: int, one: Interval) -> RollUp:
    """The roll-up of one report's interval."""
    seconds = max(one.duration_s, SHORTEST_S)
    samples = {_key(sample): (sample.low, sample.value, sample.high, seconds) for sample in one.samples}
    models = list(_models(map(_rolled, one.models)))
    return RollUp(place, 1, one.duration_s, one.outbox_dropped, models, list(samples), _packed(samples.values()))


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
        _packed(samples.values()),
    )


def _key(sample: SampleFigures) -> SampleKey:
    return sample.name, sample.unit, sample.source, sample.method


def _packed(figures: Iterable[Figures]) -> bytes:
    """As floats of 32 bits, the last 8 of them 0: a ten-thousandth of a percent is more than any sensor tells."""
    raw = b"".join(FIGURES.pack(*(max(-LARGEST, min(LARGEST, each)) for each in numbers)) for numbers in figures)
    words = [(word + 0x80) & 0xFFFFFF00 for (word,) in struct.iter_unpack("<I", raw)]
    rounded = struct.pack(f"<{len(words)}I", *words)
    return b"".join(rounded[plane::PLANES] for plane in range(PLANES))


def _unpacked(planes: bytes) -> Iterator[Figures]:
    raw, size = bytearray(len(planes)), len(planes) // PLANES
    for plane in range(PLANES):
        raw[plane::PLANES] = planes[plane * size : (plane + 1) * size]
    return FIGURES.iter_unpack(raw)


def _rolled(stats: ModelStats) -> RolledModel:
    return RolledModel(
        stats.model,
        stats.release,
        stats.inferences,
        stats.errors,
        stats.invalid_outputs,
        stats.dropped,
        pack_sketch(stats.latency),
        stats.load_us,
        stats.rss_bytes,
        stats.energy_uj,
        stats.energy_source,
        stats.energy_method,
        stats.inferences if stats.energy_uj is not None else 0,
        stats.outputs,
    )


def _models(models: Iterable[RolledModel]) -> Iterator[RolledModel]:
    by_name: dict[tuple[str, str], list[RolledModel]] = {}
    for model in models:
        by_name.setdefault((model.model, model.release), []).append(model)
    return (_model(parts) if len(parts) > 1 else parts[0] for parts in by_name.values())


def _model(parts: Sequence[RolledModel]) -> RolledModel:
    """One model of several roll-ups: of the load time and the memory, the largest."""
    return RolledModel(
        parts[0].model,
        parts[0].release,
        _sum(part.inferences for part in parts),
        _sum(part.errors for part in parts),
        _sum(part.invalid_outputs for part in parts),
        _sum(part.dropped for part in parts),
        pack_sketch(_sketch(unpack_sketch(part.latency) for part in parts)),
        max((part.load_us for part in parts if part.load_us is not None), default=None),
        max((part.rss_bytes for part in parts if part.rss_bytes is not None), default=None),
        *_energy(parts),
        _outputs(parts),
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


def _energy(parts: Sequence[RolledModel]) -> tuple[float | None, MeasurementSource | None, str, int]:
    """Energy per inference with its source and method: those of most inferences, where there are several."""
    sums: dict[tuple[MeasurementSource | None, str], tuple[float, int]] = {}
    for part in parts:
        if part.energy_uj is not None:
            energy, count = sums.get((part.energy_source, part.energy_method), (0.0, 0))
            added = energy + part.energy_uj * part.metered, count + part.metered
            sums[part.energy_source, part.energy_method] = added
    if not sums:
        return None, None, "", 0
    (source, method), (energy, count) = max(sums.items(), key=lambda each: each[1][1])
    return (energy / count if count else 0.0), source, method, _sum((count,))


def _outputs(parts: Sequence[RolledModel]) -> dict[str, int]:
    sums: Counter[str] = Counter()
    for part in parts:
        sums.update(part.outputs)
    return {label: _sum((count,)) for label, count in sums.most_common(MOST_NAMES)}


def _samples(parts: Sequence[RollUp]) -> dict[SampleKey, Figures]:
    sums: dict[SampleKey, Figures] = {}
    for part in parts:
        for key, (low, mean, high, seconds) in part.figures():
            known = sums.get(key, (low, mean, high, 0.0))
            weight = known[3] + seconds
            middle = known[1] + (mean - known[1]) * (seconds / weight)
            sums[key] = min(low, known[0]), middle, max(high, known[2]), weight
    longest = sorted(sums, key=lambda key: -sums[key][3])[:MOST_NAMES]
    return {key: sums[key] for key in longest}
