"""Operators of ONNX written as TFLite's: each is run beside onnxruntime, on shapes whose axes all differ or all agree.

A case is the operator, its attributes, the shape of its input and its constants by place.
"""

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from ai_edge_litert.interpreter import Interpreter
from onnx import TensorProto, helper, numpy_helper

from skerry_host.builder.lowering.convert import lower
from skerry_host.builder.lowering.order import channels_last
from skerry_host.builder.lowering.table import OPERATORS
from skerry_host.builder.lowering.values import UnknownFormError

IMAGE, CUBE, SEQUENCE, TALL = (1, 3, 7, 9), (1, 8, 8, 8), (1, 5, 11), (1, 3, 12, 3)
RANDOM = np.random.default_rng(7)
HALF = "pytorch_half_pixel"


def some(*shape):
    return RANDOM.normal(size=shape).astype(np.float32)


def ints(*values):
    return np.array(values, np.int64)


def graph(nodes, shapes, constants=(), opset=18, outputs=None):
    """A model with inputs x, x1 .. of these shapes; its outputs are of any shape."""
    inputs = [
        helper.make_tensor_value_info(f"x{at or ''}", TensorProto.FLOAT, shape) for at, shape in enumerate(shapes)
    ]
    named = outputs or [nodes[-1].output[0]]
    outs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in named]
    tensors = [numpy_helper.from_array(values, name) for name, values in dict(constants).items()]
    made = helper.make_graph(nodes, "g", inputs, outs, tensors)
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def compare(model, planes=(), low=-1.0):
    """Run both; every output must agree in its order of axes. Returns what was made."""
    source = model.SerializeToString()
    session = ort.InferenceSession(source, providers=["CPUExecutionProvider"])
    given = {each.name: (RANDOM.random(each.shape) * 3 + low).astype(np.float32) for each in session.get_inputs()}
    wanted = session.run(None, given)
    made = lower(onnx.load_from_string(source), set(planes))
    interpreter = Interpreter(model_content=made.data, num_threads=1)
    interpreter.allocate_tensors()
    for (name, order), detail in zip(made.inputs.items(), interpreter.get_input_details(), strict=True):
        interpreter.set_tensor(detail["index"], np.ascontiguousarray(given[name].transpose(order)))
    interpreter.invoke()
    details = interpreter.get_output_details()
    for (name, order), detail, right in zip(made.outputs.items(), details, wanted, strict=True):
        got = interpreter.get_tensor(detail["index"])
        np.testing.assert_allclose(got, np.asarray(right).transpose(order), rtol=2e-4, atol=2e-4, err_msg=name)
    kinds = [detail["op_name"] for detail in interpreter._get_ops_details() if detail["op_name"] != "DELEGATE"]
    return made, kinds


def one(kind, shape, constants=None, opset=18, outputs=1, **attributes):
    """A model of one operator; constants by place."""
    given = {f"c{at}": values for at, values in (constants or {}).items()}
    places = max([0, *(constants or {})])
    inputs = ["x", *(f"c{at}" if at in (constants or {}) else "" for at in range(1, places + 1))]
    names = [f"y{at}" for at in range(outputs)]
    return graph([helper.make_node(kind, inputs, names, **attributes)], [shape], given, opset, names)


