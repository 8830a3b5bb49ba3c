"""The building blocks of every figure: elements and scales. Colours are the style sheet's classes. Pure."""

import math
from collections.abc import Callable, Iterable, Sequence

from markupsafe import Markup, escape

Scale = Callable[[float], float]


def svg(width: float, height: float, label: str, body: Iterable[str], kind: str = "") -> Markup:
    """A drawing that scales to its place; `label` is read out to those who do not see it."""
    head = f'<svg class="{kind}" viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{escape(label)}">'
    return Markup(head + "".join(body) + "</svg>")  # noqa: S704  (every text in it went through `escape`)


def text(x: float, y: float, words: str, kind: str = "", anchor: str = "start") -> str:
    """Words at a place; `anchor` is start, middle or end."""
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'


def line(x1: float, y1: float, x2: float, y2: float, kind: str = "axis") -> str:
    """A straight line."""
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def rect(box: tuple[float, float, float, float], kind: str, title: str = "", extra: str = "") -> str:
    """A box (x, y, width, height) with a title that shows when pointed at."""
    x, y, width, height = box
    inner = f"<title>{escape(title)}</title>" if title else ""
    return (
        f'<rect class="{kind}" x="{x:.2f}" y="{y:.2f}" width="{max(0.0, width):.2f}" height="{max(0.0, height):.2f}"'
        f"{extra}>{inner}</rect>"
    )


def dot(x: float, y: float, radius: float, kind: str, title: str = "") -> str:
    """A disc with a title that shows when pointed at."""
    inner = f"<title>{escape(title)}</title>" if title else ""
    return f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}">{inner}</circle>'


def path(points: Sequence[tuple[float, float]], kind: str, *, closed: bool = False) -> str:
    """A line through points, or the area that it encloses."""
    steps = " L".join(f"{x:.1f} {y:.1f}" for x, y in points)
    return f'<path class="{kind}" d="M{steps}{" Z" if closed else ""}"/>'


def linear(low: float, high: float, start: float, end: float) -> Scale:
    """From values to places."""
    span = (high - low) or 1.0
    return lambda value: start + (value - low) / span * (end - start)


def logarithmic(low: float, high: float, start: float, end: float) -> Scale:
    """From positive values to places, equal factors equally far apart."""
    inner = linear(math.log10(low), math.log10(high), start, end)
    return lambda value: inner(math.log10(max(value, low / 10)))


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round values between two."""
    raw = (high - low) / max(1, about)
    if raw <= 0:
        return [low]
    size = 10 ** math.floor(math.log10(raw))
    step = next(size * m for m in (1, 2, 2.5, 5, 10) if size * m >= raw)
    first = math.ceil(low / step - 1e-9)
    return [round(n * step, 12) for n in range(first, math.floor(high / step + 1e-9) + 1)]


def decades(low: float, high: float) -> list[float]:
    """The powers of ten between two positive values."""
    return [10.0**n for n in range(math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9) + 1)]


def figure(value: float) -> str:
    """A number for an axis."""
    if value and (abs(value) < 0.01 or abs(value) >= 1e5):
        exponent = math.floor(math.log10(abs(value)))
        return f"{value / 10**exponent:g}e{exponent}"
    return f"{value:g}"
