"""Draws a prediction as an SVG picture: the graph, coloured by where each operator will run. Self-contained; no script.

Marks what to change: an operator that keeps others off the Edge TPU has a heavy border and says why at its side.
"""

from collections.abc import Iterator, Sequence
from html import escape
from itertools import pairwise

from skerry_host.builder.edgetpu.layout import BOX, Layout, layout
from skerry_host.builder.edgetpu.preflight import Outcome, Predicted, Preflight

MARGIN = 32.0
HEADER = 104.0
ASIDE = 470.0
"""Room at the right for what the marked operators say."""
MIN_WIDTH = 620.0
LINE = 15.0
WORDS = 68
"""Characters of one line at the side."""

COLOURS: dict[Outcome, tuple[str, str, str]] = {
    "maps": ("#d8f0ea", "#0f8a72", "#0b4a3e"),
    "cpu": ("#ffe6d3", "#d9691e", "#6b2f07"),
    "unknown": ("#ececf1", "#83839a", "#3c3c4a"),
}
"""Fill, border and text of each verdict."""
NAMES: dict[Outcome, str] = {"maps": "maps to the Edge TPU", "cpu": "stays on the CPU", "unknown": "unknown"}

_STYLE = """
text { font-family: Inter, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; fill: #23232e; }
.title { font-size: 19px; font-weight: 600; } .sub { font-size: 13px; fill: #5b5b6b; }
.op { font-size: 12.5px; font-weight: 600; } .shape { font-size: 10.5px; } .why { font-size: 12px; }
.edge { fill: none; stroke: #b4b6c4; stroke-width: 1.4; }
"""


def picture(found: Preflight, title: str) -> str:
    """The picture of a prediction as the text of an SVG file."""
    placed = layout([item.sources for item in found.all])
    width = max(placed.width + 2 * MARGIN + (ASIDE if found.causes else 0.0), MIN_WIDTH)
    height = placed.height + HEADER + MARGIN
    body = [*_header(found, title), f'<g transform="translate({MARGIN:.0f} {HEADER:.0f})">']
    body += [f'<path class="edge" d="{_curve(points)}"/>' for points in placed.edges]
    body += _asides(found.causes, placed)
    causes = {item.index for item in found.causes}
    for item, (x, y) in zip(found.all, placed.centres, strict=True):
        body.append(_box(item, x, y, marked=item.index in causes))
    body.append("</g>")
    size = f'width="{width:.0f}" height="{height:.0f}" viewBox="0 0 {width:.0f} {height:.0f}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-label="{_clean(title)}">'
    return "\n".join(
        [head, f"<style>{_STYLE}</style>", '<rect width="100%" height="100%" fill="#fff"/>', *body, "</svg>\n"]
    )


def _header(found: Preflight, title: str) -> Iterator[str]:
    """Title, the count, and the legend."""
    line = f"predicted, not compiled: {found.mapped} of {len(found.all)} operators map"
    yield f'<text class="title" x="{MARGIN:.0f}" y="34">{_clean(title)}</text>'
    yield f'<text class="sub" x="{MARGIN:.0f}" y="55">{_clean(line)}</text>'
    x = MARGIN
    for verdict, (fill, border, _) in COLOURS.items():
        count = sum(item.verdict == verdict for item in found.all)
        yield f'<rect x="{x:.0f}" y="69" width="14" height="14" rx="4" fill="{fill}" stroke="{border}"/>'
        yield f'<text class="sub" x="{x + 21:.0f}" y="80.5">{NAMES[verdict]} ({count})</text>'
        x += 46 + 7.4 * len(f"{NAMES[verdict]} ({count})")


def _box(item: Predicted, x: float, y: float, *, marked: bool) -> str:
    fill, border, text = COLOURS[item.verdict]
    width, height = BOX
    place = f'x="{x - width / 2:.1f}" y="{y - height / 2:.1f}" width="{width:.0f}" height="{height:.0f}" rx="9"'
    stroke = f'stroke="{border}" stroke-width="{2.6 if marked else 1.1}"'
    dashes = ' stroke-dasharray="5 3"' if item.verdict == "unknown" else ""
    name = _clean(_short(item.op, 24))
    hover = _clean(": ".join(part for part in (f"{item.index} {item.op}", item.status, item.reason) if part))
    left = x - width / 2 + 13
    return (
        f'<g><title>{hover}</title><rect {place} fill="{fill}" {stroke}{dashes}/>'
        f'<text class="op" x="{left:.1f}" y="{y - 3:.1f}" style="fill:{text}">{name}</text>'
        f'<text class="shape" x="{left:.1f}" y="{y + 13:.1f}" style="fill:{text}">'
        f"{item.index} · {_clean(_short(item.shape, 28))}</text></g>"
    )


def _asides(causes: Sequence[Predicted], placed: Layout) -> Iterator[str]:
    """What each marked operator says, at the height of its box or below the one before, with a line to it."""
    x, free = placed.width + 34, 0.0
    for item in causes:
        centre_x, centre_y = placed.centres[item.index]
        said = (item.status or "unknown", item.reason)
        lines = [f"{item.index} {item.op}", *(line for text in said for line in _wrap(text))]
        top = max(free, centre_y - LINE * len(lines) / 2 + LINE / 2)
        border = COLOURS[item.verdict][1]
        path = f"M{centre_x + BOX[0] / 2:.1f} {centre_y:.1f} L{x - 16:.1f} {centre_y:.1f} L{x - 6:.1f} {top - 4:.1f}"
        yield f'<path d="{path}" fill="none" stroke="{border}" stroke-dasharray="2 3"/>'
        for i, line in enumerate(lines):
            kind = "op" if i == 0 else "why"
            yield f'<text class="{kind}" x="{x:.1f}" y="{top + LINE * i:.1f}">{_clean(line)}</text>'
        free = top + LINE * (len(lines) + 1)


def _curve(points: Sequence[tuple[float, float]]) -> str:
    """A smooth path from the foot of one box to the head of another; it bends between the rows only, behind no box."""
    half = BOX[1] / 2
    path = [(x, y + side) for x, y in points for side in (-half, half)][1:-1]
    parts = [f"M{path[0][0]:.1f} {path[0][1]:.1f}"]
    for (x0, y0), (x1, y1) in pairwise(path):
        middle = (y0 + y1) / 2
        parts.append(
            f"L{x1:.1f} {y1:.1f}" if x0 == x1 else f"C{x0:.1f} {middle:.1f} {x1:.1f} {middle:.1f} {x1:.1f} {y1:.1f}"
        )
    return " ".join(parts)


def _wrap(text: str) -> list[str]:
    lines: list[str] = []
    for word in text.split():
        if lines and len(lines[-1]) + len(word) < WORDS:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


def _short(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def _clean(text: str) -> str:
    """Fit for XML, which knows no control characters; names come from the file."""
    return escape("".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text))
