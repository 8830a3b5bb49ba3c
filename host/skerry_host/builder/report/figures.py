"""The report's figures as inline SVG: accuracy, confusion matrix, errors, SQNR by layer, roofline, sizes. Pure."""

from collections.abc import Sequence
from math import inf

import numpy as np
from markupsafe import Markup

from skerry_agent.processing import Array
from skerry_agent.wire.manifest import Quality
from skerry_host.builder.diagnose.layer_stats import LayerStats
from skerry_host.builder.judge.gates import shown
from skerry_host.builder.modelfile.cost import Cost
from skerry_host.builder.report.roofline import Roof
from skerry_host.builder.report.svg import (
    Scale,
    decades,
    dot,
    figure,
    line,
    linear,
    logarithmic,
    path,
    rect,
    svg,
    text,
    ticks,
)

SHOWN_DB = 60.0
"""The chart is cut off above this SQNR."""
POINTS, BINS = 1500, 51
"""Of a cloud of values: how many are drawn, and edges of the bins that they are taken from."""


def accuracy(quality: Quality, least: float, name: str) -> Markup:
    """Float, if there is one, and quantized metric with their 95 % intervals, and the budget's least."""
    rows = [(name, quality.int8_value, quality.int8_interval, "two")]
    if quality.float_value is not None and quality.float_interval is not None:
        rows.insert(0, ("float", quality.float_value, quality.float_interval, "one"))
    low = min(interval[0] for _n, _v, interval, _k in rows)
    high = max(interval[1] for _n, _v, interval, _k in rows)
    shares = not quality.unit
    least = least if shares and quality.better == "higher" else -inf
    low = min(low, least) if least > low - 0.1 else low
    margin = max(0.005 if shares else 1e-9, (high - low) * 0.12)
    low, high = max(0.0, low - margin), min(1.0 if shares else inf, high + margin)
    at = linear(low, high, 76, 500)
    marks = [(tick, f"{tick:.1%}" if shares else f"{tick:.4g}") for tick in ticks(low, high)]
    body = [part for tick, words in marks for part in _down(at(tick), 14, 104, words)]
    for row, (label, value, (start, end), kind) in enumerate(rows):
        y = 38 + row * 40
        of = f"{shown(quality, start)} to {shown(quality, end)}"
        says = f"{label}: {shown(quality, value)}, 95 % interval {of}"
        body += [
            text(66, y + 4, label, "label", "end"),
            rect((at(start), y - 7, at(end) - at(start), 14), f"band {kind}", says),
            dot(at(value), y, 6, f"mark {kind}", says),
            text(at(value), y - 12, shown(quality, value), "value", "middle"),
        ]
    if low < least:
        body += [line(at(least), 10, at(least), 104, "limit"), text(at(least) + 4, 16, "least", "limit-text")]
    models = f"the float and the {name} model" if len(rows) > 1 else f"the {name} model"
    return svg(520, 126, f"{quality.metric} of {models}", body)


def confusion(counts: Array, names: Sequence[str]) -> Markup:
    """How often each class (rows) was answered with each class (columns): (classes, classes) counts."""
    size = len(counts)
    cell = min(44.0, 440.0 / size)
    left, top = 104.0, 78.0
    share = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    body = []
    for row in range(size):
        y = top + row * cell
        body.append(text(left - 8, y + cell / 2 + 4, _cut(names[row], 15), "label", "end"))
        x = left + row * cell + cell / 2
        turned = f' transform="rotate(-40 {x:.1f} {top - 8:.1f})"'
        body.append(text(x, top - 8, _cut(names[row], 12), "label").replace("<text", f"<text{turned}", 1))
        for column in range(size):
            says = f"{names[row]} classified as {names[column]}: {counts[row, column]} ({share[row, column]:.1%})"
            kind = "hit" if row == column else "miss"
            strength = share[row, column] if row == column else min(1.0, 3 * share[row, column])
            box = (left + column * cell + 1, y + 1, cell - 2, cell - 2)
            body.append(rect(box, "cell", says))
            if counts[row, column]:
                body.append(rect(box, kind, says, f' fill-opacity="{0.12 + 0.88 * strength:.2f}"'))
                strong = "on" if strength > 0.5 else ""
                spot = (left + column * cell + cell / 2, y + cell / 2 + 4)
                body += [text(*spot, str(counts[row, column]), f"count {strong}", "middle")] if cell > 22 else []
    width, height = left + size * cell + 40, top + size * cell + 8
    return svg(width, height, "Confusion matrix: true class by row, predicted class by column", body)


def errors(reference: Array, got: Array, unit: str) -> Markup:
    """Values of the quantized model over those of the float one (any shape): on the diagonal where nothing is lost."""
    one, two = spread(reference.ravel().astype(np.float64), got.ravel().astype(np.float64))
    low, high = float(min(one.min(), two.min())), float(max(one.max(), two.max()))
    if high <= low:
        high = low + 1.0
    x, y = linear(low, high, 64, 420), linear(low, high, 320, 16)
    body = [*_axes(x, y, ticks(low, high), ticks(low, high), (64, 420, 16, 320))]
    body.append(line(x(low), y(low), x(high), y(high), "ideal"))
    body += [dot(x(a), y(b), 2.0, "sample") for a, b in zip(one, two, strict=True)]
    body += [text(242, 354, f"{unit} of the float model", "label", "middle")]
    turned = ' transform="rotate(-90 14 168)"'
    body.append(text(14, 168, "of the quantized one", "label", "middle").replace("<text", f"<text{turned}", 1))
    return svg(440, 362, "Quantized over float values", body)