CONVS = [
    ("Conv", IMAGE, {1: some(4, 3, 3, 3), 2: some(4)}, {"pads": [1, 1, 1, 1]}),
    ("Conv", IMAGE, {1: some(4, 3, 3, 3)}, {"pads": [1, 1, 1, 1], "strides": [2, 2]}),
    ("Conv", IMAGE, {1: some(4, 3, 3, 3)}, {"auto_pad": "SAME_LOWER", "strides": [2, 2]}),
    ("Conv", IMAGE, {1: some(4, 3, 3, 2)}, {"pads": [0, 1, 2, 0], "dilations": [2, 1]}),
    ("Conv", CUBE, {1: some(8, 8, 3, 3)}, {"pads": [1, 1, 1, 1]}),
    ("Conv", CUBE, {1: some(16, 1, 3, 3)}, {"group": 8}),
    ("Conv", CUBE, {1: some(8, 4, 3, 3), 2: some(8)}, {"group": 2, "pads": [1, 1, 1, 1]}),
    ("Conv", TALL, {1: some(3, 3, 3, 3)}, {"pads": [1, 1, 1, 1]}),
    ("Conv", SEQUENCE, {1: some(5, 5, 3)}, {"pads": [2, 0]}),
    ("Conv", SEQUENCE, {1: some(10, 1, 3)}, {"group": 5, "dilations": [2], "pads": [2, 2]}),
    ("Conv", (1, 2, 5, 6, 7), {1: some(3, 2, 3, 3, 3)}, {"pads": [1] * 6}),
    ("ConvTranspose", IMAGE, {1: some(3, 4, 4, 4), 2: some(4)}, {"strides": [2, 2], "pads": [1, 1, 1, 1]}),
    ("ConvTranspose", IMAGE, {1: some(3, 4, 3, 3)}, {"strides": [2, 2], "pads": [1] * 4, "output_padding": [1, 1]}),
    ("ConvTranspose", IMAGE, {1: some(3, 4, 2, 2)}, {"strides": [3, 3], "output_padding": [2, 2]}),
    ("ConvTranspose", CUBE, {1: some(8, 2, 3, 3)}, {"group": 4, "dilations": [2, 2]}),
    ("ConvTranspose", SEQUENCE, {1: some(5, 4, 4)}, {"strides": [2], "pads": [1, 1]}),
]
POOLS = [
    ("MaxPool", IMAGE, {}, {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}),
    ("MaxPool", IMAGE, {}, {"kernel_shape": [2, 2], "strides": [2, 2], "ceil_mode": 1}),
    ("MaxPool", SEQUENCE, {}, {"kernel_shape": [3], "strides": [2]}),
    ("AveragePool", IMAGE, {}, {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}),
    ("AveragePool", IMAGE, {}, {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "count_include_pad": 1}),
    ("AveragePool", IMAGE, {}, {"kernel_shape": [2, 2], "strides": [2, 2], "ceil_mode": 1}),
    ("GlobalAveragePool", CUBE, {}, {}),
    ("GlobalMaxPool", IMAGE, {}, {}),
]
SHAPING = [
    ("Reshape", IMAGE, {1: ints(0, -1)}, {}),
    ("Reshape", IMAGE, {1: ints(1, 9, 7, 3)}, {}),
    ("Flatten", IMAGE, {}, {"axis": 2}),
    ("Transpose", CUBE, {}, {"perm": [0, 3, 1, 2]}),
    ("Transpose", SEQUENCE, {}, {}),
    ("Squeeze", (1, 5, 1, 3), {1: ints(2)}, {}),
    ("Unsqueeze", SEQUENCE, {1: ints(-1, 1)}, {}),
    ("Slice", IMAGE, {1: ints(1, -4), 2: ints(3, 2**63 - 1), 3: ints(1, 3)}, {}),
    ("Slice", IMAGE, {1: ints(-1), 2: ints(-(2**62)), 3: ints(2), 4: ints(-2)}, {}),
    ("Gather", IMAGE, {1: ints(2, 0, 1)}, {"axis": 1}),
    ("Gather", IMAGE, {1: np.array(1, np.int64)}, {"axis": 2}),
    ("Pad", IMAGE, {1: ints(0, 0, 1, 2, 0, 1, 0, 3)}, {}),
    ("Pad", IMAGE, {1: ints(0, 0, 1, 2, 0, 0, 0, 3)}, {"mode": "reflect"}),
    ("Pad", IMAGE, {1: ints(0, 0, 1, 1, 0, 0, 1, 0)}, {"mode": "edge"}),
    ("Pad", IMAGE, {1: ints(0, 0, -1, 2, 0, 0, 0, -3), 2: np.array(0.5, np.float32)}, {}),
    ("Tile", IMAGE, {1: ints(1, 2, 1, 3)}, {}),
    ("Expand", (1, 3, 1, 9), {1: ints(1, 3, 7, 9)}, {}),
    ("DepthToSpace", (1, 12, 3, 5), {}, {"blocksize": 2, "mode": "CRD"}),
    ("DepthToSpace", (1, 12, 3, 5), {}, {"blocksize": 2, "mode": "DCR"}),
    ("SpaceToDepth", (1, 3, 4, 6), {}, {"blocksize": 2}),
]
REDUCED = [
    ("ReduceMean", IMAGE, {1: ints(2, 3)}, {"keepdims": 0}),
    ("ReduceMax", IMAGE, {1: ints(1)}, {}),
    ("ReduceL2", CUBE, {1: ints(-1)}, {}),
    ("ReduceLogSumExp", IMAGE, {1: ints(2)}, {"keepdims": 0}),
    ("ReduceSum", IMAGE, {}, {}),
    ("Softmax", IMAGE, {}, {"axis": 1}),
    ("LayerNormalization", IMAGE, {1: some(9), 2: some(9)}, {"axis": -1}),
    ("InstanceNormalization", CUBE, {1: some(8), 2: some(8)}, {}),
    ("LpNormalization", IMAGE, {}, {"axis": 1}),
    ("LpNormalization", IMAGE, {}, {"axis": 1, "p": 1}),
    ("MeanVarianceNormalization", IMAGE, {}, {}),
    ("LRN", CUBE, {}, {"size": 5, "alpha": 0.3}),
    ("CumSum", IMAGE, {1: np.array(2, np.int64)}, {"reverse": 1}),
]
RESIZED = [
    ("Resize", IMAGE, {2: np.array([1, 1, 2, 2], np.float32)}, {"mode": "nearest", "nearest_mode": "floor"}),
    ("Resize", IMAGE, {3: ints(1, 3, 10, 5)}, {"mode": "nearest", "coordinate_transformation_mode": "asymmetric"}),
    ("Resize", IMAGE, {3: ints(1, 3, 12, 20)}, {"mode": "linear", "coordinate_transformation_mode": "align_corners"}),
    (
        "Resize",
        IMAGE,
        {3: ints(1, 3, 9, 5)},
        {"mode": "linear", "coordinate_transformation_mode": "pytorch_half_pixel"},
    ),
    ("Resize", IMAGE, {2: np.array([1, 1, 1.3, 1.7], np.float32)}, {"mode": "linear"}),
    ("Resize", IMAGE, {3: ints(1, 3, 13, 5)}, {"mode": "cubic"}),
    ("Resize", SEQUENCE, {3: ints(1, 5, 17)}, {"mode": "linear"}),
]
PRODUCTS = [
    ("MatMul", IMAGE, {1: some(9, 4)}, {}),
    ("MatMul", CUBE, {1: some(8, 8)}, {}),
    ("Gemm", (4, 6), {1: some(5, 6), 2: some(5)}, {"transB": 1, "alpha": 0.5, "beta": 2.0}),
    ("Gemm", (6, 4), {1: some(6, 5), 2: some(4, 5)}, {"transA": 1}),
    ("PRelu", IMAGE, {1: some(3, 1, 1)}, {}),
]
CASES = [*CONVS, *POOLS, *SHAPING, *REDUCED, *RESIZED, *PRODUCTS]


