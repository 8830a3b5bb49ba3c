"""The prediction: equal to the real compiler on every pair, and each row and condition of the table on its own."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ai_edge_litert import schema_py_generated as schema

from skerry_host.builder.edgetpu.compare import compare
from skerry_host.builder.edgetpu.conditions import CHECKS
from skerry_host.builder.edgetpu.inspect import inspect_file
from skerry_host.builder.edgetpu.preflight import Preflight, preflight_file, preflight_model
from skerry_host.builder.edgetpu.table import operator_table
from skerry_host.builder.recipe.errors import ModelError
from tests.kit.edgetpu.compiler import REAL, source_of
from tests.kit.edgetpu.models import Maker, chain

TABLE = operator_table()
LIMITATION = "Operation is otherwise supported, but not mapped due to some unspecified limitation"


def test_every_real_pair_operator_by_operator(pairs: list[dict[str, str]]) -> None:
    tried = 0
    for row in pairs:
        if row["kind"] == "compiled-only":
            continue
        found = preflight_file(source_of(row["pair"]))
        assert (len(found.all), found.mapped) == (int(row["src_ops"]), int(row["tpu_ops"])), row["pair"]
        assert compare(found, [inspect_file(REAL / row["pair"])]).equal, row["pair"]
        tried += 1
    assert tried == 13


def test_every_file_s_operators_map_for_the_runtime_that_it_needs(pairs: list[dict[str, str]]) -> None:
    """What a file holds its driver can run, whatever the vendor's table says of later runtimes."""
    for row in pairs:
        if row["kind"] != "compiled-only":
            found = preflight_model(source_of(row["pair"]).read_bytes(), int(row["min_runtime"]))
            assert found.mapped == int(row["tpu_ops"]), row["pair"]


def test_the_table_names_only_what_there_is() -> None:
    assert {condition.check for condition in TABLE.conditions.values()} == set(CHECKS)
    for condition in TABLE.conditions.values():
        assert condition.status in TABLE.status
        assert condition.source in TABLE.sources
    for row in TABLE.operators.values():
        assert {*row.first, *row.conditions} <= TABLE.conditions.keys()
        assert not row.status or row.status in TABLE.status


@pytest.mark.parametrize("name", sorted(TABLE.operators.keys() - {"DEQUANTIZE"}))
def test_the_compiler_knows_a_newest_version_of_every_operator_of_the_table(name: str) -> None:
    assert name in TABLE.newest


Build = Callable[[Maker], tuple[str, str]]


def one(kind: str, *inputs: tuple[Any, ...], out: tuple[Any, ...] = ((1, 4, 4, 4),), options: Any = None) -> Preflight:
    """A model of one operator; inputs and output are (shape, dtype, data, scale)."""
    made = Maker()
    names = [made.tensor(f"in{i}", *given) for i, given in enumerate(inputs)]
    last = made.tensor("out", *out)
    made.op(kind, names, [last], options=options)
    return preflight_model(made.data(names[:1], [last]))


def options(kind: str, **fields: Any) -> Any:
    made = getattr(schema, f"{kind}T")()
    for name, value in fields.items():
        setattr(made, name, value)
    return made


ACT = ((1, 4, 4, 4),)
PARAM: Any = "int32"
BIG = ((1, 256, 256, 32),)
DENSE = ((2, 4), "int8", [1] * 8)


def param(*values: int) -> tuple[Any, ...]:
    return ((len(values),), PARAM, list(values), 0.0)


def conv(kernel: tuple[int, int, int, int], **fields: int) -> Preflight:
    weights = (kernel, "int8", [1] * (kernel[0] * kernel[1] * kernel[2] * kernel[3]))
    filled = {"dilationHFactor": 1, "dilationWFactor": 1, **fields}
    return one("CONV_2D", ACT, weights, options=options("Conv2DOptions", **filled))


def pool(activation: int) -> Preflight:
    return one("MAX_POOL_2D", ACT, options=options("Pool2DOptions", fusedActivationFunction=activation))


