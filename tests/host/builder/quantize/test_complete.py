"""What the quantizer has no entry for is on integers all the same, or looked up: every operator, and its ends."""

from collections.abc import Callable

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from skerry_agent.processing import Feeding
from skerry_host.builder.data.samples import Samples
from skerry_host.builder.judge.signal import sqnr_db
from skerry_host.builder.modelfile.graph import describe
from skerry_host.builder.modelfile.tflite import read_model
from skerry_host.builder.quantize.inputs import Inputs
from skerry_host.builder.quantize.kernels import KERNELS
from skerry_host.builder.quantize.known_functions import known_function
from skerry_host.builder.quantize.pipeline import quantize
from skerry_host.builder.quantize.ranges import measure
from skerry_host.builder.quantize.regions import regions
from skerry_host.builder.recipe.progress import silent
from skerry_host.builder.recipe.recipe import Quantize
from tests.kit.float_graphs import FloatMaker, answers, kinds, options, source_of

RANDOM = np.random.default_rng(5)
SHAPE = (1, 4, 4, 4)
VALUES = RANDOM.normal(0, 1, (24, *SHAPE[1:])).astype(np.float32)
SAMPLES = Samples.of(VALUES)
TABLE = ["CAST", "ADD", "GATHER"]
Made = tuple[str, tuple[int, ...]]


class Layers(FloatMaker):
    """A graph between two products, as layers stand between others: what the quantizer left is not at the ends."""

    def op1(self, kind: str, reads: list[str], how=None, shape=SHAPE, dtype="float32") -> str:
        name = self.tensor(f"t{len(self._graph.tensors)}", shape, dtype, None, 0)
        self.op(kind, reads, [name], 1, how)
        return name

    def product(self, read: str, shape=SHAPE) -> str:
        """By another number for each channel, so that it is no part of a function of one number."""
        factors = self.constant(f"c{len(self._graph.tensors)}", np.linspace(1.5, 0.75, shape[-1]))
        return self.op1("MUL", [read, factors], options("Mul"), shape)


def model(make: Callable[[Layers, str], Made]) -> bytes:
    m = Layers()
    m.real("x", SHAPE)
    last, shape = make(m, m.product("x"))
    return m.data(["x"], [m.product(last, shape)])


def one(kind: str, how=None, *more: tuple, shape=SHAPE) -> Callable[[Layers, str], Made]:
    """An operator on h, and constants."""

    def make(m: Layers, h: str) -> Made:
        reads = [
            m.constant(f"k{at}", *((value, "int32") if integer else (value,)))
            for at, (value, integer) in enumerate(more)
        ]
        return m.op1(kind, [h, *reads], how, shape), shape

    return make


def masked(kind: str) -> Callable[[Layers, str], Made]:
    """A comparison of two halves, cast to 0 and 1."""

    def make(m: Layers, h: str) -> Made:
        begin = [m.constant(f"b{at}", [0, 0, 0, at], "int32") for at in (0, 2)]
        size = m.constant("size", [1, 4, 4, 2], "int32")
        halves = [m.op1("SLICE", [h, at, size], None, (1, 4, 4, 2)) for at in begin]
        truth = m.tensor("truth", (1, 4, 4, 2), "bool", None, 0)
        m.op(kind, halves, [truth], 1)
        return m.op1("CAST", [truth], options("Cast"), (1, 4, 4, 2)), (1, 4, 4, 2)

    return make


def chosen(kind: str) -> Callable[[Layers, str], Made]:
    """The larger of two halves, by a comparison and a choice."""

    def make(m: Layers, h: str) -> Made:
        begin = [m.constant(f"b{at}", [0, 0, 0, at], "int32") for at in (0, 2)]
        size = m.constant("size", [1, 4, 4, 2], "int32")
        halves = [m.op1("SLICE", [h, at, size], None, (1, 4, 4, 2)) for at in begin]
        truth = m.tensor("truth", (1, 4, 4, 2), "bool", None, 0)
        m.op("GREATER", halves, [truth], 1)
        return m.op1(kind, [truth, *halves], None, (1, 4, 4, 2)), (1, 4, 4, 2)

    return make


def place_of(kind: str) -> Callable[[Layers, str], Made]:
    """The place of an extreme, as a real number."""

    def make(m: Layers, h: str) -> Made:
        axis = m.constant("axis", np.array(3), "int32")
        place = m.tensor("place", (1, 4, 4), "int32", None, 0)
        m.op(kind, [h, axis], [place], 1, options("ArgMax" if kind == "ARG_MAX" else "ArgMin", outputType=2))
        return m.op1("CAST", [place], options("Cast"), (1, 4, 4)), (1, 4, 4)

    return make


