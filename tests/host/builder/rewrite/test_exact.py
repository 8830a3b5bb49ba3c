"""No rewriting of a float graph changes what it computes, and each leaves only operators that integers have."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from hypothesis import given, settings
from hypothesis import strategies as st

from skerry_host.builder.judge.signal import sqnr_db
from skerry_host.builder.modelfile.tflite import read_model, write_model
from skerry_host.builder.rewrite.custom_functions import FUNCTIONS
from skerry_host.builder.rewrite.table import rewrite, without_custom
from skerry_host.builder.sources import keras_child
from tests.kit.float_graphs import FloatMaker, answers, kinds, options

RANDOM = np.random.default_rng(3)
SHAPE = (1, 6, 4)
SAMPLES = RANDOM.normal(0, 1.5, (3, *SHAPE)).astype(np.float32)
MIN_DB = 60
RELU = schema.ActivationFunctionType.RELU


def graph(make: Callable[[FloatMaker], str], shape: tuple[int, ...] = SHAPE) -> bytes:
    """A graph of the input x; `make` adds the operators and names the output."""
    made = FloatMaker()
    made.real("x", shape)
    return made.data(["x"], [make(made)])


def rewritten(data: bytes) -> bytes:
    model = read_model(data)
    rewrite(model)
    return write_model(model)


def op(made: FloatMaker, kind: str, reads: list[str], options=None, shape=SHAPE) -> str:
    name = made.real(f"{kind}{len(made._graph.tensors)}", shape)
    made.op(kind, reads, [name], 1, options)
    return name


def positive(m: FloatMaker) -> str:
    return op(m, "ADD", [op(m, "ABS", ["x"], options("Abs")), m.constant("half", [0.5])], options("Add"))


def divided(m: FloatMaker) -> str:
    return op(m, "DIV", ["x", m.constant("by", RANDOM.uniform(0.2, 5, 4))], options("Div"))


def floored(m: FloatMaker) -> str:
    return op(m, "FLOOR_DIV", ["x", positive(m)], options("FloorDiv"))


def cumulated(m: FloatMaker, axis: int, **how) -> str:
    return op(m, "CUMSUM", ["x", m.constant("axis", np.array(axis), "int32")], options("Cumsum", **how))


def negated(m: FloatMaker, kind: str, *, first: bool, activation: int = 0) -> str:
    minus = op(m, "NEG", [positive(m)], options("Neg"))
    how = options(kind.title(), fusedActivationFunction=activation)
    return op(m, kind, [minus, "x"] if first else ["x", minus], how)


def normalised(m: FloatMaker, *, bias: bool, difference: bool = False) -> str:
    """LayerNorm as Keras 3 writes it: x * s + (b - mean * s)."""
    axis, row = m.constant("axis", [2], "int32"), (1, 6, 1)
    keep = options("Reducer", keepDims=True)
    mean = op(m, "MEAN", ["x", axis], keep, row)
    spread = op(m, "SQUARED_DIFFERENCE", ["x", mean], options("SquaredDifference"))
    variance = op(m, "MEAN", [spread, axis], keep, row)
    root = op(m, "RSQRT", [op(m, "ADD", [variance, m.constant("eps", [1e-3])], options("Add"), row)], None, row)
    scale = op(m, "MUL", [root, m.constant("gamma", RANDOM.uniform(0.5, 2, 4))], options("Mul"))
    beta = m.constant("beta", RANDOM.normal(0, 1, 4))
    if difference:
        shift = op(m, "SUB", [beta, op(m, "MUL", [mean, scale], options("Mul"))], options("Sub"))
    else:
        minus = op(m, "NEG", [mean], options("Neg"), row)
        shift = op(m, "MUL", [minus, scale], options("Mul"))
        shift = op(m, "ADD", [shift, beta], options("Add")) if bias else shift
    return op(m, "ADD", [op(m, "MUL", ["x", scale], options("Mul")), shift], options("Add"))


def fast_variance(m: FloatMaker, *, by_division: bool = False) -> str:
    """LayerNorm as flax writes it: the mean of squares less the square of the mean, each a sum over a count."""
    axis, row, keep = m.constant("axis", [2], "int32"), (1, 6, 1), options("Reducer", keepDims=True)
    kind, count = ("DIV", 4.0) if by_division else ("MUL", 0.25)
    share = m.constant("share", [count])

    def average(of: str) -> str:
        return op(m, kind, [op(m, "SUM", [of, axis], keep, row), share], options(kind.title()), row)

    mean = average("x")
    squares = average(op(m, "MUL", ["x", "x"], options("Mul")))
    spread = op(m, "SUB", [squares, op(m, "MUL", [mean, mean], options("Mul"), row)], options("Sub"), row)
    root = op(m, "RSQRT", [op(m, "ADD", [spread, m.constant("eps", [1e-3])], options("Add"), row)], None, row)
    return op(m, "MUL", [op(m, "SUB", ["x", mean], options("Sub")), root], options("Mul"))


def spelt_softmax(m: FloatMaker, *, stable: bool, axis: int = 2) -> str:
    row = (1, 6, 1) if axis == 2 else (1, 1, 4)
    along, keep = m.constant("axis", [axis], "int32"), options("Reducer", keepDims=True)
    most = op(m, "REDUCE_MAX", ["x", along], keep, row)
    power = op(m, "EXP", [op(m, "SUB", ["x", most], options("Sub")) if stable else "x"], options("Exp"))
    return op(m, "DIV", [power, op(m, "SUM", [power, along], keep, row)], options("Div"))


def by_root(m: FloatMaker) -> str:
    return op(m, "DIV", ["x", op(m, "SQRT", [positive(m)])], options("Div"))


def added(m: FloatMaker) -> str:
    return op(m, "ADD_N", ["x", positive(m), "x", op(m, "ABS", ["x"], options("Abs"))], options("AddN"))


def reshaped_by_its_own_shape(m: FloatMaker, *, by: str = "STRIDED_SLICE") -> str:
    """Keras's Reshape((-1, 2)): a row of its own size, counted from what it reads."""

    def counted(kind: str, reads: list[str], how: object, shape: tuple[int, ...] = ()) -> str:
        name = m.tensor(f"{kind}{len(m._graph.tensors)}", shape, "int32", scale=0)
        m.op(kind, reads, [name], 1, how)
        return name

    shape = counted(
        "SHAPE", [op(m, "ABS", ["x"], options("Abs"))], options("Shape", outType=schema.TensorType.INT32), (3,)
    )
    one, two = (m.constant(name, [at], "int32") for name, at in (("from", 1), ("to", 2)))
    if by == "GATHER":
        rows = counted("GATHER", [shape, m.constant("at", np.array(1), "int32")], options("Gather"))
    else:
        step = m.constant("step", [1], "int32")
        rows = counted(by, [shape, one, two, step], options("StridedSlice", shrinkAxisMask=1))
    twice = counted("MUL", [rows, m.constant("twice", np.array(2), "int32")], options("Mul"))
    ends = [m.constant(name, np.array(size), "int32") for name, size in (("one", 1), ("pair", 2))]
    wanted = counted("PACK", [ends[0], twice, ends[1]], options("Pack", valuesCount=3), (3,))
    return op(m, "RESHAPE", ["x", wanted], options("Reshape"), (1, 12, 2))