def dense(**fields: int) -> Preflight:
    return one("FULLY_CONNECTED", ((1, 4),), DENSE, out=((1, 2),), options=options("FullyConnectedOptions", **fields))


def turned(height: int, width: int, depth: int, order: tuple[int, ...] = (0, 3, 1, 2)) -> Preflight:
    shape = (1, height, width, depth)
    return one("TRANSPOSE", (shape,), param(*order), out=(tuple(shape[axis] for axis in order),))


def slopes(shape: tuple[int, int, int]) -> Preflight:
    return one("PRELU", ACT, (shape, "int8", [1] * (shape[0] * shape[1] * shape[2])))


def concat(*inputs: tuple[Any, ...], axis: int = 3) -> Preflight:
    return one("CONCATENATION", *inputs, options=options("ConcatenationOptions", axis=axis))


CASES: list[tuple[str, Callable[[], Preflight], str, str]] = [
    ("plain convolution", lambda: conv((4, 3, 3, 4)), "maps", ""),
    ("unequal dilation", lambda: conv((4, 3, 3, 4), dilationHFactor=2), "cpu", "limitation"),
    ("unequal dilation of a row kernel", lambda: conv((4, 1, 3, 4), dilationWFactor=2), "maps", ""),
    ("grouped convolution", lambda: conv((4, 3, 3, 2)), "unknown", ""),
    ("weights computed at run time", lambda: one("CONV_2D", ACT, ((4, 3, 3, 4),)), "cpu", "constant"),
    ("float of a batch", lambda: one("RELU", ((2, 4, 4, 4), "float32"), out=((2, 4, 4, 4), "float32")), "cpu", "rank"),
    ("a pool with an activation", lambda: pool(1), "unknown", ""),
    ("a pool", lambda: pool(0), "maps", ""),
    ("float", lambda: one("RELU", (ACT[0], "float32"), out=(ACT[0], "float32")), "cpu", "dtype"),
    ("16-bit activations", lambda: one("RELU", (ACT[0], "int16"), out=(ACT[0], "int16")), "cpu", "dtype"),
    ("8-bit without quantization", lambda: one("RELU", (ACT[0], "int8", None, 0.0)), "cpu", "dtype"),
    ("batch of 2", lambda: one("RELU", ((2, 4, 4, 4),), out=((2, 4, 4, 4),)), "cpu", "rank"),
    ("five dimensions", lambda: one("RELU", ((1, 2, 4, 4, 4),), out=((1, 2, 4, 4, 4),)), "cpu", "rank"),
    ("reshape of any rank", lambda: one("RESHAPE", ((2, 4, 4, 4),), param(128), out=((128,),)), "maps", ""),
    ("reshape to a shape of run time", lambda: one("RESHAPE", ACT, ((1,), PARAM), out=((64,),)), "cpu", "constant"),
    ("dynamic size", lambda: one("RELU", ((1, -1, 4, 4),), out=((1, -1, 4, 4),)), "cpu", "limitation"),
    ("float input quantized", lambda: one("QUANTIZE", (ACT[0], "float32")), "cpu", "limitation"),
    ("requantized", lambda: one("QUANTIZE", (ACT[0], "uint8")), "maps", ""),
    ("to float", lambda: one("DEQUANTIZE", ACT, out=(ACT[0], "float32")), "cpu", "dtype"),
    ("not in the table", lambda: one("ABS", ACT), "cpu", "unsupported"),
    ("a custom operator on floats", lambda: one("Custom", ACT, out=(ACT[0], "float32")), "cpu", "dtype"),
    ("compiled already", lambda: one("edgetpu-custom-op", ACT), "cpu", "unsupported"),
    ("zeros concatenated", lambda: concat(ACT, ((1, 4, 4, 1), "int8", [0] * 16)), "maps", ""),
    ("ones concatenated", lambda: concat(ACT, ((1, 4, 4, 1), "int8", [1] * 16)), "cpu", "limitation"),
    ("zeros as the third", lambda: concat(ACT, ACT, ((1, 4, 4, 1), "int8", [0] * 16)), "cpu", "limitation"),
    ("mean over the picture", lambda: one("MEAN", ACT, param(1, 2), out=((1, 4),)), "maps", ""),
    ("mean over the batch", lambda: one("MEAN", ACT, param(0), out=((4, 4, 4),)), "cpu", "limitation"),
    ("mean over a depth of 4", lambda: one("MEAN", ACT, param(-1), out=((1, 4, 4),)), "maps", ""),
    ("mean over a depth of 3", lambda: one("MEAN", ((1, 4, 4, 3),), param(3), out=((1, 4, 4),)), "cpu", "limitation"),
    ("padded picture", lambda: one("PAD", ACT, ((4, 2), PARAM, [0, 0, 1, 1, 1, 1, 0, 0], 0.0)), "maps", ""),
    ("padded batch", lambda: one("PAD", ACT, ((4, 2), PARAM, [0, 1, 0, 0, 0, 0, 0, 0], 0.0)), "cpu", "limitation"),
    ("softmax of 16,384", lambda: one("SOFTMAX", ((1, 16384),), out=((1, 16384),)), "maps", ""),
    ("softmax of 16,385", lambda: one("SOFTMAX", ((1, 16385),), out=((1, 16385),)), "cpu", "limitation"),
    ("softmax of rows", lambda: one("SOFTMAX", ((1, 2, 8),), out=((1, 2, 8),)), "unknown", ""),
    ("softmax of long rows", lambda: one("SOFTMAX", ((2, 16385),), out=((2, 16385),)), "cpu", "limitation"),
    ("twice as large", lambda: one("RESIZE_BILINEAR", ACT, param(8, 8), out=((1, 8, 8, 4),)), "maps", ""),
    ("the same size", lambda: one("RESIZE_BILINEAR", ACT, param(4, 4)), "maps", ""),
    ("4 times as large", lambda: one("RESIZE_BILINEAR", ACT, param(16, 16), out=((1, 16, 16, 4),)), "unknown", ""),
    ("16 times", lambda: one("RESIZE_BILINEAR", ACT, param(64, 64), out=((1, 64, 64, 4),)), "cpu", "limitation"),
    ("8 MiB of pixels", lambda: one("RESIZE_BILINEAR", BIG, param(512, 512), out=((1, 512, 512, 32),)), "unknown", ""),
    ("nearest, twice", lambda: one("RESIZE_NEAREST_NEIGHBOR", ACT, param(8, 8), out=((1, 8, 8, 4),)), "maps", ""),
    ("a pixel repeated", lambda: one("TILE", ((1, 1, 1, 4),), param(1, 4, 4, 1)), "maps", ""),
    ("a picture repeated", lambda: one("TILE", ACT, param(1, 2, 2, 1), out=((1, 8, 8, 4),)), "cpu", "unsupported"),
    (
        "a row of results",
        lambda: one("FULLY_CONNECTED", ((1, 4),), DENSE, out=((1, 2),)),
        "maps",
        "",
    ),
    ("rows of results", lambda: one("FULLY_CONNECTED", ((3, 4),), DENSE, out=((3, 2),)), "maps", ""),
    ("weights of run time", lambda: one("FULLY_CONNECTED", ((1, 4),), ((2, 4),), out=((1, 2),)), "cpu", "constant"),
    ("shuffled weights", lambda: dense(weightsFormat=1), "cpu", "limitation"),
    ("weights in order", lambda: dense(weightsFormat=0), "maps", ""),
    ("a slope for each channel", lambda: slopes((1, 1, 4)), "unknown", ""),
    ("a slope for each value", lambda: slopes((4, 4, 4)), "cpu", "limitation"),
    ("a slope for each row", lambda: slopes((4, 1, 1)), "cpu", "limitation"),
    ("split in depth", lambda: one("SPLIT", ((), PARAM, [3], 0.0), ACT), "maps", ""),
    ("channels first", lambda: one("TRANSPOSE", ACT, param(0, 3, 1, 2)), "maps", ""),
    ("channels first, counted from the end", lambda: one("TRANSPOSE", ACT, param(0, -1, 1, 2)), "maps", ""),
    ("channels last", lambda: one("TRANSPOSE", ACT, param(0, 2, 3, 1)), "unknown", ""),
    ("channels last, large", lambda: turned(64, 64, 65, order=(0, 2, 3, 1)), "cpu", "limitation"),
    *(
        (f"channels first, {size}", lambda s=shape: turned(*s), verdict, status)
        for size, shape, verdict, status in [
            ("16x16x65", (16, 16, 65), "maps", ""),
            ("20x20x144", (20, 20, 144), "maps", ""),
            ("32x32x65", (32, 32, 65), "maps", ""),
            ("one row more", (33, 32, 65), "unknown", ""),
            ("20x20x255", (20, 20, 255), "unknown", ""),
            ("20x20x256", (20, 20, 256), "cpu", "limitation"),
            ("64x64x65", (64, 64, 65), "cpu", "limitation"),
        ]
    ),
    (
        "one channel first",
        lambda: one("TRANSPOSE", ((1, 4, 4, 1),), param(0, 3, 1, 2), out=((1, 1, 4, 4),)),
        "unknown",
        "",
    ),
    ("height and width swapped", lambda: one("TRANSPOSE", ACT, param(0, 2, 1, 3)), "unknown", ""),
    ("documented, never seen", lambda: one("SUM", ACT, param(1, 2), out=((1, 4),)), "unknown", ""),
    ("documented, over the batch", lambda: one("REDUCE_MAX", ACT, param(0), out=((4, 4, 4),)), "cpu", "limitation"),
]