def hot(m: Layers, h: str) -> Made:
    axis = m.constant("axis", np.array(3), "int32")
    place = m.tensor("place", (1, 4, 4), "int32", None, 0)
    m.op("ARG_MAX", [h, axis], [place], 1, options("ArgMax", outputType=2))
    ends = [m.constant("on", np.array(1.0)), m.constant("off", np.array(0.0))]
    depth = m.constant("depth", np.array(4), "int32")
    return m.op1("ONE_HOT", [place, depth, *ends], options("OneHot", axis=-1)), SHAPE


def best(m: Layers, h: str) -> Made:
    k = m.constant("k", np.array(2), "int32")
    m.real("values", (1, 4, 4, 2))
    m.tensor("places", (1, 4, 4, 2), "int32", None, 0)
    m.op("TOPK_V2", [h, k], ["values", "places"], 1)
    return "values", (1, 4, 4, 2)


def parts(m: Layers, h: str) -> Made:
    sizes, axis = m.constant("sizes", [1, 3], "int32"), m.constant("axis", np.array(3), "int32")
    m.real("one", (1, 4, 4, 1))
    m.real("three", (1, 4, 4, 3))
    m.op("SPLIT_V", [h, sizes, axis], ["one", "three"], 1, options("SplitV", numSplits=2))
    return m.op1("MUL", ["one", "three"], options("Mul"), (1, 4, 4, 3)), (1, 4, 4, 3)


BLOCKS = (([2, 2], True), ([[0, 0], [0, 0]], True))
KEEP = options("Reducer", keepDims=True)
ROW = (1, 1, 1, 4)
CASES: dict[str, Callable[[Layers, str], Made]] = {
    "ABS": one("ABS", options("Abs")),
    "ARG_MAX": place_of("ARG_MAX"),
    "ARG_MIN": place_of("ARG_MIN"),
    "BATCH_TO_SPACE_ND": lambda m, h: (
        m.op1(
            "BATCH_TO_SPACE_ND",
            [
                m.op1(
                    "SPACE_TO_BATCH_ND",
                    [h, m.constant("b", [2, 2], "int32"), m.constant("z", [[0, 0], [0, 0]], "int32")],
                    None,
                    (4, 2, 2, 4),
                ),
                "b",
                "z",
            ],
        ),
        SHAPE,
    ),
    "DEPTH_TO_SPACE": one("DEPTH_TO_SPACE", options("DepthToSpace", blockSize=2), shape=(1, 8, 8, 1)),
    "ELU": one("ELU"),
    "EQUAL": masked("EQUAL"),
    "EXP": one("EXP", options("Exp")),
    "EXPAND_DIMS": one("EXPAND_DIMS", options("ExpandDims"), (np.array(1), True), shape=(1, 1, 4, 4, 4)),
    "GREATER": masked("GREATER"),
    "GREATER_EQUAL": masked("GREATER_EQUAL"),
    "L2_NORMALIZATION": one("L2_NORMALIZATION", options("L2Norm")),
    "LEAKY_RELU": one("LEAKY_RELU", options("LeakyRelu", alpha=0.2)),
    "LESS": masked("LESS"),
    "LESS_EQUAL": masked("LESS_EQUAL"),
    "LOG_SOFTMAX": one("LOG_SOFTMAX", options("LogSoftmax")),
    "MAXIMUM": one("MAXIMUM", options("MaximumMinimum"), ([-0.5], False)),
    "MINIMUM": one("MINIMUM", options("MaximumMinimum"), ([0.5], False)),
    "NOT_EQUAL": masked("NOT_EQUAL"),
    "ONE_HOT": hot,
    "PRELU": one("PRELU", None, (np.array([[[0.1, -0.3, 1.5, 0.0]]]), False)),
    "REDUCE_MAX": one("REDUCE_MAX", KEEP, ([1, 2], True), shape=ROW),
    "REDUCE_MIN": one("REDUCE_MIN", KEEP, ([1, 2], True), shape=ROW),
    "REDUCE_PROD": one("REDUCE_PROD", KEEP, ([3], True), shape=(1, 4, 4, 1)),
    "RELU6": one("RELU6"),
    "RELU_0_TO_1": one("RELU_0_TO_1"),
    "RELU_N1_TO_1": one("RELU_N1_TO_1"),
    "REVERSE_V2": one("REVERSE_V2", options("ReverseV2"), ([1], True)),
    "SELECT": chosen("SELECT"),
    "SELECT_V2": chosen("SELECT_V2"),
    "SPACE_TO_BATCH_ND": one("SPACE_TO_BATCH_ND", options("SpaceToBatchND"), *BLOCKS, shape=(4, 2, 2, 4)),
    "SPLIT_V": parts,
    "SQUEEZE": one("SQUEEZE", options("Squeeze", squeezeDims=[0]), shape=(4, 4, 4)),
    "TILE": one("TILE", options("Tile"), ([1, 2, 1, 1], True), shape=(1, 8, 4, 4)),
    "TOPK_V2": best,
}
FEW = {
    "ARG_MAX": 8,
    "ARG_MIN": 8,
    "EQUAL": -400,
    "NOT_EQUAL": 15,
    "GREATER": 12,
    "GREATER_EQUAL": 12,
    "LESS_EQUAL": 12,
    "LESS": 12,
    "ONE_HOT": 8,
    "REDUCE_PROD": 18,
}
"""Where a rounded value may choose another place, or a product rounds twice: decibels that are asked for."""

