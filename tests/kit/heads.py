"""A small detector's head as a float TFLite model: boxes in pixels and scores in 0..1, in one output. No tests here."""

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tests.kit.edgetpu.models import Maker

SIDE, CELLS = 8, 16
"""Height and width of the input, and how many boxes there are."""


def conv(made: Maker, read: str, written: str, filters: int, stride: int = 1, scale: float = 0.4) -> str:
    """A convolution of 1 x 1 (or the stride) with random weights."""
    channels = 3 if read == "x" else 8
    rng = np.random.default_rng(len(written) * 100 + filters)
    weights = rng.normal(0, scale, (filters, stride, stride, channels))
    made.tensor(f"{written}/w", weights.shape, "float32", weights)
    made.tensor(f"{written}/b", (filters,), "float32", rng.normal(0, scale, filters))
    made.tensor(written, (1, 4, 4, filters), "float32")
    options = schema.Conv2DOptionsT()
    options.strideH = options.strideW = stride
    made.op("CONV_2D", [read, f"{written}/w", f"{written}/b"], [written], 1, options)
    return written


def mul(made: Maker, read: str, written: str, shape: tuple[int, ...], factor: object) -> str:
    """A product with a constant."""
    values = np.asarray(factor, np.float32)
    made.tensor(f"{written}/factor", values.shape or (1,), "float32", values.reshape(values.shape or (1,)))
    made.tensor(written, shape, "float32")
    made.op("MUL", [read, f"{written}/factor"], [written], 1, schema.MulOptionsT())
    return written


def logistic(made: Maker, read: str, shape: tuple[int, ...]) -> str:
    """Its sigmoid."""
    made.tensor(f"{read}/sigmoid", shape, "float32")
    made.op("LOGISTIC", [read], [f"{read}/sigmoid"], 1)
    return f"{read}/sigmoid"


def concatenate(made: Maker, reads: list[str], written: str, shape: tuple[int, ...], axis: int) -> str:
    """One after the other along an axis."""
    options = schema.ConcatenationOptionsT()
    options.axis = axis
    made.tensor(written, shape, "float32")
    made.op("CONCATENATION", reads, [written], 1, options)
    return written


def reshape(made: Maker, read: str, written: str, shape: tuple[int, ...]) -> str:
    """In another shape."""
    options = schema.ReshapeOptionsT()
    options.newShape = list(shape)
    made.tensor(f"{written}/shape", (len(shape),), "int32", np.array(shape), scale=0)
    made.tensor(written, shape, "float32")
    made.op("RESHAPE", [read, f"{written}/shape"], [written], 1, options)
    return written


def transpose(made: Maker, read: str, written: str, shape: tuple[int, ...], order: list[int]) -> str:
    """With its axes in another order."""
    made.tensor(f"{written}/order", (len(order),), "int32", np.array(order), scale=0)
    made.tensor(written, shape, "float32")
    made.op("TRANSPOSE", [read, f"{written}/order"], [written], 1, schema.TransposeOptionsT())
    return written


def _backbone() -> Maker:
    made = Maker()
    made.tensor("x", (1, SIDE, SIDE, 3), "float32")
    conv(made, "x", "features", 8, 2)
    return made


def channels_first() -> bytes:
    """(1, 4 + 3, boxes), as Ultralytics exports YOLOv8: boxes of 0..640 before scores."""
    made = _backbone()
    boxes = mul(made, logistic(made, conv(made, "features", "b", 4), (1, 4, 4, 4)), "pixels", (1, 4, 4, 4), 640.0)
    scores = logistic(made, conv(made, "features", "s", 3), (1, 4, 4, 3))
    flat = [reshape(made, name, f"{name}/flat", (1, CELLS, n)) for name, n in ((boxes, 4), (scores, 3))]
    sizes = zip(flat, (4, 3), strict=True)
    planes = [transpose(made, name, f"{name}/planes", (1, n, CELLS), [0, 2, 1]) for name, n in sizes]
    concatenate(made, planes, "y", (1, 7, CELLS), 1)
    return made.data(["x"], ["y"])


def nested() -> bytes:
    """(1, boxes, 2 + 2 + 3), as YOLOv5: joined by field in each of two grids, then over the grids."""
    made, grids = _backbone(), []
    for grid in "pq":
        fields = []
        for name, n, factor in (("xy", 2, 320.0), ("wh", 2, 600.0), ("score", 3, 1.0)):
            made_part = logistic(made, conv(made, "features", f"{grid}{name}", n), (1, 4, 4, n))
            fields.append(mul(made, made_part, f"{grid}{name}/real", (1, 4, 4, n), factor) if factor > 1 else made_part)
        joined = concatenate(made, fields, f"{grid}/all", (1, 4, 4, 7), 3)
        grids.append(reshape(made, joined, f"{grid}/flat", (1, CELLS, 7)))
    concatenate(made, grids, "y", (1, 2 * CELLS, 7), 1)
    return made.data(["x"], ["y"])


def strided() -> bytes:
    """(1, boxes, 4 + 3) whose boxes become pixels by a product after the concatenation."""
    made = _backbone()
    parts = [logistic(made, conv(made, "features", name, n), (1, 4, 4, n)) for name, n in (("b", 4), ("s", 3))]
    joined = concatenate(made, parts, "all", (1, 4, 4, 7), 3)
    factors = [640.0] * 4 + [1.0] * 3
    return_as = reshape(made, mul(made, joined, "scaled", (1, 4, 4, 7), factors), "y", (1, CELLS, 7))
    return made.data(["x"], [return_as])


def one_convolution() -> bytes:
    """(1, 4, 4, 4 + 3): boxes and scores come from one convolution's filters."""
    made = _backbone()
    mixed = conv(made, "features", "mixed", 7)
    mul(made, mixed, "y", (1, 4, 4, 7), [300.0] * 4 + [0.3] * 3)
    return made.data(["x"], ["y"])


def behind_a_pool() -> bytes:
    """(1, 1, 1, 4 + 3) behind an operator that nothing is cut out of."""
    made = _backbone()
    parts = [mul(made, conv(made, "features", "b", 4), "pixels", (1, 4, 4, 4), 400.0), conv(made, "features", "s", 3)]
    joined = concatenate(made, parts, "all", (1, 4, 4, 7), 3)
    options = schema.Pool2DOptionsT()
    options.filterHeight = options.filterWidth = options.strideH = options.strideW = 4
    options.padding = schema.Padding.VALID
    made.tensor("y", (1, 1, 1, 7), "float32")
    made.op("AVERAGE_POOL_2D", [joined], ["y"], 1, options)
    return made.data(["x"], ["y"])


HEADS = {
    "channels first": (channels_first, [(0, 3), (4, 6)]),
    "nested": (nested, [(0, 3), (4, 6)]),
    "scaled afterwards": (strided, [(0, 3), (4, 6)]),
    "one convolution": (one_convolution, [(0, 3), (4, 6)]),
}
"""How a head is made, and the blocks that it has."""


def pictures(count: int) -> np.ndarray:
    """Random smooth samples (N, H, W, 3), float32."""
    rng = np.random.default_rng(3)
    found = rng.normal(size=(count, SIDE, SIDE, 3))
    for axis in (1, 2):
        found = (found + np.roll(found, 1, axis) + np.roll(found, -1, axis)) / 1.7
    return found.astype(np.float32)