def spread(one: Array, two: Array) -> tuple[Array, Array]:
    """Some pairs (n,) that cover the range of the first evenly: most values of a detector are near zero."""
    bins = np.digitize(one, np.linspace(one.min(), one.max(), BINS)[1:-1])
    chosen = [at[:: -(-len(at) // (POINTS // BINS))] for b in range(BINS - 1) if len(at := np.flatnonzero(bins == b))]
    picked = np.concatenate(chosen)
    return one[picked], two[picked]


def signal(layers: Sequence[LayerStats], limit_db: float) -> Markup:
    """SQNR of each layer in the order of execution; under the limit, the signal is lost."""
    top = max(10.0, min(SHOWN_DB, max(layer.sqnr_db for layer in layers)) * 1.08)
    low = min(0.0, max(-10.0, min(layer.sqnr_db for layer in layers)))
    x = linear(-0.6, len(layers) - 0.4, 46, 1060)
    y = linear(low, top, 226, 14)
    body = [part for tick in ticks(low, top) for part in _across(y(tick), 46, 1060, figure(tick))]
    step = x(1) - x(0)
    points = [(x(at), y(max(low, min(top, layer.sqnr_db)))) for at, layer in enumerate(layers)]
    body.append(path([(points[0][0], y(low)), *points, (points[-1][0], y(low))], "area", closed=True))
    body.append(path(points, "trace"))
    for at, layer in enumerate(layers):
        px, py = points[at]
        kind = "bad" if layer.sqnr_db < limit_db else "good"
        says = f"{layer.index}: {layer.op} {layer.name}: {layer.sqnr_db:.1f} dB, cosine {layer.cosine:.4f}"
        body.append(dot(px, py, max(2.0, min(5.0, step / 3)), kind, says))
        if len(layers) <= 40 or at % (len(layers) // 20) == 0:
            body.append(text(px, 242, str(layer.index), "tick", "middle"))
    if low <= limit_db <= top:
        body += [line(46, y(limit_db), 1060, y(limit_db), "limit")]
        body += [text(1056, y(limit_db) - 5, f"{limit_db:g} dB", "limit-text", "end")]
    body.append(text(553, 260, "operator", "label", "middle"))
    return svg(1070, 266, "Signal to quantization noise by layer", body)


def roofline(roof: Roof, costs: Sequence[Cost]) -> Markup:
    """Operators under the roof that memory (slope) and arithmetic (flat) make; larger where more of the time goes."""
    drawn = [cost for cost in costs if cost.macs and cost.bytes]
    intensities = [cost.intensity for cost in drawn] or [1.0]
    low, high = min(roof.ridge / 4, *intensities) / 2, max(roof.ridge * 4, *intensities) * 2
    bottom, top = roof.reach(low) / 2, roof.gops * 2
    x, y = logarithmic(low, high, 64, 500), logarithmic(bottom, top, 280, 16)
    body = [*_axes(x, y, decades(low, high), decades(bottom, top), (64, 500, 16, 280))]
    ridge = (x(roof.ridge), y(roof.gops))
    body.append(path([(x(low), 280), (x(low), y(roof.reach(low))), ridge, (x(roof.ridge), 280)], "memory", closed=True))
    body.append(path([(x(roof.ridge), 280), ridge, (500, y(roof.gops)), (500, 280)], "compute", closed=True))
    body.append(path([(x(low), y(roof.reach(low))), ridge, (500, y(roof.gops))], "roof"))
    total = sum(roof.least_us(cost) for cost in costs) or 1.0
    for cost in drawn:
        share = roof.least_us(cost) / total
        says = f"{cost.index}: {cost.op}, {cost.intensity:.1f} operations a byte, {share:.0%} of the least time"
        spot = (x(cost.intensity), y(roof.reach(cost.intensity)))
        body.append(dot(*spot, 3.5 + 14 * share**0.5, f"op {roof.bound(cost)}-op", says))
    body += [text(282, 316, "operations for each byte", "label", "middle")]
    turned = ' transform="rotate(-90 14 148)"'
    words = text(14, 148, "10^9 operations a second", "label", "middle")
    body.append(words.replace("<text", f"<text{turned}", 1))
    return svg(512, 322, "Roofline of the board with the model's operators", body)


def sizes(parts: Sequence[tuple[str, Sequence[tuple[str, int]]]]) -> Markup:
    """Files as bars of the same scale, each of its parts (name, bytes)."""
    largest = max(sum(size for _name, size in content) for _file, content in parts) or 1
    at = linear(0, largest, 0, 380)
    body = []
    for row, (label, content) in enumerate(parts):
        y, x = 10 + row * 40, 76.0
        body.append(text(66, y + 16, label, "label", "end"))
        for number, (name, size) in enumerate(content):
            body.append(rect((x, y, at(size), 24), f"part{number % 4}", f"{name}: {size:,} bytes"))
            x += at(size)
        total = sum(size for _name, size in content)
        body.append(text(x + 8, y + 16, f"{total / 1000:,.0f} kB", "value"))
    return svg(540, 10 + 40 * len(parts), "Sizes of the files", body)


def _axes(
    x: Scale, y: Scale, columns: Sequence[float], rows: Sequence[float], box: tuple[float, float, float, float]
) -> list[str]:
    left, right, top, bottom = box
    body = [part for value in columns for part in _down(x(value), top, bottom, figure(value))]
    return body + [part for value in rows for part in _across(y(value), left, right, figure(value))]


def _down(x: float, top: float, bottom: float, words: str) -> tuple[str, str]:
    return line(x, top, x, bottom, "grid"), text(x, bottom + 16, words, "tick", "middle")


def _across(y: float, left: float, right: float, words: str) -> tuple[str, str]:
    return line(left, y, right, y, "grid"), text(left - 6, y + 4, words, "tick", "end")


def _cut(words: str, most: int) -> str:
    return words if len(words) <= most else words[: most - 1] + "…"