CASES = {
    "a shape that the graph counts": (reshaped_by_its_own_shape, ["RESHAPE"]),
    "a shape that it gathers": (lambda m: reshaped_by_its_own_shape(m, by="GATHER"), ["RESHAPE"]),
    "x + NEG(y)": (lambda m: negated(m, "ADD", first=False), ["ABS", "ADD", "SUB"]),
    "NEG(y) + x, clamped": (lambda m: negated(m, "ADD", first=True, activation=RELU), ["ABS", "ADD", "SUB"]),
    "x - NEG(y)": (lambda m: negated(m, "SUB", first=False), ["ABS", "ADD", "ADD"]),
    "NEG(y) - x": (lambda m: negated(m, "SUB", first=True), ["ABS", "ADD", "MUL", "SUB"]),
    "NEG alone": (lambda m: op(m, "NEG", ["x"], options("Neg")), ["MUL"]),
    "ADD_N": (added, ["ABS", "ADD", "ABS", "ADD", "ADD", "ADD"]),
    "SQUARE": (lambda m: op(m, "SQUARE", ["x"], options("Square")), ["MUL"]),
    "POW of 2": (lambda m: op(m, "POW", ["x", m.constant("two", [2.0])], options("Pow")), ["MUL"]),
    "POW of 3 is looked up later": (lambda m: op(m, "POW", ["x", m.constant("p", [3.0])], options("Pow")), ["POW"]),
    "division by constants": (divided, ["MUL"]),
    "FLOOR_DIV": (floored, ["ABS", "ADD", "DIV", "FLOOR"]),
    "CUMSUM of rows": (lambda m: cumulated(m, 1), ["TRANSPOSE", "FULLY_CONNECTED", "TRANSPOSE"]),
    "CUMSUM of the last axis": (lambda m: cumulated(m, -1, exclusive=True), ["FULLY_CONNECTED"]),
    "CUMSUM from the other end": (lambda m: cumulated(m, 2, reverse=True), ["FULLY_CONNECTED"]),
    "local response normalisation": (
        lambda m: op(
            m,
            "LOCAL_RESPONSE_NORMALIZATION",
            ["x"],
            options("LocalResponseNormalization", radius=1, bias=1.5, alpha=0.3, beta=0.75),
            (1, 1, 6, 4),
        ),
        ["MUL", "FULLY_CONNECTED", "POW", "MUL"],
    ),
    "x / SQRT(y)": (by_root, ["ABS", "ADD", "RSQRT", "MUL"]),
    "LayerNorm of flax": (
        fast_variance,
        ["MEAN", "MEAN", "SUB", "MUL", "MEAN", "ADD", "RSQRT", "SUB", "MUL"],
    ),
    "LayerNorm of flax, divided": (
        lambda m: fast_variance(m, by_division=True),
        ["MEAN", "MEAN", "SUB", "MUL", "MEAN", "ADD", "RSQRT", "SUB", "MUL"],
    ),
    "a softmax spelt out": (lambda m: spelt_softmax(m, stable=True), ["SOFTMAX"]),
    "a softmax without the largest": (lambda m: spelt_softmax(m, stable=False), ["SOFTMAX"]),
    "shares along another axis": (
        lambda m: spelt_softmax(m, stable=True, axis=1),
        ["REDUCE_MAX", "SUB", "EXP", "SUM", "DIV"],
    ),
    "a sum over another number": (
        lambda m: op(
            m,
            "MUL",
            [
                op(m, "SUM", ["x", m.constant("a", [2], "int32")], options("Reducer", keepDims=True), (1, 6, 1)),
                m.constant("c", [0.5]),
            ],
            options("Mul"),
            (1, 6, 1),
        ),
        ["SUM", "MUL"],
    ),
    "LayerNorm": (
        lambda m: normalised(m, bias=True),
        ["MEAN", "SQUARED_DIFFERENCE", "MEAN", "ADD", "RSQRT", "SUB", "MUL", "MUL", "ADD"],
    ),
    "LayerNorm without bias": (
        lambda m: normalised(m, bias=False),
        ["MEAN", "SQUARED_DIFFERENCE", "MEAN", "ADD", "RSQRT", "SUB", "MUL", "MUL"],
    ),
    "LayerNorm by a difference": (
        lambda m: normalised(m, bias=True, difference=True),
        ["MEAN", "SQUARED_DIFFERENCE", "MEAN", "ADD", "RSQRT", "SUB", "MUL", "MUL", "ADD"],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_the_numbers_stay_and_the_operators_are_those_that_integers_have(case: str):
    make, wanted = CASES[case]
    image = case.startswith("local")  # of four axes, or it has no kernel
    data, samples = (graph(make, (1, 1, 6, 4)), SAMPLES[:, None]) if image else (graph(make), SAMPLES)
    after = rewritten(data)
    assert kinds(after) == wanted
    assert sqnr_db(answers(data, samples), answers(after, samples)) > MIN_DB


def test_a_shape_with_an_open_axis_stays_one():
    model = read_model(graph(reshaped_by_its_own_shape))
    for tensor in model.subgraphs[0].tensors[:2]:
        tensor.shapeSignature = np.array([1, -1, 4], np.int32)
    rewrite(model)
    assert kinds(write_model(model)) == ["ABS", "SHAPE", "STRIDED_SLICE", "MUL", "PACK", "RESHAPE"]


def test_rows_of_all_frames_are_no_batch_though_the_converter_writes_1_for_both():
    """(-1, 6, 4) reshaped to (-1, 4): its first axis is 6 once the batch is 1, and the file says 1."""

    def rows_counted(m: FloatMaker) -> str:
        rows = op(m, "RESHAPE", ["x", m.constant("rows", [-1, 4], "int32")], options("Reshape"), (1, 4))
        shape = m.tensor("shape", (2,), "int32", scale=0)
        m.op("SHAPE", [rows], [shape], 1, options("Shape", outType=schema.TensorType.INT32))
        whole = m.tensor("whole", (3,), "int32", scale=0)
        how = options("Concatenation", axis=0)
        m.op("CONCATENATION", [m.constant("one", [1], "int32"), shape], [whole], 1, how)
        return op(m, "RESHAPE", [rows, whole], options("Reshape"))

    model = read_model(graph(rows_counted))
    for tensor, signature in zip(model.subgraphs[0].tensors, ([-1, 6, 4], None, [-1, 4]), strict=False):
        tensor.shapeSignature = None if signature is None else np.array(signature, np.int32)
    before = write_model(model)
    after = rewritten(before)
    assert "SHAPE" in kinds(after)
    np.testing.assert_array_equal(answers(after, SAMPLES), answers(before, SAMPLES))


def test_a_shape_behind_an_open_batch_is_known():
    model = read_model(graph(reshaped_by_its_own_shape))
    for tensor in model.subgraphs[0].tensors[:2]:
        tensor.shapeSignature = np.array([-1, 6, 4], np.int32)
    rewrite(model)
    assert kinds(write_model(model)) == ["RESHAPE"]


def _integers(m: FloatMaker, kind: str, reads: list[str], how: object, size: int) -> str:
    name = m.tensor(f"{kind}{len(m._graph.tensors)}", (size,), "int32", scale=0)
    m.op(kind, reads, [name], 1, how)
    return name


def _of_shape(kind: str, given: dict[str, list[int]], how: object = None, size: int = 3) -> Callable[[FloatMaker], str]:
    """x reshaped by what an operator makes of its shape, and as many ones as that lacks."""

    def made(m: FloatMaker) -> str:
        shape = _integers(m, "SHAPE", ["x"], options("Shape", outType=schema.TensorType.INT32), 3)
        found = _integers(m, kind, [shape, *(m.constant(n, v, "int32") for n, v in given.items())], how, size)
        whole = _integers(
            m, "CONCATENATION", [found, m.constant("rest", [-1], "int32")], options("Concatenation", axis=0), size + 1
        )
        return op(m, "RESHAPE", ["x", whole], options("Reshape"), (1, 1, 24))

    return made


def _slice(begin: int, end: int, step: int, size: int, **how) -> Callable[[FloatMaker], str]:
    return _of_shape(
        "STRIDED_SLICE", {"from": [begin], "to": [end], "by": [step]}, options("StridedSlice", **how), size
    )


COUNTED = {
    "a GATHER without options": _of_shape("GATHER", {"at": [0, 2, 1]}),
    "a RESHAPE with the shape in its options": _of_shape("RESHAPE", {}, options("Reshape", newShape=[3])),
    "a CAST without options": _of_shape("CAST", {}),
    "an end that is a length": _slice(1, 2, 1, 2, offset=True),
    "a slice of nothing": _slice(0, 0, 1, 0),
    "a slice backwards, beyond the start": _slice(-1, -9, -1, 3),
    "a slice backwards by its masks": _slice(0, 0, -1, 3, beginMask=1, endMask=1),
    "a sum that is clamped": _of_shape("ADD", {"less": [0, -5, 0]}, options("Add", fusedActivationFunction=RELU)),
}


@pytest.mark.parametrize("case", COUNTED)
def test_what_is_counted_of_shapes_is_what_the_runtime_counts(case: str):
    data = graph(COUNTED[case])
    before, after = answers(data, SAMPLES), answers(rewritten(data), SAMPLES)
    assert before.shape == after.shape
    np.testing.assert_array_equal(before, after)


def test_a_division_by_zero_stays_one():
    data = graph(lambda m: op(m, "DIV", ["x", m.constant("by", [1.0, 0.0, 2.0, 3.0])], options("Div")))
    assert kinds(rewritten(data)) == ["DIV"]


def dilated(rank: int, rate: int, padding: tuple[int, int]) -> bytes:
    """A convolution of rows, dilated by SPACE_TO_BATCH_ND, on (1, length, channels) or (1, length, 1, channels)."""
    length, channels, filters, size = 9, 3, 2, 3
    before, after = padding
    fill = -(length + before + after) % rate
    per = (length + before + after + fill) // rate
    made = length + before + after - (size - 1) * rate
    given = (1, length, channels) if rank == 3 else (1, length, 1, channels)
    m = FloatMaker()
    m.real("x", given)
    more = rank - 3
    block = m.constant("block", [rate, 1][: 1 + more], "int32")
    m.real("s", (rate, per, channels) if rank == 3 else (rate, per, 1, channels))
    m.op(
        "SPACE_TO_BATCH_ND",
        ["x", block, m.constant("pads", [[before, after + fill], [0, 0]][: 1 + more], "int32")],
        ["s"],
        1,
    )
    m.real("i", (rate, per, 1, channels))
    if rank == 3:
        m.op("EXPAND_DIMS", ["s", m.constant("two", np.array(2), "int32")], ["i"], 1, options("ExpandDims"))
    weights = m.constant("w", RANDOM.normal(0, 1, (filters, size, 1, channels)))
    m.real("c", (rate, per - size + 1, 1, filters))
    how = options("Conv2D", padding=schema.Padding.VALID, strideH=1, strideW=1)
    m.op("CONV_2D", ["i" if rank == 3 else "s", weights, m.constant("b", [0.5, -0.5])], ["c"], 1, how)
    m.real("q", (rate, per - size + 1, filters))
    if rank == 3:
        m.op("SQUEEZE", ["c"], ["q"], 1, options("Squeeze", squeezeDims=[2]))
    out = (1, made, filters) if rank == 3 else (1, made, 1, filters)
    m.real("y", out)
    left = (per - size + 1) * rate - made
    crops = m.constant("crops", [[0, left], [0, 0]][: 1 + more], "int32")
    m.op("BATCH_TO_SPACE_ND", ["q" if rank == 3 else "c", block, crops], ["y"], 1)
    return m.data(["x"], ["y"])


@pytest.mark.parametrize("rank", [3, 4])
@pytest.mark.parametrize(("rate", "padding"), [(2, (0, 0)), (2, (2, 2)), (3, (6, 0)), (4, (0, 3))])
def test_dilation_between_space_and_batch_is_a_dilated_convolution(rank: int, rate: int, padding: tuple[int, int]):
    data = dilated(rank, rate, padding)
    after = rewritten(data)
    pad, shapes = ["PAD"] if any(padding) else [], ["RESHAPE"] if rank == 3 else []
    assert kinds(after) == [*shapes, *pad, "CONV_2D", *shapes]
    shape = (9, 3) if rank == 3 else (9, 1, 3)
    samples = RANDOM.normal(0, 1, (2, 1, *shape)).astype(np.float32)
    assert sqnr_db(answers(data, samples), answers(after, samples)) > MIN_DB


def sparse(values: np.ndarray) -> object:
    """The rows of a matrix compressed (schema.fbs, SparsityParameters)."""
    form, rows, columns = schema.SparsityParametersT(), schema.DimensionMetadataT(), schema.DimensionMetadataT()
    form.traversalOrder, form.blockMap = np.array([0, 1], np.int32), None
    rows.format, rows.denseSize = schema.DimensionType.DENSE, values.shape[0]
    columns.format = schema.DimensionType.SPARSE_CSR
    columns.arraySegmentsType = columns.arrayIndicesType = schema.SparseIndexVector.Int32Vector
    columns.arraySegments, columns.arrayIndices = schema.Int32VectorT(), schema.Int32VectorT()
    columns.arraySegments.values = np.concatenate([[0], np.cumsum((values != 0).sum(axis=1))]).astype(np.int32)
    columns.arrayIndices.values = np.nonzero(values)[1].astype(np.int32)
    form.dimMetadata = [rows, columns]
    return form


def test_sparse_weights_are_written_out():
    dense = np.where(RANDOM.random((5, 4)) < 0.4, RANDOM.normal(0, 1, (5, 4)), 0).astype(np.float32)
    m = FloatMaker()
    m.real("x", (1, 4))
    kept = m.constant("w", dense[dense != 0])
    m.real("d", (5, 4))
    m.op("DENSIFY", [kept], ["d"], 1, options("Densify"))
    m.real("y", (1, 5))
    m.op("FULLY_CONNECTED", ["x", "d"], ["y"], 1, options("FullyConnected"))
    model = read_model(m.data(["x"], ["y"]))
    weights = model.subgraphs[0].tensors[1]
    weights.shape, weights.sparsity = np.array([5, 4], np.int32), sparse(dense)
    data = write_model(model)
    assert rewrite(model)[0] == "1 sparse weights written out"
    after = write_model(model)
    assert kinds(after) == ["FULLY_CONNECTED"]
    sample = RANDOM.normal(0, 1, (1, 4)).astype(np.float32)
    assert np.allclose(answers(after, [sample])[0], sample @ dense.T, atol=1e-5)
    assert np.allclose(answers(data, [sample]), answers(after, [sample]))


def test_a_custom_transposed_convolution_is_a_builtin_one_and_a_sum():
    weights, bias = RANDOM.normal(0, 1, (2, 2, 2, 3)).astype(np.float32), np.array([1.0, -2.0], np.float32)
    m = FloatMaker()
    m.real("x", (1, 3, 3, 3))
    m.real("y", (1, 6, 6, 2))
    raw = np.array([1, 2, 2], "<i4").tobytes()
    reads = ["x", m.constant("w", weights), m.constant("b", bias)]
    m.op("Convolution2DTransposeBias", reads, ["y"], custom=raw)
    model = read_model(m.data(["x"], ["y"]))
    assert without_custom(model) == ["1 custom transposed convolutions written as TRANSPOSE_CONV"]
    sample = RANDOM.normal(0, 1, (1, 3, 3, 3)).astype(np.float32)
    wanted = np.einsum("hwc,oijc->hiwjo", sample[0], weights).reshape(6, 6, 2) + bias
    assert kinds(write_model(model)) == ["TRANSPOSE_CONV", "ADD"]
    assert np.allclose(answers(write_model(model), [sample])[0][0], wanted, atol=1e-5)


MATH = {
    "Acos": lambda x: math.acos(x / 8),
    "Acosh": lambda x: math.acosh(abs(x) + 1),
    "Asin": lambda x: math.asin(x / 8),
    "Atanh": lambda x: math.atanh(x / 8),
    "Asinh": math.asinh,
    "Atan": math.atan,
    "Cosh": math.cosh,
    "Erf": math.erf,
    "Erfc": math.erfc,
    "Expm1": math.expm1,
    "Inv": lambda x: 1 / x,
    "Reciprocal": lambda x: 1 / x,
    "Sinh": math.sinh,
    "Softsign": lambda x: x / (1 + abs(x)),
    "Tan": math.tan,
}


@pytest.mark.parametrize("prefix", ["", "Flex"])
@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_a_function_that_tflite_lacks_is_written_by_others(name: str, prefix: str):
    def made(m: FloatMaker) -> str:
        """The function where it has a value: between -1 and 1, or above 1, for some."""
        if name == "Acosh":
            size = op(m, "ABS", ["x"], options("Abs"))
            return op(m, prefix + name, [op(m, "ADD", [size, m.constant("one", [1.0])], options("Add"))])
        if name in {"Acos", "Asin", "Atanh"}:
            return op(m, prefix + name, [op(m, "MUL", ["x", m.constant("eighth", [0.125])], options("Mul"))])
        return op(m, prefix + name, ["x"])

    model = read_model(graph(made))
    assert len(without_custom(model)) == 1
    wanted = np.vectorize(MATH[name])(SAMPLES.astype(np.float64))
    assert sqnr_db(wanted, answers(write_model(model), SAMPLES)) > MIN_DB


def test_the_converter_leaves_for_later_just_what_is_written_out():
    assert set(FUNCTIONS) == keras_child.WRITTEN_LATER == set(MATH)


UNARY = {"NEG": "Neg", "SQUARE": "Square", "ABS": "Abs", "RELU": "", "LOGISTIC": "", "TANH": "", "RELU6": ""}
BINARY = {"ADD": "Add", "SUB": "Sub", "MUL": "Mul", "MAXIMUM": "MaximumMinimum", "ADD_N": "AddN"}
STEPS = st.tuples(st.sampled_from([*UNARY, *BINARY, "DIV", "MEAN"]), st.integers(0, 9), st.integers(0, 9))


@settings(max_examples=60, deadline=None)
@given(st.lists(STEPS, min_size=1, max_size=8))
def test_no_rewriting_changes_what_random_graphs_compute(steps: list[tuple[str, int, int]]):
    m, values = FloatMaker(), ["x"]
    m.real("x", SHAPE)
    axis = m.constant("axis", [2], "int32")
    two = m.constant("two", [2.0, -3.0, 0.5, 7.0])
    for kind, one, other in steps:
        left, right = values[one % len(values)], values[other % len(values)]
        if kind == "MEAN":
            row = op(m, kind, [left, axis], options("Reducer", keepDims=True), (1, 6, 1))
            values.append(op(m, "MUL", [left, row], options("Mul")))
        elif kind == "DIV":
            values.append(op(m, kind, [left, two], options("Div")))
        else:
            named = UNARY.get(kind) or BINARY.get(kind)
            reads = [left] if kind in UNARY else [left, right]
            values.append(op(m, kind, reads, options(named) if named else None))
    data = m.data(["x"], [values[-1]])
    before, after = answers(data, SAMPLES[:2] / 3), answers(rewritten(data), SAMPLES[:2] / 3)
    assert np.allclose(before, after, rtol=1e-3, atol=1e-4 * max(1.0, float(np.abs(before).max())))
