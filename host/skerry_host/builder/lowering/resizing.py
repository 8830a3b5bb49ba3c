"""Resize and Upsample of images: by TFLite's own operators where these read the same places, else by constants."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from skerry_host.builder.lowering.order import channels_last, held
from skerry_host.builder.lowering.products import dense
from skerry_host.builder.lowering.shaping import take
from skerry_host.builder.lowering.values import Array, Lowering, Node, UnknownFormError, Value

_CLOSE = 1e-4
"""Of a pixel: places that differ by less are the same."""


def resize(low: Lowering, node: Node) -> None:
    """Resize of the space of images or sequences."""
    value, name = low.value(node, 0), node.outputs[0]
    mode = node.text("mode", "nearest")
    coordinates = node.text("coordinate_transformation_mode", "half_pixel")
    if node.kind == "Upsample" or node.opset < 11:
        coordinates = "asymmetric"
    sizes, scales = _sizes(low, node, value)
    if node.get("antialias", 0) and any(n < m for n, m in zip(sizes, value.shape, strict=True)):
        raise UnknownFormError("Resize that smooths before it shrinks")
    axes = [axis for axis in range(value.rank) if sizes[axis] != value.shape[axis]]
    places = {a: _places(coordinates, (value.shape[a], sizes[a]), scales[a]) for a in axes}
    if mode == "nearest":
        rounding = node.text("nearest_mode", "floor" if node.opset < 11 else "round_prefer_floor")
        _nearest(low, value, {a: _rounded(at, rounding, value.shape[a]) for a, at in places.items()}, sizes, name)
    elif mode == "linear":
        _linear(low, value, places, sizes, name)
    elif mode == "cubic":
        slope = node.get("cubic_coeff_a", -0.75)
        matrices = {a: _cubic(at, value.shape[a], slope) for a, at in places.items()}
        _by_matrices(low, value, matrices, name)
    else:
        raise UnknownFormError(f"Resize in mode {mode}")


def _sizes(low: Lowering, node: Node, value: Value) -> tuple[list[int], list[float]]:
    """The result's sizes, and by what each axis is scaled."""
    if node.text("coordinate_transformation_mode", "") == "tf_crop_and_resize" or node.get("axes"):
        raise UnknownFormError("Resize of a crop, or of named axes")
    sizes = low.known(node, 3) if node.kind == "Resize" and node.opset > 10 else None
    if sizes:
        return list(sizes), [n / m for n, m in zip(sizes, value.shape, strict=True)]
    at = 1 if node.kind == "Upsample" or node.opset < 11 else 2
    scales = [float(n) for n in low.known(node, at, "scales")]
    return [int(np.floor(m * s + 1e-6)) for m, s in zip(value.shape, scales, strict=True)], scales


def _places(mode: str, sizes: tuple[int, int], scale: float) -> Array:
    """Where in the source each element of the result lies (ONNX operators, Resize)."""
    source, made = sizes
    at = np.arange(made, dtype=np.float64)
    if mode == "asymmetric":
        return at / scale
    if mode == "align_corners":
        return at * (source - 1) / (made - 1) if made > 1 else np.zeros(1)
    if mode == "pytorch_half_pixel" and made == 1:
        return np.zeros(1)
    if mode in {"half_pixel", "pytorch_half_pixel"}:
        return (at + 0.5) / scale - 0.5
    raise UnknownFormError(f"Resize by {mode}")


def _rounded(places: Array, mode: str, size: int) -> Array:
    rounding: dict[str, Callable[[Array], Array]] = {
        "floor": np.floor,
        "ceil": np.ceil,
        "round_prefer_floor": lambda at: np.ceil(at - 0.5),
        "round_prefer_ceil": lambda at: np.floor(at + 0.5),
    }
    found: Array = np.clip(rounding[mode](places), 0, size - 1).astype(int)
    return found


