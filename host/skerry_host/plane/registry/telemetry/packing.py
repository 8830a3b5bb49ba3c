"""The form of telemetry at rest: MessagePack arrays with names as numbers. Pure; golden files pin it.

A report is `[uptime_s, duration_s, outbox_dropped, models, samples, values]`; a roll-up is much the same, with its
place in front, and the roll-ups of a block are compressed together. Fields may be appended: a shorter row has their
defaults.
"""

import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from math import isfinite

import msgspec

from skerry_agent.wire.telemetry import ModelStats, Report, Sample
from skerry_host.plane.registry.telemetry import runs
from skerry_host.plane.registry.telemetry.runs import MOST

Key = tuple[str | None, ...]
"""What a name stands for: (model, release), (name, unit, source, method), (source, method) of energy, or (label,)."""

Name = int | str
"""The number of a key, or its text where there is none."""

FIGURES = 4
"""Numbers of a sample in a roll-up: lowest, mean and highest value, and for how many seconds it was measured."""

LARGEST = 3.4e38
"""Roll-ups hold samples as 32-bit floats."""


class PackedModel(msgspec.Struct, array_like=True):
    """One model in a report or roll-up. `energy` names source and method, `metered` counts the inferences it is of."""

    name: Name
    inferences: int
    errors: int
    invalid_outputs: int
    dropped: int
    latency: list[int]
    total_us: float
    load_us: float | None
    rss_bytes: int | None
    energy_uj: float | None
    energy: Name | None
    outputs: dict[Name, int]
    metered: int | None = None


class PackedReport(msgspec.Struct, array_like=True):
    """A report; `values` are 64-bit floats, one a sample."""

    uptime_s: float
    duration_s: float
    outbox_dropped: int
    models: list[PackedModel]
    samples: list[Name]
    values: bytes

    def sample_values(self) -> tuple[float, ...]:
        """One value a sample."""
        return struct.unpack(f"<{len(self.samples)}d", self.values)


class RollUp(msgspec.Struct, array_like=True):
    """Reports of one period merged; `place` is that of the period in its block, `reports` how many they were.

    `values` are 32-bit floats, `FIGURES` a sample.
    """

    place: int
    reports: int
    duration_s: float
    outbox_dropped: int
    models: list[PackedModel]
    samples: list[Name]
    values: bytes

    def figures(self) -> Iterator[tuple[float, ...]]:
        """`FIGURES` numbers a sample."""
        return struct.iter_unpack(f"<{FIGURES}f", self.values)


_ENCODE = msgspec.msgpack.Encoder().encode
_REPORT = msgspec.msgpack.Decoder(PackedReport).decode
_BLOCK = msgspec.msgpack.Decoder(list[RollUp]).decode


def keys(report: Report) -> Iterator[Key]:
    """What a report has names for."""
    for stats in report.models:
        yield stats.model, stats.release
        if stats.energy_uj is not None:
            yield stats.energy_source, stats.energy_method
        for label in stats.outputs:
            yield (label,)
    for sample in report.samples:
        yield _key(sample)


def pack(report: Report, names: Mapping[Key, Name]) -> bytes:
    """A report at rest. Raises `ValueError` or `OverflowError` when it holds a number that cannot be."""
    if not isfinite(report.started + report.uptime_s + report.duration_s):
        raise ValueError("the times of a report are out of range")
    models = {(stats.model, stats.release): stats for stats in report.models}
    samples = report.samples
    return _ENCODE(
        (
            report.uptime_s,
            report.duration_s,
            report.outbox_dropped,
            [_model(stats, names) for stats in models.values()],
            [names[_key(sample)] for sample in samples],
            struct.pack(f"<{len(samples)}d", *[sample.value for sample in samples]),
        )
    )


def unpack(raw: bytes) -> PackedReport:
    """A report at rest, read."""
    return _REPORT(raw)


def pack_block(rolled: Sequence[RollUp]) -> bytes:
    """A block at rest."""
    return zlib.compress(_ENCODE(rolled))


def unpack_block(raw: bytes) -> list[RollUp]:
    """A block at rest, read."""
    return _BLOCK(zlib.decompress(raw))


def pack_figures(figures: Sequence[Sequence[float]]) -> bytes:
    """The numbers of a roll-up's samples; what is too large for 32 bits is cut."""
    flat = [max(-LARGEST, min(LARGEST, each)) for numbers in figures for each in numbers]
    return struct.pack(f"<{len(flat)}f", *flat)


def _key(sample: Sample) -> Key:
    return sample.name, sample.unit, sample.source, sample.method


def _model(stats: ModelStats, names: Mapping[Key, Name]) -> tuple[object, ...]:
    latency = stats.latency
    if not all(-MOST <= count <= MOST for count in stats.outputs.values()):
        raise ValueError("a count of outputs is out of range")
    return (
        names[stats.model, stats.release],
        stats.inferences,
        stats.errors,
        stats.invalid_outputs,
        stats.dropped,
        runs.packed(latency),
        latency.total,
        stats.load_us,
        stats.rss_bytes,
        stats.energy_uj,
        names[stats.energy_source, stats.energy_method] if stats.energy_uj is not None else None,
        {names[label,]: count for label, count in stats.outputs.items()},
    )