DECOMPOSED = {"PRELU"}
"""Has an entry for slopes that are computed; constant ones are decomposed before."""
PLAN = Quantize()


def on_integers(data: bytes, plan: Quantize = PLAN) -> bytes:
    return quantize(source_of(data), SAMPLES, Feeding(), plan)


def test_an_output_that_an_operator_without_an_entry_reads_too_is_of_integers():
    m = Layers()
    m.real("x", SHAPE)
    between = m.product("x")
    last = m.op1("EXPAND_DIMS", [between, m.constant("axis", 1, "int32")], None, (1, 1, *SHAPE[1:]))
    data = m.data(["x"], [between, m.product(last, (1, 1, *SHAPE[1:]))])
    graph = describe(read_model(on_integers(data)))
    assert [graph.tensors[i].dtype for i in graph.outputs] == ["int8", "int8"]
    assert graph.float_ops() == []


def test_every_row_of_the_table_is_tried():
    assert set(CASES) == set(KERNELS)


@pytest.mark.parametrize("kind", sorted(CASES))
def test_an_operator_without_an_entry_runs_on_int8(kind: str):
    data = model(CASES[kind])
    made = on_integers(data)
    graph = describe(read_model(made))
    assert graph.float_ops() == []
    assert kind in kinds(made) or kind in DECOMPOSED
    assert sqnr_db(answers(data, VALUES[:, None]), answers(made, VALUES[:, None])) > FEW.get(kind, 22)


@pytest.mark.parametrize("kind", ["LEAKY_RELU", "MINIMUM", "REDUCE_MAX", "ABS"])
def test_what_has_a_kernel_of_16_bit_runs_on_int16(kind: str):
    data = model(CASES[kind])
    made = on_integers(data, Quantize(activations="int16", io="int16"))
    assert describe(read_model(made)).float_ops() == []
    assert sqnr_db(answers(data, VALUES[:, None]), answers(made, VALUES[:, None])) > 35


@pytest.mark.parametrize("io", ["int8", "uint8", "float"])
@pytest.mark.parametrize("kind", ["LEAKY_RELU", "REDUCE_MAX", "SIN"])
def test_it_may_be_the_first_and_the_last_operator(kind: str, io: str):
    m = Layers()
    m.real("x", SHAPE)
    last, _shape = (CASES.get(kind) or one(kind))(m, "x")
    data = m.data(["x"], [last])
    made = on_integers(data, Quantize(io=io))
    graph = describe(read_model(made))
    wanted = "float32" if io == "float" else io
    assert (graph.input_specs()[0].dtype, graph.output_specs()[0].dtype) == (wanted, wanted)
    assert {op.name for op in graph.float_ops()} == ({"QUANTIZE", "DEQUANTIZE"} if io == "float" else set())
    assert sqnr_db(answers(data, VALUES[:, None]), answers(made, VALUES[:, None])) > 22


def softplus(m: Layers, h: str) -> Made:
    one_more = m.op1("ADD", [m.op1("EXP", [h], options("Exp")), m.constant("one", [1.0])], options("Add"))
    return m.op1("LOG", [one_more]), SHAPE


def mish(m: Layers, h: str) -> Made:
    return m.op1("MUL", [h, m.op1("TANH", [softplus(m, h)[0]])], options("Mul")), SHAPE