def _nearest(low: Lowering, value: Value, chosen: dict[int, Array], sizes: Sequence[int], written: str) -> None:
    """RESIZE_NEAREST_NEIGHBOR, if it takes the same elements, else GATHER."""
    floors = {a: np.floor(np.arange(sizes[a]) * value.shape[a] / sizes[a]).astype(int) for a in chosen}
    if value.rank == 4 and set(chosen) <= {2, 3} and all((floors[a] == chosen[a]).all() for a in chosen):
        _by_operator(low, value, "RESIZE_NEAREST_NEIGHBOR", schema.ResizeNearestNeighborOptionsT(), (sizes, written))
        return
    found = value
    for axis, indices in chosen.items():
        found = take(low, found, axis, indices.tolist(), f"{written}/{axis}")
    low.rename(written, found)


def _linear(low: Lowering, value: Value, places: dict[int, Array], sizes: Sequence[int], written: str) -> None:
    """RESIZE_BILINEAR, if it reads the same places, else products by constants."""
    if value.rank == 4 and set(places) <= {2, 3}:
        for corners, half in ((False, True), (True, False), (False, False)):
            if all(_same_places(at, (value.shape[a], sizes[a]), corners, half) for a, at in places.items()):
                options = schema.ResizeBilinearOptionsT()
                options.alignCorners, options.halfPixelCenters = corners, half
                _by_operator(low, value, "RESIZE_BILINEAR", options, (sizes, written))
                return
    _by_matrices(low, value, {a: _between(at, value.shape[a]) for a, at in places.items()}, written)


def _same_places(places: Array, sizes: tuple[int, int], corners: bool, half: bool) -> bool:
    source, made = sizes
    mode = "align_corners" if corners else "half_pixel" if half else "asymmetric"
    own = _places(mode, sizes, made / source)
    ends = (0, source - 1)
    return bool(np.allclose(np.clip(own, *ends), np.clip(places, *ends), atol=_CLOSE))


def _by_operator(low: Lowering, value: Value, kind: str, options: Any, made: tuple[Sequence[int], str]) -> None:
    sizes, written = made
    order, shape = channels_last(4), tuple(sizes)
    reads = [low.tensor(value, order), low.numbers(shape[2:])]
    tensor = low.emit(kind, reads, (held(shape, order), value.dtype), written, options)
    low.define(written, tensor, order, (shape, value.dtype), value.least)


def _between(places: Array, size: int) -> Array:
    """The weights (in, out) of linear interpolation; beyond the ends it is the end."""
    at = np.clip(places, 0, size - 1)
    below = np.minimum(np.floor(at).astype(int), max(size - 2, 0))
    share, columns = at - below, np.arange(len(at))
    weights = np.zeros((size, len(at)))
    weights[below, columns] += 1 - share
    weights[np.minimum(below + 1, size - 1), columns] += share
    return weights


def _cubic(places: Array, size: int, slope: float) -> Array:
    """The weights (in, out) of cubic convolution (Keys 1981); beyond the ends it is the end."""
    weights = np.zeros((size, len(places)))
    for column, at in enumerate(places):
        first = int(np.floor(at))
        for row in range(first - 1, first + 3):
            far = abs(at - row)
            near = (slope + 2) * far**3 - (slope + 3) * far**2 + 1
            wide = slope * far**3 - 5 * slope * far**2 + 8 * slope * far - 4 * slope
            weights[min(max(row, 0), size - 1), column] += near if far <= 1 else wide if far < 2 else 0
    return weights


def _by_matrices(low: Lowering, value: Value, matrices: dict[int, Array], written: str) -> None:
    """Each axis times a constant."""
    found = value
    for axis, weights in matrices.items():
        found = dense(low, found, (weights.astype(np.float32), None), f"{written}/{axis}", axis)
    low.rename(written, found)


OPERATORS: dict[str, Callable[[Lowering, Node], None]] = {"Resize": resize, "Upsample": resize}