@pytest.mark.parametrize(("name", "make", "verdict", "status"), CASES, ids=[case[0] for case in CASES])
def test_one_operator(name: str, make: Callable[[], Preflight], verdict: str, status: str) -> None:
    (item,) = make().all
    assert (item.verdict, item.status) == (verdict, TABLE.status[status] if status else item.status), item.reason
    assert item.verdict == "maps" or (item.reason and item.evidence)


@pytest.mark.parametrize(("stride", "mask", "verdict"), [(1, 0, "maps"), (2, 0, "cpu"), (1, 1, "cpu")])
def test_strided_slices(stride: int, mask: int, verdict: str) -> None:
    cut = options("StridedSliceOptions", ellipsisMask=mask)
    found = one("STRIDED_SLICE", ((1, 8),), param(0, 0), param(1, 4), param(1, stride), out=((1, 4),), options=cut)
    assert found.all[0].verdict == verdict


def test_what_follows_an_unsupported_operator_names_it() -> None:
    """Pain edgetpu#317, edgetpu#342: operators stay on the CPU, and nothing says because of which."""
    found = preflight_model(chain("RELU", "ABS", "RELU", "TANH"))
    assert [item.verdict for item in found.all] == ["maps", "cpu", "cpu", "cpu"]
    assert [item.cause for item in found.all] == [0, 1, 1, 1]
    assert found.all[3].status == "More than one subgraph is not supported"
    assert [item.op for item in found.causes] == ["ABS"]


