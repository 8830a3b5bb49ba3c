"""Delta-friendly quantization: puts a new int8 model on the scale grid of its previous release.

A scale may only become f32(s_previous * (1 + k / 512)), with k fitted per channel so that integers keep their
values: a patch then carries one small number instead of a float, and fewer changed weights. Biases follow from their
scales. The model's layout does not change. Chooses no activation ranges and measures no accuracy.

With `GridOptions.frozen`, k is 0 everywhere. Edge TPU targets need that, and the same compiler version for both
releases, because a changed scale changes the compiled instruction stream.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from skerry_agent.patch.pool import GRID_STEPS, on_grid, product

INT8, INT32, FLOAT32 = schema.TensorType.INT8, schema.TensorType.INT32, schema.TensorType.FLOAT32
MORE_NOISE = 1.25  # a channel's quantization noise power may grow by so much at most: one decibel
TRIES = 13

Floats = NDArray[np.float64]
Steps = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class GriddedModel:
    """A model on the grid. `kept` is the share of weights that equal the previous release's, before and after.

    `layers` counts those that were moved to the grid; others had no counterpart and are as they were.
    """

    model: bytes
    layers: int
    kept_before: float
    kept_after: float


@dataclass(frozen=True, slots=True)
class _LayerView:
    """Writable views into a model's bytes: weights (channels, n) int8, scales (channels,), a bias if it has one."""

    name: str
    weights: NDArray[np.int8]
    scales: NDArray[np.float32]
    bias: NDArray[np.int32] | None
    bias_scales: NDArray[np.float32] | None
    input_scale: NDArray[np.float32] | None


@dataclass(frozen=True, slots=True)
class GridOptions:
    """How close to stay to the previous release.

    `frozen` keeps every scale (k = 0). `sticky` keeps an integer that is at most 0.5 + sticky steps from the real
    value: patches shrink further, at a cost in accuracy that only an evaluation can tell. 0 is plain rounding.
    """

    frozen: bool = False
    sticky: float = 0.0


def to_previous_grid(
    model: bytes, previous: bytes, *, floats: bytes = b"", options: GridOptions = GridOptions()
) -> GriddedModel:
    """Int8 TFLite `model` with scales on the grid of int8 TFLite `previous`.

    `floats` is the float TFLite that `model` was quantized from: weights are then rounded once, from it; without it,
    from `model` itself. Layers pair up by shape in graph order.
    """
    made = bytearray(model)
    exact = _float_weights(floats) if floats else {}
    layers, before, after, total = 0, 0, 0, 0
    for new, old in _pairs(list(_layers(made)), list(_layers(bytearray(previous)))):
        before += int(np.count_nonzero(new.weights == old.weights))
        weights: Floats = new.weights.astype(np.float64) * new.scales[:, None]
        if new.name in exact:
            weights = exact[new.name].reshape(weights.shape)
        layers += _move(new, old, weights, options)
        after += int(np.count_nonzero(new.weights == old.weights))
        total += new.weights.size
    return GriddedModel(bytes(made), layers, before / max(1, total), after / max(1, total))


def fit_steps(
    weights: Floats, reference: NDArray[np.float32], integers: NDArray[np.int8], scales: NDArray[np.float32]
) -> Steps:
    """The grid steps k (channels,) that keep most of `integers` where they are, at little more noise.

    `weights` (channels, n) are the real new ones, `reference` (channels,) the scales that fit them best, `integers` and
    `scales` those of the previous release.
    """
    held = integers.astype(np.float64) * scales[:, None]
    ratio = (weights * held).sum(axis=1) / np.maximum((held * held).sum(axis=1), 1e-30)
    fitting = np.ceil(GRID_STEPS * (reference.astype(np.float64) / scales - 1))
    staying = np.where(ratio > 0.3, np.rint(GRID_STEPS * (ratio - 1)), fitting)
    allowed = MORE_NOISE * np.maximum(_noise(weights, reference), reference.astype(np.float64) ** 2 / 12)
    best, best_bits = np.maximum(fitting, 1 - GRID_STEPS), np.full(len(weights), np.inf)
    for share in np.linspace(0, 1, TRIES):
        steps = np.clip(np.rint(fitting + share * (staying - fitting)), 1 - GRID_STEPS, None)
        tried = grid_scales(scales, steps.astype(np.int64))
        moved = np.abs(quantized(weights, tried).astype(np.int16) - integers)
        bits = np.log2(1.0 + 2.0 * moved).sum(axis=1)
        better = (bits < best_bits) & ((_noise(weights, tried) <= allowed) | (share == 0))
        best, best_bits = np.where(better, steps, best), np.where(better, bits, best_bits)
    return best.astype(np.int64)


def grid_scales(scales: NDArray[np.float32], steps: Steps) -> NDArray[np.float32]:
    """The scales f32(scales * (1 + steps / 512)), to the bit as a patch's decoder computes it."""
    words = np.ascontiguousarray(scales, np.float32).view(np.uint32)
    return on_grid(words, steps.astype(np.int32).view(np.uint32)).view(np.float32)


def quantized(weights: Floats, scales: NDArray[np.float32]) -> NDArray[np.int8]:
    """Symmetric int8 (channels, n): rounded to the nearest step, clipped to -127..127."""
    return np.clip(np.rint(weights / scales[:, None].astype(np.float64)), -127, 127).astype(np.int8)


