"""Kinds of models that people compile: the prediction gives the operator table that public logs of the compiler show.

The graphs are small and made here; each has the operators, shapes and statuses of its kind, not its size.
"""

from collections.abc import Callable

import pytest

from skerry_host.builder.edgetpu.table import operator_table
from tests.kit.edgetpu.net import Net, Rows


def detector() -> Rows:
    """As EfficientDet-Lite: uint8 picture, two levels, float boxes for the custom operator at its output."""
    net = Net((1, 16, 16, 3), "uint8")
    fine = net.conv(net.op("QUANTIZE", net.input), 8)
    coarse = net.op("MAX_POOL_2D", fine, shape=(1, 8, 8, 8))
    merged = net.op("ADD", fine, net.op("RESIZE_NEAREST_NEIGHBOR", coarse, net.ints(16, 16), shape=(1, 16, 16, 8)))
    heads = []
    for width in (4, 90):
        levels = [net.reshape(net.conv(level, width), 1, size, width) for level, size in ((merged, 256), (coarse, 64))]
        heads.append(net.concat(*levels, axis=1))
    boxes = net.op("DEQUANTIZE", heads[0], dtype="float32")
    scores = net.op("DEQUANTIZE", net.op("LOGISTIC", heads[1]), dtype="float32")
    return net.table(net.op("TFLite_Detection_PostProcess", boxes, scores, shape=(1, 10, 4), dtype="float32"))


def leaky() -> Rows:
    """As YOLOv3-tiny: a float input, and LEAKY_RELU behind the first convolution."""
    net = Net((1, 8, 8, 3), "float32")
    first = net.op("LEAKY_RELU", net.conv(net.op("QUANTIZE", net.input), 8))
    return net.table(net.op("DEQUANTIZE", net.conv(net.op("MAX_POOL_2D", first), 8), dtype="float32"))


def anchors() -> Rows:
    """As YOLOv9 from ONNX: softmax and a product by rows, a GATHER, then the boxes."""
    net = Net((1, 12, 12, 64))
    sides = net.reshape(net.conv(net.input, 64), 1, 144, 4, 16)
    flat = net.reshape(sides, 1, 576, 16)
    weights = net.tensor((1, 16), data=list(range(16)))
    sizes = net.op("FULLY_CONNECTED", flat, weights, shape=(1, 576, 1))
    corners = net.op("GATHER", sizes, net.ints(0, 1), shape=(1, 2, 1))
    return net.table(net.op("SUB", corners, net.op("ADD", corners, corners)))


def keypoints() -> Rows:
    """As MoveNet: one head ends in operators on integers, the others map although they come later in the file."""
    net = Net((1, 8, 8, 4), "uint8")
    body = net.conv(net.op("QUANTIZE", net.input), 8)
    peak = net.op("ARG_MAX", net.reshape(net.conv(body, 1), 1, 64, 1), net.ints(1), shape=(1, 1), dtype="int32")
    row = net.op("FLOOR_DIV", net.op("CAST", peak, dtype="int32"), net.ints(8), dtype="int32")
    offsets = net.conv(net.op("RELU", net.conv(body, 8)), 2)
    place = net.op("GATHER_ND", offsets, row, shape=(1, 2))
    return net.table(net.op("CONCATENATION", place, place, shape=(1, 4)))


def float_ends() -> Rows:
    """As a Keras model that was quantized after training, with float input and output."""
    net = Net((1, 8, 8, 1), "float32")
    pooled = net.op("MAX_POOL_2D", net.conv(net.op("QUANTIZE", net.input), 4), shape=(1, 4, 4, 4))
    weights = net.tensor((10, 64), data=[1] * 640)
    scores = net.op("FULLY_CONNECTED", net.reshape(pooled, 1, 64), weights, shape=(1, 10))
    return net.table(net.op("DEQUANTIZE", net.op("SOFTMAX", scores), dtype="float32"))


def batches() -> Rows:
    """As DeepLab of an old converter: dilation made of SPACE_TO_BATCH_ND, so a batch above 1."""
    net = Net((1, 8, 8, 4))
    blocks = net.op("SPACE_TO_BATCH_ND", net.conv(net.input, 4), net.ints(2, 2), net.ints(0, 0), shape=(4, 4, 4, 4))
    weights = net.tensor((1, 3, 3, 4), data=[1] * 36)
    wide = net.op("DEPTHWISE_CONV_2D", blocks, weights)
    back = net.op("BATCH_TO_SPACE_ND", wide, net.ints(2, 2), net.ints(0, 0), shape=(1, 8, 8, 4))
    return net.table(net.op("ADD", back, back))


