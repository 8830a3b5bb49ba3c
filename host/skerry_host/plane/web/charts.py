"""Charts as inline SVG: sparkline, line chart, bars. Pure: values in, markup out; the style sheet sets the colours."""

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Any

from markupsafe import Markup, escape

from skerry_host.plane.views import words
from skerry_host.plane.views.labels import label as label_of
from skerry_host.plane.views.views import Point, RolloutView
from skerry_host.text import clean

Field = str
Pairs = list[tuple[float, float]]

SPARK = (132.0, 34.0)
CHART = (460.0, 180.0)
LEFT, RIGHT, TOP, BOTTOM = 58.0, 8.0, 10.0, 24.0
DAY_S = 86_400
GAP, LEAST_GAP_S = 3.0, 1200.0
"""A step so many times as long as most is a gap, but none that quiet intervals make."""

OUTCOMES = ("succeeded", "rolled_back", "failed", "rejected", "timed_out", "cancelled")


def sparkline(points: Sequence[Point]) -> Markup:
    """Latency over the last intervals: a band from p50 to p99, a line at p95, a tick where the release changed."""
    known = [p for p in points if p.p50_us is not None]
    if len(known) < 2:
        return Markup('<span class="muted">–</span>')
    top = 1.05 * max(_values(known, "p99_us"), default=0.0) or 1.0
    place = _scale(known, top, (1.0, 2.0, SPARK[0] - 1, SPARK[1] - 2))
    body = [*_bands(known, place), *_lines(known, "p95_us", place, "p95"), *_ticks(known, place, SPARK[1])]
    newest = known[-1]
    label = f"p50 {words.micros(newest.p50_us)}, p95 {words.micros(newest.p95_us)}, p99 {words.micros(newest.p99_us)}"
    return _svg(SPARK, "spark", label, body)


def latency_chart(points: Sequence[Point]) -> Markup:
    """p50, p95 and p99 over the last intervals, with axes."""
    return _chart(points, ("p50_us", "p95_us", "p99_us"), words.micros, "Latency by interval")


def rate_chart(points: Sequence[Point]) -> Markup:
    """Inferences per second over the last intervals."""
    return _chart(points, ("inferences_per_s",), lambda v: f"{words.figure(v)}/s", "Inferences per second by interval")


def energy_chart(points: Sequence[Point]) -> Markup:
    """Energy per inference over the last intervals."""
    return _chart(points, ("energy_uj",), words.tick, "Energy per inference by interval")


def outcome_bar(rollout: RolloutView) -> Markup:
    """The deployments of a rollout as one bar: a segment for each outcome, those in progress last."""
    total, x = max(1, rollout.devices), 0.0
    parts: list[str] = []
    for outcome in (*OUTCOMES, None):
        width = 100.0 * rollout.count(outcome) / total
        if width:
            kind = words.tone(outcome) if outcome else "open"
            parts.append(f'<rect class="fill-{kind}" x="{x:.2f}" y="0" width="{width:.2f}" height="6"/>')
        x += width
    label = ", ".join(f"{rollout.count(o)} {label_of(o)}" for o in OUTCOMES if rollout.count(o)) or "all in progress"
    return _svg((100.0, 6.0), "bar", label, parts, stretch=True)


def share_bar(received: float, full: float) -> Markup:
    """How much of a full transfer was received."""
    width = min(100.0, 100.0 * received / full) if full else 0.0
    body = [
        '<rect class="fill-track" x="0" y="0" width="100" height="6"/>',
        f'<rect class="fill-accent" x="0" y="0" width="{max(width, 0.8):.2f}" height="6"/>',
    ]
    return _svg((100.0, 6.0), "bar", f"{width:.1f} % of a full transfer", body, stretch=True)


def _chart(points: Sequence[Point], fields: Sequence[Field], unit: Callable[[float], str], label: str) -> Markup:
    known = [p for p in points if getattr(p, fields[-1]) is not None]
    if len(known) < 2:
        return Markup('<p class="muted">Not enough measurements yet.</p>')
    top = _top(v for field in fields for v in _values(known, field))
    place = _scale(known, top, (LEFT, TOP, CHART[0] - RIGHT, CHART[1] - BOTTOM))
    body = [*_grid(top, unit, place), *_ticks(known, place, CHART[1] - BOTTOM)]
    body += _bands(known, place) if len(fields) == 3 else []
    body += [line for field in fields for line in _lines(known, field, place, field.split("_")[0])]
    body += _times(known, place)
    return _svg(CHART, "chart", label, body)