@pytest.mark.parametrize("pixels", [True, False], ids=["pixels", "planes"])
@pytest.mark.parametrize(("kind", "shape", "constants", "attributes"), CASES)
def test_an_operator_computes_what_onnxruntime_does(kind, shape, constants, attributes, pixels):
    """Whether its input is held as pixels or as in ONNX: sizes that agree must not be mistaken for each other."""
    model = one(kind, shape, constants, **attributes)
    if pixels:
        if len(shape) != 4:
            return
        compare(model, {"x"})
    else:
        compare(model)


ACTIVATIONS = [
    ("Clip", {"min": 0.0, "max": 6.0}, 6),
    ("Clip", {"min": -0.5}, 6),
    ("Clip", {"max": 0.75}, 6),
    *((kind, {}, 18) for kind in ("Relu", "Sigmoid", "Tanh", "Softplus", "Mish")),
    *((kind, {}, 18) for kind in ("HardSwish", "Elu", "Exp", "Abs", "Neg")),
    ("Elu", {"alpha": 0.5}, 18),
    ("Celu", {"alpha": 2.0}, 18),
    ("Selu", {}, 18),
    ("Softsign", {}, 18),
    ("LeakyRelu", {"alpha": 0.2}, 18),
    ("HardSigmoid", {}, 18),
    ("Gelu", {}, 20),
    ("Gelu", {"approximate": "tanh"}, 20),
]


@pytest.mark.parametrize(("kind", "attributes", "opset"), ACTIVATIONS)
def test_activations(kind, attributes, opset):
    compare(one(kind, IMAGE, opset=opset, **attributes), {"x"})


