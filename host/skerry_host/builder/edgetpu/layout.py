"""Places the operators of a graph in layers, from the inputs down. Pure geometry; draws nothing, knows no operator.

Method: Sugiyama, Tagawa, Toda 1981 in its simplest form. Layer = longest path from an input; an edge over several
layers gets a narrow lane in each; order within a layer by the mean place of neighbours; then places drawn to them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

BOX = (224.0, 44.0)
"""Width and height of an operator."""
GAP = (26.0, 30.0)
LANE = 14.0
MAX_LANES = 20_000
"""Further edges run straight: lanes for a hostile graph would take quadratic memory."""
SWEEPS = 6


@dataclass(frozen=True, slots=True)
class Layout:
    """Centres of the operators and the points of each edge from its source down, in pixels from the top left."""

    centres: tuple[tuple[float, float], ...]
    edges: tuple[tuple[tuple[float, float], ...], ...]
    width: float
    height: float


def layout(sources: Sequence[Sequence[int]]) -> Layout:
    """Lay out a graph: for each node the nodes that feed it."""
    layers = _layers(sources)
    paths = _paths(sources, layers)
    rows = _rows(layers, paths)
    neighbours = _neighbours(len(rows.of), paths)
    _order(rows, neighbours)
    places = _places(rows, neighbours, len(sources))
    left = min((place - _width(i, len(sources)) / 2 for i, place in enumerate(places)), default=0.0)
    points = [(place - left, _depth(rows.of[i])) for i, place in enumerate(places)]
    return Layout(
        centres=tuple(points[: len(sources)]),
        edges=tuple(tuple(points[i] for i in path) for path in paths),
        width=max((x + _width(i, len(sources)) / 2 for i, (x, _) in enumerate(points)), default=0.0),
        height=max((y for _, y in points), default=0.0) + BOX[1] / 2,
    )


@dataclass(slots=True)
class _Rows:
    """The nodes of each layer in order from the left, and the layer of each node; lanes are nodes too."""

    rows: list[list[int]]
    of: list[int]


def _layers(sources: Sequence[Sequence[int]]) -> list[int]:
    """The longest path to each node; what comes later in the file does not count as feeding (there are no cycles)."""
    layers: list[int] = []
    for node, feeding in enumerate(sources):
        layers.append(1 + max((layers[source] for source in feeding if source < node), default=-1))
    return layers


def _paths(sources: Sequence[Sequence[int]], layers: Sequence[int]) -> list[list[int]]:
    """Each edge as its nodes: source, lanes, target. Lanes are numbered on from the nodes."""
    paths, count, most = [], len(sources), len(sources) + MAX_LANES
    for node, feeding in enumerate(sources):
        for source in feeding:
            span = layers[node] - layers[source]
            lanes = max(0, span - 1) if count + span <= most else 0
            paths.append([source, *range(count, count + lanes), node])
            count += lanes
    return paths


def _rows(layers: Sequence[int], paths: Sequence[Sequence[int]]) -> _Rows:
    of = list(layers)
    for path in paths:
        of += [layers[path[0]] + step for step in range(1, len(path) - 1)]
    rows: list[list[int]] = [[] for _ in range(max(of, default=-1) + 1)]
    for node, layer in enumerate(of):
        rows[layer].append(node)
    return _Rows(rows, of)


def _neighbours(count: int, paths: Sequence[Sequence[int]]) -> tuple[list[list[int]], list[list[int]]]:
    """(above, below) of each node."""
    above: list[list[int]] = [[] for _ in range(count)]
    below: list[list[int]] = [[] for _ in range(count)]
    for path in paths:
        for upper, lower in pairwise(path):
            above[lower].append(upper)
            below[upper].append(lower)
    return above, below


def _order(rows: _Rows, neighbours: tuple[list[list[int]], list[list[int]]]) -> None:
    """Sort each row by the mean position of what is above, then below, a few times over."""
    position = {node: float(i) for row in rows.rows for i, node in enumerate(row)}
    for sweep in range(SWEEPS):
        near = neighbours[sweep % 2]
        for row in rows.rows if sweep % 2 == 0 else reversed(rows.rows):
            row.sort(key=lambda node: _mean([position[n] for n in near[node]], position[node]))
            position.update({node: float(i) for i, node in enumerate(row)})


def _places(rows: _Rows, neighbours: tuple[list[list[int]], list[list[int]]], boxes: int) -> list[float]:
    """The horizontal centre of each node: drawn to its neighbours, never over the next one in its row."""
    places = [0.0] * len(rows.of)
    for row in rows.rows:
        _spread(row, [0.0] * len(row), places, boxes)
    for sweep in range(2 * SWEEPS):
        near = neighbours[sweep % 2]
        for row in rows.rows if sweep % 2 == 0 else reversed(rows.rows):
            _spread(row, [_mean([places[n] for n in near[node]], places[node]) for node in row], places, boxes)
    return places


def _spread(row: Sequence[int], wanted: Sequence[float], places: list[float], boxes: int) -> None:
    """Put a row where it wants to be, pushed apart evenly to both sides where it is too tight."""
    right: list[float] = []
    for i, want in enumerate(wanted):
        right.append(max(want, right[-1] + _apart(row[i - 1], row[i], boxes)) if i else want)
    left = list(wanted)
    for i in range(len(row) - 2, -1, -1):
        left[i] = min(wanted[i], left[i + 1] - _apart(row[i], row[i + 1], boxes))
    for node, a, b in zip(row, left, right, strict=True):
        places[node] = (a + b) / 2


def _apart(one: int, other: int, boxes: int) -> float:
    return (_width(one, boxes) + _width(other, boxes)) / 2 + GAP[0]


def _width(node: int, boxes: int) -> float:
    return BOX[0] if node < boxes else LANE


def _depth(layer: int) -> float:
    return BOX[1] / 2 + layer * (BOX[1] + GAP[1])


def _mean(values: Sequence[float], otherwise: float) -> float:
    return sum(values) / len(values) if values else otherwise