def selu(m: Layers, h: str) -> Made:
    """By a comparison with zeros of its own shape."""
    zeros = m.constant("zeros", np.zeros(SHAPE))
    truth = m.tensor("truth", SHAPE, "bool", None, 0)
    m.op("GREATER", [h, zeros], [truth], 1)
    less = m.op1("SUB", [m.op1("EXP", [h], options("Exp")), m.constant("one", [1.0])], options("Sub"))
    return m.op1("SELECT_V2", [truth, h, m.op1("MUL", [less, m.constant("a", [1.67])], options("Mul"))]), SHAPE


FUNCTIONS = {
    "softplus": softplus,
    "mish": mish,
    "SELU": selu,
    "sine": one("SIN"),
    "sine of a product": lambda m, h: one("SIN")(m, m.product(h)),
    "one over": lambda m, h: (
        m.op1("DIV", [m.constant("n", [2.0]), m.op1("EXP", [h], options("Exp"))], options("Div")),
        SHAPE,
    ),
    "a power": lambda m, h: (
        m.op1("POW", [m.op1("ABS", [h], options("Abs")), m.constant("p", [1.5])], options("Pow")),
        SHAPE,
    ),
    "rounding": one("ROUND"),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_of_one_number_is_one_table(name: str):
    data = model(FUNCTIONS[name])
    made = on_integers(data)
    assert describe(read_model(made)).float_ops() == []
    assert [kind for kind in kinds(made) if kind != "MUL"] == TABLE
    assert sqnr_db(answers(data, VALUES[:, None]), answers(made, VALUES[:, None])) > (15 if name == "rounding" else 28)


def test_a_table_is_nearer_than_its_operators_one_by_one():
    """exp reaches far: on integers, what softplus needs of it lies within few of its steps."""
    wide = Samples.of(VALUES * 4)
    data = model(softplus)
    made = quantize(source_of(data), wide, Feeding(), Quantize())
    assert sqnr_db(answers(data, VALUES[:, None] * 4), answers(made, VALUES[:, None] * 4)) > 30


def chosen_by(slope: float) -> Callable[[Layers, str], Made]:
    """h where it is above 0, else a share of it: by a comparison and a choice."""

    def make(m: Layers, h: str) -> Made:
        truth = m.tensor("truth", SHAPE, "bool", None, 0)
        m.op("GREATER", [h, m.constant("zero", [0.0])], [truth], 1)
        return m.op1("SELECT_V2", [truth, h, m.op1("MUL", [h, m.constant("a", [slope])], options("Mul"))]), SHAPE

    return make


def sigmoid(m: Layers, h: str) -> Made:
    small = m.op1("EXP", [m.op1("MUL", [h, m.constant("minus", [-1.0])], options("Mul"))], options("Exp"))
    more = m.op1("ADD", [small, m.constant("one", [1.0])], options("Add"))
    return m.op1("DIV", [m.constant("n", [1.0]), more], options("Div")), SHAPE


def celu(m: Layers, h: str) -> Made:
    """max(h, 0) + min(exp(h) - 1, 0), as Keras writes it."""
    zero = m.constant("zero", [0.0])
    low = m.op1("SUB", [m.op1("EXP", [h], options("Exp")), m.constant("one", [1.0])], options("Sub"))
    low = m.op1("MINIMUM", [low, zero], options("MaximumMinimum"))
    return m.op1("ADD", [m.op1("MAXIMUM", [h, zero], options("MaximumMinimum")), low], options("Add")), SHAPE


SPELT = {"LEAKY_RELU": chosen_by(0.1), "RELU": chosen_by(0.0), "ABS": chosen_by(-1.0), "LOGISTIC": sigmoid, "ELU": celu}


@pytest.mark.parametrize("kind", SPELT)
def test_a_function_that_one_operator_computes_becomes_that_operator(kind: str):
    data = model(SPELT[kind])
    made = on_integers(data)
    assert kinds(made) == ["MUL", kind, "MUL"]
    assert sqnr_db(answers(data, VALUES[:, None]), answers(made, VALUES[:, None])) > 28


@pytest.mark.parametrize("approximate", [False, True])
def test_gelu_is_recognised_in_both_its_forms(approximate: bool):
    m = Layers()
    m.real("x", (1, 256))
    m.real("y", (1, 256))
    m.op("GELU", ["x"], ["y"], 1, options("Gelu", approximate=approximate))
    found = known_function(m.data(["x"], ["y"]), -3.0, 40.0)
    assert found is not None
    assert (found[0], found[1].approximate) == (schema.BuiltinOperator.GELU, approximate)


def test_what_leaves_a_known_function_within_its_range_is_another():
    """A ReLU that is cut at 20 is a ReLU up to there."""
    m = Layers()
    m.real("x", (1, 256))
    m.real("y", (1, 256))
    m.real("r", (1, 256))
    m.op("RELU", ["x"], ["r"], 1)
    m.op("MINIMUM", ["r", m.constant("most", [20.0])], ["y"], 1, options("MaximumMinimum"))
    data = m.data(["x"], ["y"])
    assert known_function(data, -1.0, 30.0) is None
    assert known_function(data, -1.0, 15.0) is not None


def test_what_is_read_elsewhere_is_no_inner_part_of_a_function():
    def make(m: Layers, h: str) -> Made:
        inner = m.op1("EXP", [h], options("Exp"))
        outer = m.op1("LOG", [m.op1("ADD", [inner, m.constant("one", [1.0])], options("Add"))])
        return m.op1(
            "ADD",
            [m.op1("REDUCE_MAX", [inner, m.constant("axis", [3], "int32")], KEEP, (1, 4, 4, 1)), outer],
            options("Add"),
        ), SHAPE

    data = model(make)
    (region,) = regions(read_model(data))
    assert len(region.places) == 2
    made = on_integers(data)
    assert describe(read_model(made)).float_ops() == []
    assert sqnr_db(answers(data, VALUES[:, None]), answers(made, VALUES[:, None])) > 25


def test_a_function_of_two_values_is_none_of_one():
    def make(m: Layers, h: str) -> Made:
        other = m.op1("TANH", [h])
        half = m.op1("REVERSE_V2", [other, m.constant("axis", [1], "int32")], options("ReverseV2"))
        return m.op1("SIN", [m.op1("MUL", [half, h], options("Mul"))]), SHAPE

    (region,) = regions(read_model(model(make)))
    assert len(region.places) == 1


def test_swish_and_clamps_stay_operators_that_an_edge_tpu_maps():
    def make(m: Layers, h: str) -> Made:
        swish = m.op1("MUL", [h, m.op1("LOGISTIC", [h])], options("Mul"))
        return m.op1("MINIMUM", [swish, m.constant("most", [0.5])], options("MaximumMinimum")), SHAPE

    assert regions(read_model(model(make))) == []


def test_an_output_that_nobody_reads_is_an_integer_like_its_neighbours():
    def make(m: Layers, h: str) -> Made:
        names = [m.real(f"row{at}", (1, 4, 4)) for at in range(4)]
        m.op("UNPACK", [h], names, 1, options("Unpack", axis=3, num=4))
        return "row2", (1, 4, 4)

    data = model(make)
    made = on_integers(data)
    assert describe(read_model(made)).float_ops() == []
    assert sqnr_db(answers(data, VALUES[:, None]), answers(made, VALUES[:, None])) > 25


def test_what_no_integers_compute_stays_in_float_for_a_gate_to_find():
    def make(m: Layers, h: str) -> Made:
        leaky = m.op1("LEAKY_RELU", [h], options("LeakyRelu", alpha=0.2))
        size = m.op1("ADD", [m.op1("ABS", [leaky], options("Abs")), m.constant("e", [0.5])], options("Add"))
        return m.op1("POW", [size, m.op1("REVERSE_V2", [leaky, m.constant("a", [1], "int32")])], options("Pow")), SHAPE

    data = model(make)
    made = on_integers(data)
    left = {op.name for op in describe(read_model(made)).float_ops()}
    assert left == {"QUANTIZE", "DEQUANTIZE", "POW"}
    assert sqnr_db(answers(data, VALUES[:, None]), answers(made, VALUES[:, None])) > 20


def test_the_same_model_gives_the_same_bytes():
    data = model(mish)
    assert on_integers(data) == on_integers(data)


def test_what_feeds_an_operator_that_magnifies_is_not_clipped():
    """Of 1 / sqrt(x), the few values of a small x are the largest: a calibrator that clips would cut them first."""

    def make(m: Layers, h: str) -> Made:
        size = m.op1("ADD", [m.op1("ABS", [h], options("Abs")), m.constant("e", [0.01])], options("Add"))
        return m.op1("RSQRT", [size]), SHAPE

    source = source_of(model(make))
    inputs = Inputs(SAMPLES, Feeding(), source)
    widest, chosen = (measure(source, inputs, Quantize(calibrator=name), silent) for name in ("min-max", "mse"))
    for op in (op for op in source.graph.ops if op.name == "RSQRT"):
        names = [source.graph.tensors[i].name for i in (*op.inputs, *op.outputs)]
        assert [chosen[name] for name in names] == [widest[name] for name in names]
