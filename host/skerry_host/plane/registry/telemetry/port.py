"""What a store of telemetry does, whatever it is made of, and the values that it gives. Holds no queries.

Times are seconds since 1970 of the device's clock, where it has one that can be right. Absent is None.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from skerry_agent.wire.telemetry import MeasurementSource, ModelStats, Report
from skerry_host.plane.errors import DurationError

MINUTE_S, HOUR_S, DAY_S = 60, 3600, 86_400
UNITS_S = {"s": 1, "m": MINUTE_S, "h": HOUR_S, "d": DAY_S}
MOST_DIGITS = 6


@dataclass(frozen=True, slots=True)
class Tier:
    """How long roll-ups are kept, and how much time one of them covers."""

    period_s: int
    keep_s: float


@dataclass(frozen=True, slots=True)
class Retention:
    """How long telemetry is kept: reports themselves, and the tiers of their roll-ups, finest first."""

    reports_s: float = DAY_S
    tiers: tuple[Tier, ...] = (Tier(10 * MINUTE_S, 14 * DAY_S), Tier(HOUR_S, 365 * DAY_S))

    def __post_init__(self) -> None:
        """Raises `DurationError` for tiers that cannot be made of each other."""
        periods = [tier.period_s for tier in self.tiers]
        whole = periods and min(periods) > 0 and not any(period % periods[0] for period in periods)
        if not whole or any(tier.keep_s < tier.period_s for tier in self.tiers):
            hint = "give at least one tier, the finest first; the other periods are multiples of its period"
            raise DurationError("these tiers of telemetry cannot be kept", hint=hint)

    @classmethod
    def parse(cls, text: str) -> "Retention":
        """A retention as a person writes it: `24h,10m=14d,1h=365d`, reports first. Raises `DurationError`."""
        reports, *tiers = text.split(",")
        return cls(seconds(reports), tuple(map(_tier, tiers)))


def _tier(text: str) -> Tier:
    period, _, keep = text.partition("=")
    return Tier(seconds(period), seconds(keep))


def seconds(text: str) -> int:
    """A length of time as a person writes it, like 90m or 14d. Raises `DurationError`."""
    number, unit = text.strip()[:-1], text.strip()[-1:]
    if not number.isdecimal() or unit not in UNITS_S or len(number) > MOST_DIGITS:
        hint = "write a number with s, m, h or d, for instance 90m or 14d"
        raise DurationError(f"{text!r} is no length of time", hint=hint)
    return int(number) * UNITS_S[unit]


@dataclass(frozen=True, slots=True)
class Arrival:
    """A report that has come, with the bytes that are kept of it: its packed form."""

    report: Report
    packed: bytes


@dataclass(frozen=True, slots=True)
class SampleFigures:
    """One kind of measurement over an interval: `value` is the mean, of a single report its only value.

    `relative_uncertainty` is that of a single report's value; roll-ups keep none.
    """

    name: str
    unit: str
    source: MeasurementSource
    method: str
    value: float
    low: float
    high: float
    relative_uncertainty: float | None = None


@dataclass(frozen=True, slots=True)
class Interval:
    """What a device measured over some time: one report, or several rolled up; then `duration_s` is their sum."""

    started: float
    duration_s: float
    models: tuple[ModelStats, ...] = ()
    samples: tuple[SampleFigures, ...] = ()
    outbox_dropped: int = 0
    reports: int = 1

    @property
    def ended(self) -> float:
        """When it ended."""
        return self.started + self.duration_s


@dataclass(frozen=True, slots=True)
class StoredReport:
    """A report that is kept. `clock` says whose `started` is: the device's, or the host's estimate."""

    device: str
    boot: str
    sequence: int
    clock: str
    received: float
    interval: Interval

    @property
    def started(self) -> float:
        """When its interval began."""
        return self.interval.started


class TelemetryStore(Protocol):
    """Keeps reports and their roll-ups."""

    def add(self, arrivals: Sequence[Arrival], now: float) -> list[Arrival]:
        """Keep reports of enrolled devices; returns those that were new by (device, boot, sequence)."""

    def newest(self, devices: Iterable[str] | None = None) -> dict[str, StoredReport]:
        """The newest report of each device (of some, or of all) that has any."""

    def heads(self) -> dict[str, tuple[int, int]]:
        """What tells the newest report of each device from others: its boot's id and its sequence."""

    def recent(self, devices: Iterable[str], most: int) -> dict[str, list[StoredReport]]:
        """The newest reports of some devices, oldest first."""

    def reports(self, device: str, since: float, until: float) -> list[StoredReport]:
        """The reports of a device that are kept and began in some time, oldest first."""

    def series(self, device: str, since: float, until: float, period_s: int) -> list[Interval]:
        """A device's intervals that began in some time, oldest first: of each period, or each report (0).

        The period is a multiple of that of a tier.
        """

    def maintain(self, now: float, most: int) -> int:
        """Roll up and delete what is due, of at most so many boots; returns how much there was to do."""