@pytest.mark.parametrize(
    ("kind", "opset", "constants", "attributes"),
    [
        ("Slice", 9, {}, {"starts": [1], "ends": [5], "axes": [2]}),
        ("Pad", 9, {}, {"pads": [0, 0, 1, 1, 0, 0, 1, 1], "value": 0.0}),
        ("Squeeze", 11, {}, {"axes": [0]}),
        ("Unsqueeze", 11, {}, {"axes": [0]}),
        ("ReduceMean", 11, {}, {"axes": [2, 3], "keepdims": 0}),
        ("ReduceSum", 11, {}, {"axes": [1]}),
        ("Softmax", 11, {}, {"axis": 1}),
        ("Softmax", 11, {}, {"axis": 3}),
        ("Upsample", 9, {1: np.array([1, 1, 2, 2], np.float32)}, {"mode": "nearest"}),
        ("Upsample", 7, {}, {"scales": [1.0, 1.0, 2.0, 2.0], "mode": "nearest"}),
        ("Resize", 10, {1: np.array([1, 1, 2, 2], np.float32)}, {"mode": "linear"}),
        ("RMSNormalization", 23, {1: some(9)}, {}),
    ],
)
def test_older_and_newer_forms_of_operators(kind, opset, constants, attributes):
    compare(one(kind, IMAGE, constants, opset, **attributes), {"x"})


def test_batch_and_group_normalisation():
    values = {1: some(8), 2: some(8), 3: some(8), 4: np.abs(some(8)) + 0.1}
    compare(one("BatchNormalization", CUBE, values, 9), {"x"})
    compare(one("GroupNormalization", CUBE, {1: some(8), 2: some(8)}, 21, num_groups=2), {"x"})


@pytest.mark.parametrize("shapes", [[(1, 4, 5, 6), (1, 4, 6, 3)], [(1, 4, 5, 6), (6, 6)], [(5, 6), (6, 7)]])
def test_a_product_of_two_computed_values(shapes):
    compare(graph([helper.make_node("MatMul", ["x", "x1"], ["y"])], shapes))


@pytest.mark.parametrize("equation", ["bij,bjk->bik", "bij,bkj->bik", "bij,bkj->bki", "bij,bkj->kib"])
def test_einsum(equation):
    shapes = [(2, 3, 4), (2, 4, 5) if "jk" in equation else (2, 5, 4)]
    compare(graph([helper.make_node("Einsum", ["x", "x1"], ["y"], equation=equation)], shapes))


@pytest.mark.parametrize("shape", [(1, 3, 7, 9), (3, 1, 1), (9,), (7, 1), (1, 1, 1, 1)])
def test_a_smaller_value_is_spread_over_a_larger(shape):
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"]),
        helper.make_node("Sub", ["x1", "c"], ["s"]),
        helper.make_node("Mul", ["s", "k"], ["y"]),
    ]
    compare(graph(nodes, [IMAGE, shape], {"w": some(3, 3, 1, 1), "k": some(3, 1, 1)}), {"x"})


def test_pixels_last_of_an_export_from_tensorflow_are_left_as_they_are():
    """(1, 224, 224, 3), turned by the model itself: no TRANSPOSE is left of it, nor at its end."""
    nodes = [
        helper.make_node("Transpose", ["x"], ["t"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["t", "w"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("Transpose", ["c"], ["y"], perm=[0, 2, 3, 1]),
    ]
    made, kinds = compare(graph(nodes, [(1, 6, 6, 6)], {"w": some(6, 6, 3, 3)}))
    assert kinds == ["CONV_2D"]
    assert (made.inputs["x"], made.outputs["y"]) == ((0, 1, 2, 3), (0, 1, 2, 3))


def test_maps_leave_as_pixels_and_all_else_as_in_the_source():
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["map"]),
        helper.make_node("Reshape", ["map", "s"], ["rows"]),
    ]
    model = graph(nodes, [IMAGE], {"w": some(4, 3, 1, 1), "s": ints(1, 4, 63)}, outputs=["map", "rows"])
    made, _kinds = compare(model, {"x"})
    assert made.outputs == {"map": channels_last(4), "rows": (0, 1, 2)}
    assert list(made.inputs.items()) == [("x", channels_last(4))]


def test_weights_are_moved_in_place_of_what_is_flattened():
    """A TRANSPOSE of a large map stays on the CPU of an Edge TPU; the weights behind it are turned for nothing."""
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"]),
        helper.make_node("Flatten", ["c"], ["f"]),
        helper.make_node("Gemm", ["f", "v"], ["y"], transB=1),
    ]
    _made, kinds = compare(graph(nodes, [CUBE], {"w": some(8, 8, 1, 1), "v": some(5, 512)}), {"x"})
    assert "TRANSPOSE" not in kinds