def _values(points: Iterable[Point], field: Field) -> list[float]:
    return [v for p in points if (v := getattr(p, field)) is not None]


def _top(values: Iterable[float]) -> float:
    """A round number above all values: 1, 2 or 5 times a power of ten."""
    highest = max(values, default=0.0)
    step = 1e-3
    while step * 10 < highest:
        step *= 10
    return next((step * m for m in (1, 2, 3, 5, 10) if step * m >= highest), highest) or 1.0


Place = Callable[[float, float], tuple[float, float]]
"""Where a value of a time is drawn."""


def _scale(points: Sequence[Point], top: float, box: tuple[float, float, float, float]) -> Place:
    x0, y0, x1, y1 = box
    first, length = points[0].at, (points[-1].at - points[0].at) or 1.0

    def place(at: float, value: float) -> tuple[float, float]:
        return x0 + (x1 - x0) * (at - first) / length, y1 - (y1 - y0) * min(value / top, 1.0)

    return place


def _pairs(points: Sequence[Point], field: Field, place: Place) -> Pairs:
    return [place(p.at, v) for p in points if (v := getattr(p, field)) is not None]


def _stretches(points: Sequence[Point]) -> list[list[Point]]:
    """The points between gaps: where nothing was measured for several times as long as usual, nothing is drawn."""
    steps = sorted(b.at - a.at for a, b in pairwise(points) if b.at > a.at)
    longest = max(LEAST_GAP_S, GAP * steps[len(steps) // 2] if steps else 0.0)
    made = [[points[0]]]
    for before, point in pairwise(points):
        if point.at - before.at > longest:
            made.append([])
        made[-1].append(point)
    return made


def _path(pairs: Pairs) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in pairs)


def _lines(points: Sequence[Point], field: Field, place: Place, kind: str) -> list[str]:
    return [
        f'<polyline class="line {kind}" points="{_path(_pairs(part, field, place))}"/>' for part in _stretches(points)
    ]


def _bands(points: Sequence[Point], place: Place) -> list[str]:
    outlines = [_pairs(p, "p50_us", place) + _pairs(p, "p99_us", place)[::-1] for p in _stretches(points)]
    return [f'<polygon class="band" points="{_path(outline)}"/>' for outline in outlines]


def _ticks(points: Sequence[Point], place: Place, height: float) -> list[str]:
    """A tick wherever the release is another than before."""
    changes = [(place(b.at, 0)[0], b.release) for a, b in pairwise(points) if a.release != b.release]
    return [
        f'<line class="change" x1="{x:.1f}" x2="{x:.1f}" y1="0" y2="{height:.0f}">'
        f"<title>{escape(clean(release))}</title></line>"
        for x, release in changes
    ]


def _grid(top: float, unit: Callable[[float], str], place: Place) -> list[str]:
    lines = []
    for part in (0.0, 0.25, 0.5, 0.75, 1.0):
        y = place(0.0, top * part)[1]
        lines.append(f'<line class="grid" x1="{LEFT}" x2="{CHART[0] - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        lines.append(f'<text class="axis end" x="{LEFT - 8}" y="{y + 4:.1f}">{escape(unit(top * part))}</text>')
    return lines


def _times(points: Sequence[Point], place: Place) -> list[str]:
    first, last = points[0].at, points[-1].at
    marks = [first, (first + last) / 2, last]
    anchors = ("start", "middle", "end")
    y = CHART[1] - 6
    word = words.day if last - first > DAY_S else words.clock
    return [
        f'<text class="axis {anchor}" x="{place(at, 0)[0]:.1f}" y="{y:.0f}">{word(at)}</text>'
        for at, anchor in zip(marks, anchors, strict=True)
    ]


def _svg(box: tuple[float, float], kind: str, label: str, body: Iterable[str], *, stretch: bool = False) -> Markup:
    aspect = ' preserveAspectRatio="none"' if stretch else ""
    head = (
        f'<svg class="{kind}" viewBox="0 0 {box[0]:.0f} {box[1]:.0f}"{aspect} role="img" aria-label="{escape(label)}">'
    )
    return Markup(f"{head}<title>{escape(label)}</title>{''.join(body)}</svg>")  # noqa: S704 - parts are escaped above


DRAWINGS: dict[str, Any] = {
    f.__name__: f for f in (sparkline, latency_chart, rate_chart, energy_chart, outcome_bar, share_bar)
}