def unet() -> Rows:
    """As a U-Net of Keras: TRANSPOSE_CONV, which no compiled file at hand has."""
    net = Net((1, 8, 8, 4))
    low = net.op("MAX_POOL_2D", net.conv(net.input, 4), shape=(1, 4, 4, 4))
    weights = net.tensor((4, 2, 2, 4), data=[1] * 64)
    up = net.op("TRANSPOSE_CONV", net.ints(1, 8, 8, 4), weights, low, shape=(1, 8, 8, 4))
    return net.table(net.op("LOGISTIC", net.concat(up, net.input, axis=3)))


def channels_first() -> Rows:
    """As PyTorch through a converter that keeps its order: the first TRANSPOSE, of pixels, ends the mapping."""
    net = Net((1, 3, 224, 224), "uint8")
    data = net.op("TRANSPOSE", net.op("QUANTIZE", net.input), net.ints(0, 2, 3, 1), shape=(1, 224, 224, 3))
    back = net.op("TRANSPOSE", net.conv(data, 4), net.ints(0, 3, 1, 2), shape=(1, 4, 224, 224))
    return net.table(net.op("MEAN", back, net.ints(2, 3), shape=(1, 4)))


MAPPED, LATER, DTYPE, LIMIT, NEVER, RANK = (
    operator_table().status[key] for key in ("mapped", "subgraph", "dtype", "limitation", "unsupported", "rank")
)

FAMILIES: dict[Callable[[], Rows], dict[tuple[str, str], int]] = {
    detector: {
        ("QUANTIZE", MAPPED): 1, ("CONV_2D", MAPPED): 5, ("MAX_POOL_2D", MAPPED): 1, ("ADD", MAPPED): 1,
        ("RESIZE_NEAREST_NEIGHBOR", MAPPED): 1, ("RESHAPE", MAPPED): 4, ("CONCATENATION", MAPPED): 2,
        ("LOGISTIC", MAPPED): 1, ("DEQUANTIZE", DTYPE): 2, ("TFLite_Detection_PostProcess", DTYPE): 1,
    },
    leaky: {
        ("QUANTIZE", LIMIT): 1, ("CONV_2D", MAPPED): 1, ("LEAKY_RELU", NEVER): 1, ("MAX_POOL_2D", LATER): 1,
        ("CONV_2D", LATER): 1, ("DEQUANTIZE", DTYPE): 1,
    },
    anchors: {
        ("CONV_2D", MAPPED): 1, ("RESHAPE", MAPPED): 2, ("FULLY_CONNECTED", MAPPED): 1, ("GATHER", NEVER): 1,
        ("ADD", LATER): 1, ("SUB", LATER): 1,
    },
    keypoints: {
        ("QUANTIZE", MAPPED): 1, ("CONV_2D", MAPPED): 4, ("RESHAPE", MAPPED): 1, ("RELU", MAPPED): 1,
        ("ARG_MAX", NEVER): 1, ("CAST", NEVER): 1, ("FLOOR_DIV", NEVER): 1, ("GATHER_ND", NEVER): 1,
        ("CONCATENATION", LATER): 1,
    },
    float_ends: {
        ("QUANTIZE", LIMIT): 1, ("CONV_2D", MAPPED): 1, ("MAX_POOL_2D", MAPPED): 1, ("RESHAPE", MAPPED): 1,
        ("FULLY_CONNECTED", MAPPED): 1, ("SOFTMAX", MAPPED): 1, ("DEQUANTIZE", DTYPE): 1,
    },
    batches: {
        ("CONV_2D", MAPPED): 1, ("SPACE_TO_BATCH_ND", NEVER): 1, ("DEPTHWISE_CONV_2D", RANK): 1,
        ("BATCH_TO_SPACE_ND", NEVER): 1, ("ADD", LATER): 1,
    },
    unet: {
        ("CONV_2D", MAPPED): 1, ("MAX_POOL_2D", MAPPED): 1, ("TRANSPOSE_CONV", "?"): 1, ("CONCATENATION", "?"): 1,
        ("LOGISTIC", "?"): 1,
    },
    channels_first: {
        ("QUANTIZE", MAPPED): 1, ("TRANSPOSE", LIMIT): 2, ("CONV_2D", LATER): 1, ("MEAN", LATER): 1,
    },
}  # fmt: skip


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.__name__)
def test_the_operator_table_of_a_kind_of_models(family: Callable[[], Rows]) -> None:
    assert family() == FAMILIES[family]