def test_a_sum_after_a_product_is_its_bias():
    nodes = [helper.make_node("MatMul", ["x", "w"], ["m"]), helper.make_node("Add", ["b", "m"], ["y"])]
    _made, kinds = compare(graph(nodes, [SEQUENCE], {"w": some(11, 4), "b": some(4)}))
    assert kinds == ["FULLY_CONNECTED"]


def test_a_division_by_a_root_becomes_a_product():
    nodes = [
        helper.make_node("Mul", ["x", "x"], ["q"]),
        helper.make_node("Add", ["q", "e"], ["p"]),
        helper.make_node("Sqrt", ["p"], ["r"]),
        helper.make_node("Div", ["x", "r"], ["y"]),
    ]
    _made, kinds = compare(graph(nodes, [SEQUENCE], {"e": np.array(0.1, np.float32)}))
    assert "DIV" not in kinds


def test_the_largest_and_where_they_are():
    model = one("TopK", SEQUENCE, {1: ints(3)}, outputs=2, axis=1)
    model.graph.output[1].type.tensor_type.elem_type = TensorProto.INT64
    compare(model)


def test_an_infinite_limit_is_none():
    """JAX writes the largest of a value and minus infinity: a weight that is not finite."""
    nodes = [helper.make_node("Max", ["x", "k"], ["m"]), helper.make_node("Relu", ["m"], ["y"])]
    _made, kinds = compare(graph(nodes, [SEQUENCE], {"k": np.array(-np.inf, np.float32)}))
    assert kinds == ["RELU"]


def test_outputs_that_are_one_value_or_an_input_are_tensors_of_their_own():
    nodes = [helper.make_node("Relu", ["x"], ["r"]), helper.make_node("Identity", ["r"], ["s"])]
    nodes.append(helper.make_node("Identity", ["x"], ["t"]))
    compare(graph(nodes, [IMAGE], outputs=["r", "s", "t"]), {"x"})


@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize(
    ("kind", "gates", "attributes"),
    [("LSTM", 4, {}), ("GRU", 3, {"linear_before_reset": 1}), ("GRU", 3, {}), ("RNN", 1, {})],
)
def test_a_recurrent_layer_is_written_out(kind, gates, attributes, direction):
    """With states that come in and go out, as a streaming model has them."""
    ways = 2 if direction == "bidirectional" else 1
    values = {"w": some(ways, gates * 6, 5), "r": some(ways, gates * 6, 6), "b": some(ways, 2 * gates * 6)}
    states = ["x1", "x2"][: 2 if kind == "LSTM" else 1]
    outputs = ["y", "h", "c"][: 1 + len(states)]
    inputs = ["x", "w", "r", "b", "", *states]
    node = helper.make_node(kind, inputs, outputs, hidden_size=6, direction=direction, **attributes)
    shapes = [(7, 1, 5), *((ways, 1, 6) for _state in states)]
    compare(graph([node], shapes, values, outputs=outputs))
    alone = helper.make_node(kind, inputs[:4], ["y"], hidden_size=6, direction=direction, **attributes)
    compare(graph([alone], shapes[:1], values))


def test_padding_never_wins_a_max_pool():
    """All of the input is below zero: padding with zeros would answer zero at the edges."""
    model = one("MaxPool", IMAGE, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    compare(model, {"x"}, low=-9.0)


@pytest.mark.parametrize(
    ("kind", "attributes"),
    [
        ("ThresholdedRelu", {}),
        ("LRN", {"size": 4}),
        ("MaxPool", {"kernel_shape": [2, 2], "dilations": [2, 2]}),
    ],
)
def test_what_is_not_known_is_named(kind, attributes):
    with pytest.raises(UnknownFormError, match=kind):
        lower(one(kind, IMAGE, **attributes), set())


def test_the_table_has_every_operator_once():
    assert len(OPERATORS) > 80
