"""Fits a board's power coefficients to what a wattmeter showed at idle and under a known load. Pure.

    watts = idle_w + watts_per_core * busy cores

Two levels, two unknowns; the uncertainty is made of what the meter may be off by, its last digit, how its readings
spread, and an estimate of how far a model's load differs from the one that was measured. It is one figure for both
coefficients, the larger.
"""

from dataclasses import dataclass
from math import isfinite
from statistics import fmean, quantiles, stdev

from skerry_agent.wire.errors import SkerryError

WORKLOAD = 0.1
"""Relative: how far a core that runs a model may be from one that runs the calibration's load. An estimate."""

LEAST_STEPS = 3
"""Load and idle differ by so many steps of the meter at least, or it has not told them apart."""

HIGHEST_W = 10_000.0
LEAST_READINGS = 5
"""Of each level, in a log."""

LEAST_SHARE = 0.75
"""Of a log's readings that belong to one of its two levels."""


class CalibrationError(SkerryError):
    """Readings from which nothing can be fitted."""

    code = "calibration"
    exit_code = 2


@dataclass(frozen=True, slots=True)
class Wattmeter:
    """What the meter can do: the step of its last digit in watts, and its relative accuracy."""

    step_w: float = 0.1
    accuracy: float = 0.02


@dataclass(frozen=True, slots=True)
class Level:
    """Readings while the same load ran: mean, and how uncertain that is by their spread."""

    watts: float
    spread_w: float = 0.0


@dataclass(frozen=True, slots=True)
class Fit:
    """The coefficients, with one relative uncertainty for both."""

    idle_w: float
    watts_per_core: float
    uncertainty: float


def fit(idle: Level, load: Level, cores: float, meter: Wattmeter) -> Fit:
    """Coefficients from two levels. Raises `CalibrationError` that says what is wrong with them."""
    _check(idle, load, cores, meter)
    above_w = load.watts - idle.watts
    of_idle = (meter.step_w / 2 + idle.spread_w) / idle.watts
    of_core = (meter.step_w + idle.spread_w + load.spread_w) / above_w + WORKLOAD
    return Fit(idle.watts, above_w / cores, meter.accuracy + max(of_idle, of_core))


def level_of(readings: list[float]) -> Level:
    """Several readings of one level."""
    spread = stdev(readings) / len(readings) ** 0.5 if len(readings) > 1 else 0.0
    return Level(fmean(readings), spread)


def split(readings: list[float]) -> tuple[Level, Level]:
    """The idle and the load of a log that has both, one after the other. Raises `CalibrationError`.

    Each has to be a good part of the log; the few readings on the way from one to the other are left out.
    """
    if len(readings) < 2 * LEAST_READINGS:
        raise CalibrationError(f"{len(readings)} readings are too few", hint="log idle and load for a minute each")
    low, *_, high = quantiles(readings, n=10)
    band = (high - low) / 4
    idle = [each for each in readings if each <= low + band]
    load = [each for each in readings if each >= high - band]
    if min(len(idle), len(load)) < LEAST_READINGS or not _are_two_levels(idle, load, len(readings)):
        hint = "log the board at idle for a minute, then under `skerry-agent power load`, and nothing else"
        raise CalibrationError("the readings do not show two levels, idle and load", hint=hint)
    return level_of(idle), level_of(load)


def parse_log(text: str) -> list[float]:
    """The watts of a log: lines `time,watts`, a heading or none. Raises `CalibrationError` that names the line."""
    readings = []
    for number, line in enumerate(text.splitlines(), start=1):
        cells = [cell.strip() for cell in line.replace(";", ",").split(",")]
        if not any(cells) or (number == 1 and not _numbers(cells[-1:])):
            continue
        if len(cells) != 2 or not _numbers(cells[1:]):
            raise CalibrationError(f"line {number} is not `time,watts`: {line[:60]!r}")
        readings.append(float(cells[1]))
    return [_watts(each, "a reading") for each in readings]


def _check(idle: Level, load: Level, cores: float, meter: Wattmeter) -> None:
    if not (isfinite(cores) and cores > 0):
        raise CalibrationError(f"{cores:g} busy cores are none", hint="give --cores, how many were busy under load")
    if not (meter.step_w >= 0 and 0 <= meter.accuracy < 1):
        raise CalibrationError("a meter's step is in watts, and its accuracy a share, for instance 0.02")
    if _watts(idle.watts, "idle") >= _watts(load.watts, "load"):
        hint = "read the meter while nothing runs, then while the cores are busy"
        raise CalibrationError(f"idle {idle.watts:g} W is not less than load {load.watts:g} W", hint=hint)
    if load.watts - idle.watts < LEAST_STEPS * meter.step_w:
        hint = "keep more cores busy, or give --meter-step-w if the meter shows finer steps"
        text = f"load and idle differ by {load.watts - idle.watts:.3g} W, the meter counts in {meter.step_w:g} W"
        raise CalibrationError(text, hint=hint)


def _watts(value: float, what: str) -> float:
    if not (isfinite(value) and 0 < value <= HIGHEST_W):
        raise CalibrationError(f"{what} of {value:g} W is none that a board takes", hint="give watts, above 0")
    return value


def _are_two_levels(idle: list[float], load: list[float], of: int) -> bool:
    """Far apart, and with hardly anything between them."""
    apart = fmean(load) - fmean(idle) > 4 * max(stdev(idle), stdev(load))
    return apart and len(idle) + len(load) >= LEAST_SHARE * of


def _numbers(cells: list[str]) -> bool:
    try:
        return all(isfinite(float(cell)) for cell in cells)
    except ValueError:
        return False
