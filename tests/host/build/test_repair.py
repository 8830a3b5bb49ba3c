"""Float graphs that the quantizer would spoil or leave in float: rewritten, computing the same, and int8 in the end."""

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from skerry_agent.wire.manifest import Preprocess
from skerry_host.build.data import Samples
from skerry_host.build.load import load_source
from skerry_host.build.quantize import quantize
from skerry_host.build.recipe import Quantize
from skerry_host.build.session import Session
from skerry_host.build.tflite import read_model, write_model

from .conftest import FASHION

B = schema.BuiltinOperator
NONE = schema.ActivationFunctionType.NONE


def operator(model, builtin: int, read: int, written: int):
    code = schema.OperatorCodeT()
    code.builtinCode, code.deprecatedBuiltinCode, code.version = builtin, min(builtin, 127), 1
    model.operatorCodes.append(code)
    op = schema.OperatorT()
    op.opcodeIndex = len(model.operatorCodes) - 1
    op.inputs, op.outputs = np.array([read], np.int32), np.array([written], np.int32)
    return op


def tensor(model, like: int, name: bytes, dtype: int = 0, data=None) -> int:
    main, made = model.subgraphs[0], schema.TensorT()
    made.name, made.type, made.shape, made.buffer = name, dtype, main.tensors[like].shape, 0
    if data is not None:
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(data.tobytes(), np.uint8)
        model.buffers.append(buffer)
        made.buffer = len(model.buffers) - 1
    main.tensors.append(made)
    return len(main.tensors) - 1


def clamp_after(model, place: int, builtin: int) -> None:
    """A stand-alone clamp behind operator `place`, which clamps nothing itself any more."""
    main = model.subgraphs[0]
    before = main.operators[place]
    if hasattr(before.builtinOptions, "fusedActivationFunction"):
        before.builtinOptions.fusedActivationFunction = NONE
    end = int(before.outputs[0])
    between = tensor(model, end, b"before the clamp")
    before.outputs = np.array([between], np.int32)
    main.operators.insert(place + 1, operator(model, builtin, between, end))


def halve_weights(model) -> None:
    """All weights of convolutions as float16 behind a DEQUANTIZE, as fp16 conversion leaves them (trap 5)."""
    main, added = model.subgraphs[0], []
    for op in main.operators:
        if len(op.inputs) > 1 and len(main.tensors[op.inputs[1]].shape) == 4:
            weights = int(op.inputs[1])
            values = np.asarray(model.buffers[main.tensors[weights].buffer].data, np.uint8).view(np.float32)
            half = tensor(model, weights, b"half %d" % weights, schema.TensorType.FLOAT16, values.astype(np.float16))
            main.tensors[weights].buffer = 0
            added.append(operator(model, B.DEQUANTIZE, half, weights))
    main.operators[0:0] = added


def mean_place(model) -> int:
    names = [model.operatorCodes[op.opcodeIndex].builtinCode for op in model.subgraphs[0].operators]
    return names.index(B.MEAN)


CASES = {
    "float16 weights (trap 5)": (halve_weights, "15 float16 weights widened"),
    "RELU6 of its own behind a convolution (trap 6)": (
        lambda model: clamp_after(model, 0, B.RELU6),
        "1 clamps fused or rewritten",
    ),
    "RELU6 of its own behind a mean (trap 6)": (
        lambda model: clamp_after(model, mean_place(model), B.RELU6),
        "1 clamps fused or rewritten",
    ),
    "RELU_0_TO_1 (trap 6)": (
        lambda model: clamp_after(model, mean_place(model), B.RELU_0_TO_1),
        "1 clamps fused or rewritten",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_rewritten_computes_the_same_and_becomes_int8(float_model: bytes, tmp_path, case: str):
    change, words = CASES[case]
    model = read_model(float_model)
    change(model)
    given = write_model(model)
    (tmp_path / "m.tflite").write_bytes(given)
    source = load_source(tmp_path / "m.tflite")
    assert source.changes == (words,)
    data = np.load(FASHION / "calibration.npz")
    prep = Preprocess(1 / 255)
    one, two = Session(given), Session(source.data)
    for raw in data["inputs"][:5]:
        np.testing.assert_allclose(two.run_raw(raw, prep)[0], one.run_raw(raw, prep)[0], atol=1e-5)
    made = Session(quantize(source, Samples(data["inputs"][:30], data["labels"][:30]), prep, Quantize()))
    assert not made.graph.float_ops()