def test_what_follows_an_unknown_operator_is_unknown() -> None:
    made = Maker()
    axes = made.tensor("perm", (4,), "int32", [0, 2, 1, 3], 0.0)
    names = [made.tensor(f"t{i}", (1, 4, 4, 4)) for i in range(4)]
    made.op("RELU", names[:1], names[1:2])
    made.op("TRANSPOSE", [names[1], axes], names[2:3])
    made.op("RELU", names[2:3], names[3:4])
    found = preflight_model(made.data(names[:1], names[3:4]))
    assert [(item.verdict, item.cause) for item in found.all] == [("maps", 0), ("unknown", 1), ("unknown", 1)]


def test_an_unknown_operator_behind_an_unsupported_one_is_certain_to_stay() -> None:
    made = Maker()
    axes = made.tensor("perm", (4,), "int32", [0, 2, 1, 3], 0.0)
    names = [made.tensor(f"t{i}", (1, 4, 4, 4)) for i in range(5)]
    made.op("RELU", names[:1], names[1:2])
    made.op("ABS", names[1:2], names[2:3])
    made.op("TRANSPOSE", [names[2], axes], names[3:4])
    made.op("RELU", names[3:4], names[4:5])
    found = preflight_model(made.data(names[:1], names[4:5]))
    assert [(item.verdict, item.cause) for item in found.all] == [("maps", 0), ("cpu", 1), ("cpu", 1), ("cpu", 1)]


