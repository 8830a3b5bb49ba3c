"""Layers that once made the encoder fail: other shapes, extreme weights, shared scales, dimensions that lie."""

from dataclasses import replace

import numpy as np
import onnx as onnx_package
import pytest

from skerry_host.patch.layout import layout_of
from skerry_host.patch.pairing import pair_layers, spread_bits
from tests.kit.patch_edits import Write, every_candidate_makes
from tests.kit.patch_models import Made, Net, layer, onnx, patch_of, tflite, tuned


def reshaped(made: Made, rows: int) -> Made:
    """A layer of other shape with the weight bytes of `made`."""
    weights = made.weights.reshape(rows, -1)
    return replace(layer(np.random.default_rng(6), *weights.shape), weights=weights)


@pytest.mark.parametrize("write", [tflite, onnx])
def test_the_same_bytes_in_another_shape_are_copied(write: Write) -> None:
    rng = np.random.default_rng(1)
    before = [layer(rng, 64, 64), layer(rng, 20, 64)]
    after = [reshaped(before[0], 32), tuned(rng, before[1], 1)]
    old, new = write(Net(tuple(before))), write(Net(tuple(after)))
    assert every_candidate_makes(old, new)["model"] < 2500  # the layer of 4096 bytes costs next to nothing
    patch_of(old, new)


def test_of_equal_bytes_the_layer_of_equal_shape_is_continued() -> None:
    made = layer(np.random.default_rng(2), 64, 64)
    old = tflite(Net((reshaped(made, 32), made)))
    new = tflite(Net((made, made)))
    (first, _) = pair_layers(old, new, layout_of(old), layout_of(new))
    assert first.old is not None
    assert first.old.weights is not None
    assert first.old.weights.rows == 64


def test_the_width_of_the_least_int8_is_positive() -> None:
    rows = np.full((2, 30), -128, np.int8)
    with np.errstate(all="raise"):
        assert spread_bits(rows) > spread_bits(rows + np.int8(1))


@pytest.mark.parametrize("write", [tflite, onnx])
def test_weights_that_move_by_128(write: Write) -> None:
    rng = np.random.default_rng(3)
    made = layer(rng, 16, 40)
    least = replace(made, weights=np.full_like(made.weights, -128))
    flipped = replace(made, weights=made.weights ^ np.int8(-128))
    for old, new in ((made, least), (least, made), (made, flipped)):
        with np.errstate(all="raise"):
            every_candidate_makes(write(Net((old,))), write(Net((new,))))


def test_biases_of_layers_that_share_a_scale() -> None:
    """The device rescales by the old words from which it made the vector: those of the first such layer."""
    rng = np.random.default_rng(4)
    first, second = (replace(layer(rng, 30, 40), input_scale=size) for size in (0.02, 0.05))
    old = onnx(Net((first, second)))
    moved = [made.bias * (made.bias_scales / (first.bias_scales * np.float32(1.1))) for made in (first, second)]
    layers = [
        replace(made, bias=np.rint(bias).astype(np.int32)) for made, bias in zip((first, second), moved, strict=True)
    ]
    model = onnx_package.load_model_from_string(onnx(Net((*layers,))))
    scales = next(one for one in model.graph.initializer if one.name == "bs0")
    scales.raw_data = (first.bias_scales * np.float32(1.1)).tobytes()
    next(node for node in model.graph.node if node.input[0] == "b1").input[1] = "bs0"
    every_candidate_makes(old, model.SerializeToString())


def test_dimensions_below_zero_are_no_weights() -> None:
    honest = tflite(Net((layer(np.random.default_rng(5), 12, 40),)))
    shape = np.array([2, 12, 40], "<u4").tobytes()  # a vector of two
    assert honest.count(shape) == 1
    lying = honest.replace(shape, np.array([2, -12, -40], "<i4").tobytes())
    assert layout_of(lying).layers == ()
    for old, new in ((honest, lying), (lying, honest)):
        patch_of(old, new)
