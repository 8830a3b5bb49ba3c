"""Ranges that come with a model: taken out of the graph, whoever wrote them, and refused where they are incomplete."""

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from skerry_agent.processing import Feeding
from skerry_agent.wire.manifest import Preprocess
from skerry_host.builder.data.samples import Samples
from skerry_host.builder.modelfile.graph import describe
from skerry_host.builder.modelfile.tflite import read_model, write_model
from skerry_host.builder.quantize.pipeline import quantize
from skerry_host.builder.recipe.errors import ModelError
from skerry_host.builder.recipe.recipe import Quantize
from skerry_host.builder.rewrite.trained_ranges import take_ranges
from skerry_host.builder.runtime.session import Session
from skerry_host.builder.sources.load import load_source
from tests.kit.recipes import FASHION

B = schema.BuiltinOperator


def tensor(main, name: str, dtype: int, like) -> int:
    made = schema.TensorT()
    made.name, made.type, made.shape, made.buffer = name.encode(), dtype, like.shape, 0
    main.tensors.append(made)
    return len(main.tensors) - 1


def operator(model, builtin: int, read: int, written: int, options=None):
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = builtin
    code.version = 1
    model.operatorCodes.append(code)
    op = schema.OperatorT()
    op.opcodeIndex = len(model.operatorCodes) - 1
    op.inputs, op.outputs = np.array([read], np.int32), np.array([written], np.int32)
    if options is not None:
        op.builtinOptionsType, op.builtinOptions = schema.BuiltinOptions.FakeQuantOptions, options
    return op


def rounded_by(model, place: int, make):
    """Round what operator `place` reads first, by the operators that `make(model, main, index)` gives."""
    main = model.subgraphs[0]
    index = int(main.operators[place].inputs[0])
    ops = make(model, main, index)
    main.operators[place].inputs[0] = ops[-1].outputs[0]
    main.operators[place:place] = ops
    return model


def fake(model, main, index: int):
    options = schema.FakeQuantOptionsT()
    options.min, options.max, options.numBits, options.narrowRange = -1.0, 3.0, 8, False
    return [operator(model, B.FAKE_QUANT, index, tensor(main, "fake", 0, main.tensors[index]), options)]


def pair(model, main, index: int, dtype: int = schema.TensorType.UINT8):
    middle = tensor(main, "middle", dtype, main.tensors[index])
    form = schema.QuantizationParametersT()
    form.scale, form.zeroPoint = np.array([0.5], np.float32), np.array([100], np.int64)
    main.tensors[middle].quantization = form
    after = tensor(main, "after", 0, main.tensors[index])
    return [operator(model, B.QUANTIZE, index, middle), operator(model, B.DEQUANTIZE, middle, after)]


@pytest.mark.parametrize(("make", "ends"), [(fake, (-1.0, 3.0)), (pair, (-50.0, 77.5))])
def test_a_rounding_becomes_a_range_and_leaves_the_graph(float_model: bytes, make, ends):
    plain = read_model(float_model)
    model = rounded_by(read_model(float_model), 3, make)
    name = plain.subgraphs[0].tensors[plain.subgraphs[0].operators[3].inputs[0]].name.decode()
    assert take_ranges(model) == {name: ends}
    assert describe(model).ops[3].inputs == describe(plain).ops[3].inputs
    assert len(describe(model).ops) == len(describe(plain).ops)


def test_the_quantizer_uses_it_whatever_the_samples_say(float_model: bytes, tmp_path):
    model = rounded_by(read_model(float_model), 3, pair)
    (tmp_path / "m.tflite").write_bytes(write_model(model))
    source = load_source(tmp_path / "m.tflite")
    assert source.changes == ("1 trained ranges kept (QAT)",)
    data = np.load(FASHION / "calibration.npz")
    samples = Samples.of(data["inputs"][:20], truth=data["labels"][:20])
    for calibrator in ("moving-average", "percentile"):
        graph = Session(
            quantize(source, samples, Feeding((Preprocess(1 / 255),)), Quantize(calibrator=calibrator))
        ).graph
        read = graph.tensors[graph.ops[3].inputs[0]]
        assert (read.scale, read.zero_point) == (0.5, -28)


def test_weights_are_clipped_not_rounded(float_model: bytes):
    model = read_model(float_model)
    main = model.subgraphs[0]
    conv = main.operators[0]
    weights = main.tensors[conv.inputs[1]]
    before = np.asarray(model.buffers[weights.buffer].data, np.uint8).view(np.float32).copy()
    ops = pair(model, main, int(conv.inputs[1]), schema.TensorType.INT8)
    form = main.tensors[ops[0].outputs[0]].quantization
    channels = weights.shape[0]
    form.scale = np.full(channels, 1e-3, np.float32)
    form.zeroPoint, form.quantizedDimension = np.zeros(channels, np.int64), 0
    conv.inputs[1] = ops[1].outputs[0]
    main.operators[0:0] = ops
    assert take_ranges(model) == {}
    after = np.asarray(model.buffers[weights.buffer].data, np.uint8).view(np.float32)
    np.testing.assert_array_equal(after, np.clip(before, np.float32(-0.128), np.float32(0.127)))


def test_a_range_behind_a_reshape_holds_before_it(float_model: bytes):
    model = read_model(float_model)
    main = model.subgraphs[0]
    index = int(main.operators[3].inputs[0])
    shaped = tensor(main, "shaped", 0, main.tensors[index])
    main.operators[3].inputs[0] = shaped
    main.operators.insert(3, operator(model, B.RESHAPE, index, shaped))
    rounded_by(model, 4, pair)
    ranges = take_ranges(model)
    assert ranges == {"shaped": (-50.0, 77.5), main.tensors[index].name.decode(): (-50.0, 77.5)}


def test_an_output_that_was_rounded_is_the_one_before(float_model: bytes):
    model = read_model(float_model)
    main = model.subgraphs[0]
    end = int(main.outputs[0])
    ops = pair(model, main, end)
    main.operators += ops
    main.outputs[0] = model.signatureDefs[0].outputs[0].tensorIndex = int(ops[1].outputs[0])
    take_ranges(model)
    assert describe(model).outputs == (end,)
    assert describe(model).output_names == {"probabilities": end}


def test_half_a_pair_is_one_line(float_model: bytes, tmp_path):
    model = read_model(float_model)
    main = model.subgraphs[0]
    ops = pair(model, main, int(main.operators[-1].outputs[0]))
    main.operators.append(ops[0])
    main.outputs[0] = model.signatureDefs[0].outputs[0].tensorIndex = int(ops[0].outputs[0])
    (tmp_path / "m.tflite").write_bytes(write_model(model))
    with pytest.raises(
        ModelError, match=r"1 of its operators \(QUANTIZE\) are not pairs from quantization-aware"
    ) as found:
        load_source(tmp_path / "m.tflite")
    assert "\n" not in str(found.value)