def test_a_version_that_the_compiler_does_not_know_costs_the_whole_model() -> None:
    """Pain edgetpu#631, trap 9: an operator's version is too new for the compiler."""
    made = Maker()
    names = [made.tensor(f"t{i}", (1, 4, 4, 4)) for i in range(3)]
    made.op("RELU", names[:1], names[1:2], version=2)
    made.op("TANH", names[1:2], names[2:3], version=4)
    found = preflight_model(made.data(names[:1], names[2:3]))
    assert found.mapped == 0
    assert "it knows TANH up to version 3, operator 1 is version 4" in found.refusal
    assert [item.cause for item in found.all] == [1, 1]
    assert [item.status for item in found.all] == [LIMITATION, "Operation version not supported"]


@pytest.mark.parametrize(("kind", "version"), [("WHERE", 2), ("GELU", 1), ("STABLEHLO_ADD", 1)])
def test_operators_that_came_after_the_compiler(kind: str, version: int) -> None:
    made = Maker()
    made.tensor("a", (1, 4))
    made.tensor("b", (1, 4))
    made.op(kind, ["a"], ["b"], version=version)
    found = preflight_model(made.data(["a"], ["b"]))
    assert (found.mapped, found.all[0].status) == (0, "Operation version not supported")
    assert kind in found.refusal


def test_a_custom_operator_has_no_version_that_the_compiler_must_know() -> None:
    made = Maker()
    made.tensor("a", (1, 4))
    made.tensor("b", (1, 4))
    made.op("TFLite_Detection_PostProcess", ["a"], ["b"], version=9)
    assert not preflight_model(made.data(["a"], ["b"])).refusal


def test_what_public_logs_say_of_a_documented_operator_is_its_evidence() -> None:
    (item,) = one("SUM", ACT, param(1, 2), out=((1, 4),)).all
    assert "public logs: mapped" in item.evidence


def test_an_operator_of_a_newer_runtime_is_unknown_on_an_older_one() -> None:
    made = Maker()
    made.tensor("a", (1, 4), "uint8")
    made.tensor("b", (1, 4))
    made.op("QUANTIZE", ["a"], ["b"])
    data = made.data(["a"], ["b"])
    assert [preflight_model(data, runtime).all[0].verdict for runtime in (12, 11)] == ["maps", "unknown"]


def test_notes() -> None:
    floats = one("RELU", (ACT[0], "float32"), out=(ACT[0], "float32"))
    assert "not quantized" in floats.notes[0]
    assert "compiled already" in one("edgetpu-custom-op", ACT).notes[0]
    large = one("RELU", ((1, 2000, 2000, 4),), out=((1, 2000, 2000, 4),))
    assert (large.all[0].verdict, "large activations" in large.notes[0]) == ("maps", True)


def test_a_model_that_names_a_tensor_it_does_not_have(tmp_path: Path) -> None:
    good = chain("RELU")
    path = tmp_path / "bad.tflite"
    path.write_bytes(good[: len(good) // 2])
    with pytest.raises(ModelError, match="damaged"):
        preflight_file(path)


def test_an_empty_model_maps_nothing() -> None:
    made = Maker()
    made.tensor("a", (1, 4))
    assert preflight_model(made.data(["a"], ["a"])).all == ()