def _noise(weights: Floats, scales: NDArray[np.float32]) -> Floats:
    error = weights - quantized(weights, scales) * scales[:, None].astype(np.float64)
    power: Floats = (error * error).mean(axis=1)
    return power


def _move(new: _LayerView, old: _LayerView, weights: Floats, options: GridOptions) -> bool:
    """Rewrite `new` in place; False if its numbers forbid it."""
    if not all(np.isfinite(scales).all() and (scales > 0).all() for scales in (new.scales, old.scales)):
        return False
    steps = np.zeros(len(old.scales), np.int64)
    if not options.frozen:
        steps = fit_steps(weights, new.scales.copy(), old.weights, old.scales)
    new.scales[:] = grid_scales(old.scales, steps)
    rounded = quantized(weights, new.scales)
    if options.sticky:
        away = np.abs(weights / new.scales[:, None].astype(np.float64) - old.weights)
        rounded = np.where(away <= 0.5 + options.sticky, old.weights, rounded)
    new.weights[:] = rounded
    _follow(new)
    return True


def _follow(layer: _LayerView) -> None:
    """Give the bias the scale that its inputs imply, and the same values in it."""
    if layer.bias is None or layer.bias_scales is None or layer.input_scale is None:
        return
    values = layer.bias * layer.bias_scales.astype(np.float64)
    words = (np.ascontiguousarray(scales, np.float32).view(np.uint32) for scales in (layer.scales, layer.input_scale))
    layer.bias_scales[:] = product(*words).view(np.float32)
    limits = np.iinfo(np.int32)
    moved = np.rint(values / layer.bias_scales.astype(np.float64))
    layer.bias[:] = np.clip(moved, limits.min, limits.max).astype(np.int32)


def _pairs(new: list[_LayerView], old: list[_LayerView]) -> Iterator[tuple[_LayerView, _LayerView]]:
    shapes = [[str(layer.weights.shape) for layer in layers] for layers in (new, old)]
    for block in SequenceMatcher(None, shapes[0], shapes[1], autojunk=False).get_matching_blocks():
        yield from zip(new[block.a : block.a + block.size], old[block.b : block.b + block.size], strict=True)


def _layers(model: bytearray) -> Iterator[_LayerView]:
    """Yield every operator's weights once, in graph order, as views that write into `model`."""
    root = schema.Model.GetRootAsModel(model, 0)
    seen: set[int] = set()
    for graph in (root.Subgraphs(i) for i in range(root.SubgraphsLength())):
        for operator in (graph.Operators(i) for i in range(graph.OperatorsLength())):
            numbers = [operator.Inputs(i) for i in range(operator.InputsLength())]
            inputs = [graph.Tensors(number) for number in numbers if number >= 0]
            layer = _layer(root, inputs)
            if layer is not None and inputs[1].Buffer() not in seen:
                seen.add(inputs[1].Buffer())
                yield layer


def _layer(root: Any, inputs: list[Any]) -> _LayerView | None:
    if len(inputs) < 2 or inputs[1].Type() != INT8:
        return None
    source, tensor = inputs[0], inputs[1]
    data, scales = root.Buffers(tensor.Buffer()).DataAsNumpy(), _scales(tensor)
    if isinstance(data, int) or scales is None:
        return None
    grid = _channels(data.view(np.int8).reshape(tensor.ShapeAsNumpy()), tensor, len(scales))
    if grid is None:
        return None
    bias = bias_scales = None
    if len(inputs) > 2 and inputs[2].Type() == INT32:
        found, bias_scales = root.Buffers(inputs[2].Buffer()).DataAsNumpy(), _scales(inputs[2])
        bias = None if isinstance(found, int) else found.view(np.int32)
    input_scale = _scales(source)
    shared = input_scale is not None and len(input_scale) == 1
    return _LayerView(tensor.Name().decode(), grid, scales, bias, bias_scales, input_scale if shared else None)


def _channels(data: NDArray[np.int8], tensor: Any, channels: int) -> NDArray[np.int8] | None:
    """`data` as a view (channels, n), or `None` if its layout allows no such view."""
    if channels == 1:
        return data.reshape(1, -1)
    axis = tensor.Quantization().QuantizedDimension()
    if data.shape[axis] != channels or axis not in {0, data.ndim - 1}:
        return None
    return data.reshape(channels, -1) if axis == 0 else data.reshape(-1, channels).T


def _scales(tensor: Any) -> NDArray[np.float32] | None:
    quantization = tensor.Quantization()
    found = quantization.ScaleAsNumpy() if quantization is not None else 0
    return None if isinstance(found, int) or not len(found) else found


def _float_weights(model: bytes) -> dict[str, Floats]:
    """Float constants by tensor name, (channels first where they come last in a depthwise filter)."""
    root = schema.Model.GetRootAsModel(bytearray(model), 0)
    found: dict[str, Floats] = {}
    for graph in (root.Subgraphs(i) for i in range(root.SubgraphsLength())):
        for tensor in (graph.Tensors(i) for i in range(graph.TensorsLength())):
            data = root.Buffers(tensor.Buffer()).DataAsNumpy()
            if tensor.Type() == FLOAT32 and not isinstance(data, int) and tensor.ShapeLength() > 1:
                grid = data.view(np.float32).reshape(tensor.ShapeAsNumpy()).astype(np.float64)
                found[tensor.Name().decode()] = grid.reshape(-1, grid.shape[-1]).T if len(grid) == 1 else grid
    return found
