"""Writes a value with its uncertainty, with no more digits than it carries: `2.1 ± 0.8 mJ`. Pure.

The uncertainty has one significant digit, two where that is a 1, and the value ends where it does (JCGM 100, 7.2.6).
Where it is not known, a value has two digits, as nobody can vouch for a third.
"""

from math import floor, log10

ENERGY_UNITS = ((1.0, "µJ"), (1e3, "mJ"), (1e6, "J"))
WATT_UNITS = ((1.0, "W"),)
UNKNOWN_DIGITS = 2
LEAST_UNCERTAINTY = 1e-6
"""Relative: no meter of a board is better. A device that says less, or absurd figures, does not choose their length."""

MOST_FIGURE = 1e15
"""In the largest unit; what is beyond is written with an exponent."""

Units = tuple[tuple[float, str], ...]


def energy_text(micro_joules: float, relative_uncertainty: float | None) -> str:
    """An energy in the unit in which it is easy to read."""
    return with_uncertainty(micro_joules, relative_uncertainty, ENERGY_UNITS)


def with_uncertainty(value: float, relative_uncertainty: float | None, units: Units) -> str:
    """A value in the largest of some units, each a factor and a name, in which it is at least 1; else in the first."""
    factor, unit = next(((f, name) for f, name in reversed(units) if abs(value) >= f), units[0])
    scaled = value / factor
    if abs(scaled) < 1 / MOST_FIGURE or not abs(scaled) <= MOST_FIGURE:  # also NaN
        return f"{scaled:.1g} {unit}"
    if relative_uncertainty is None or not 0 < relative_uncertainty < MOST_FIGURE:
        return f"{_rounded(scaled, _place_of(scaled, UNKNOWN_DIGITS))} {unit}"
    bound = abs(scaled) * max(relative_uncertainty, LEAST_UNCERTAINTY)
    place = _place(bound)
    return f"{_rounded(scaled, place)} ± {_rounded(bound, place)} {unit}"


def _place(bound: float) -> int:
    """The decimal place at which an uncertainty ends: of 0.8 the first, of 0.14 the second, of 30 minus the first."""
    first = _place_of(bound, 1)
    leading = round(bound * 10.0**first)
    return first + 1 if leading == 1 else first - 1 if leading >= 10 else first


def _place_of(number: float, digits: int) -> int:
    """The decimal place of a number's last digit, if it has so many."""
    return 0 if number == 0 else digits - 1 - floor(log10(abs(number)))


def _rounded(number: float, place: int) -> str:
    return f"{round(number, place):.{max(place, 0)}f}"
