"""Formats values for the page and the terminal: units, ages, missing values. Knows no markup.

The words for codes such as outcomes and reasons are in `labels`.
"""

import time
from collections.abc import Callable
from typing import Any

from skerry_agent.wire.figures import ENERGY_UNITS, energy_text, with_uncertainty
from skerry_host import dates
from skerry_host.plane.views import labels
from skerry_host.plane.views.known import known_by

DASH = "–"
UNITS = {"degC": "°C"}


def micros(value: float | None) -> str:
    """Microseconds in a readable unit."""
    if value is None:
        return DASH
    if value < 1000:
        return f"{value:.0f} µs"
    return f"{value / 1000:.2f} ms" if value < 10_000 else f"{value / 1000:.0f} ms"


def energy(value: float | None, relative_uncertainty: float | None = None) -> str:
    """Microjoules in a readable unit, with their uncertainty and no more digits than they carry."""
    return DASH if value is None else energy_text(value, relative_uncertainty)


def tick(value: float) -> str:
    """A round number of microjoules at the axis of a chart."""
    factor, unit = next(((f, unit) for f, unit in reversed(ENERGY_UNITS) if value >= f), ENERGY_UNITS[0])
    return f"{value / factor:g} {unit}"


def size(count: float) -> str:
    """Bytes in powers of 1000."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" or count >= 100 else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


def figure(value: float | None) -> str:
    """A number with as many digits as are significant."""
    if value is None:
        return DASH
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 1 else f"{value:.2g}"


def reading(value: float, unit: str, relative_uncertainty: float | None = None) -> str:
    """A measurement with its unit; unit 1 is a ratio. With its uncertainty, where that is known."""
    if unit in {"B", "bytes"}:
        return size(value)
    if relative_uncertainty and value and unit != "1":
        return with_uncertainty(value, relative_uncertainty, ((1.0, UNITS.get(unit, unit)),))
    return percent(value) if unit == "1" else f"{figure(value)} {UNITS.get(unit, unit)}"


def percent(share: float) -> str:
    """A ratio in percent, with a decimal where it is small."""
    return f"{share:.0%}" if share >= 0.1 or share == 0 else f"{share:.1%}"


def ago(then: float | None, now: float | None = None) -> str:
    """How long ago, in one unit; "now" below three seconds."""
    if then is None:
        return "never"
    passed = max(0.0, (time.time() if now is None else now) - then)
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if passed >= length:
            return f"{passed / length:.0f} {unit} ago"
    return f"{passed:.0f} s ago" if passed >= 3 else "now"


def span(seconds: float) -> str:
    """A duration."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def clock(then: float | None) -> str:
    """The time of day, UTC."""
    return DASH if then is None else dates.utc(then, "%H:%M:%S")


def stamp(then: float | None) -> str:
    """Date and time of day, UTC: of what happened at any time, such as an event."""
    return DASH if then is None else dates.utc(then, "%Y-%m-%d %H:%M:%S")


def day(then: float | None) -> str:
    """The date, UTC."""
    return DASH if then is None else dates.utc(then, "%d %b %Y")


def instant(then: float | None) -> str:
    """Machine readable, for <time>."""
    return "" if then is None else dates.utc(then, "%Y-%m-%dT%H:%M:%S+00:00")


def plain(text: str) -> str:
    """A measurement's name for people: soc_temperature is soc temperature."""
    return text.replace("_", " ")


TONES = {
    "good": {"succeeded", "online", "serving", "committed", "enrolled", "done", "answered", "kept", "settings_kept"},
    "bad": {
        "failed", "not_serving", "rejected", "rolled_back", "timed_out", "error", "refused", "order_refused",
        "settings_rolled_back", "settings_refused",
    },
    "busy": {
        "running", "pending", "aborting", "fetching", "verifying", "staged", "probation",
        "rolling_back", "deploying", "ordered", "waiting", "sent", "trial",
    },
}  # fmt: skip


def tone(word: str | None) -> str:
    """good, bad, busy or quiet: the colour family of an outcome, a state or an event."""
    return next((name for name, words in TONES.items() if word in words), "quiet")


_FORMATS: tuple[Callable[..., str], ...] = (
    micros, energy, size, figure, reading, percent, ago, span, clock, stamp, instant, plain, tone,
    labels.label, labels.event_label, labels.transports, known_by,
)  # fmt: skip
FILTERS: dict[str, Callable[..., Any]] = {f.__name__: f for f in _FORMATS}
"""What templates may call, by name."""
