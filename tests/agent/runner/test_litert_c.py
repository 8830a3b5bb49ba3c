"""The C API of ai-edge-litert: the Interpreter's answers to the last bit, without numpy, or not used at all."""

import sys
from pathlib import Path

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from skerry_agent.runner.arrays import from_array
from skerry_agent.runner.engines import ModelFile, litert, litert_c, open_engine
from skerry_agent.runner.engines.tflite import TfliteEngine
from skerry_agent.runner.errors import EngineError, InferenceError
from tests.agent.runner.conftest import _random
from tests.kit.running_sum import running_sum
from tests.kit.tiny_models import infer, tiny_model

FASHION = Path(__file__).parents[3] / "models" / "fashion" / "fashion-1.0.0.tflite"


def both(path, threads=1):
    file = ModelFile(str(path), threads)
    return litert_c.open_compiled(file), litert.open_interpreter(file)


def assert_equal(path, threads=1):
    ours, theirs = both(path, threads)
    assert (ours.inputs, ours.outputs) == (theirs.inputs, theirs.outputs)
    rng = np.random.default_rng(1)
    for _ in range(2):
        sample = [from_array(_random(rng, 1, spec).reshape(spec.shape)) for spec in ours.inputs]
        pairs = zip(ours.infer(sample), theirs.infer(sample), strict=True)
        assert all((a.dtype, a.shape, a.data) == (b.dtype, b.shape, b.data) for a, b in pairs)
    ours.close()


@pytest.mark.parametrize(
    "name",
    [
        "edgetpu/mobilenet_v1_0.25_128_quant.tflite",
        "edgetpu/mobilenet_v2_1.0_224_quant.tflite",
        "edgetpu/deeplabv3_mnv2_dm05_pascal_quant.tflite",
        "edgetpu/split_concat.tflite",
        "delta/mnv2_v1.tflite",
    ],
)
def test_real_models_give_the_interpreter_s_answers_to_the_last_bit(real_model, name):
    assert_equal(real_model(name), threads=2)


@pytest.mark.parametrize("kind", ["add", "log", "zero", "copy"])
def test_small_models_do_too(tmp_path, kind):
    (tmp_path / "model.tflite").write_bytes(tiny_model(kind))
    assert_equal(tmp_path / "model.tflite")


def test_inputs_are_in_the_order_of_the_subgraph_not_of_the_signature(tmp_path):
    """A signature sorts its inputs by name; the Interpreter, and so every bundle, has the subgraph's order."""
    (tmp_path / "model.tflite").write_bytes(with_signature(tiny_model("add")))
    ours, theirs = both(tmp_path / "model.tflite")
    assert [spec.name for spec in ours.inputs] == [spec.name for spec in theirs.inputs] == ["x", "c"]
    sample = [np.array([[9, 9, 9, 9]], np.float32), np.array([[1, 2, 3, 4]], np.float32)]
    assert infer(ours, sample)[0].tolist() == infer(theirs, sample)[0].tolist() == [[8, 7, 6, 5]]


def test_what_it_does_not_take_the_interpreter_does(real_model):
    path = real_model("edgetpu/keras_lstm_mnist_ptq.tflite")
    with pytest.raises(EngineError, match="does not take"):
        litert_c.open_compiled(ModelFile(str(path)))
    assert isinstance(open_engine("litert", ModelFile(str(path))), TfliteEngine)


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ("sum", "keeps something from one inference to the next"),
        ("passes its input on", "an input is an output"),
        ("where not zero", "depends on what the inputs hold"),
    ],
)
def test_what_it_would_answer_otherwise_the_interpreter_answers(tmp_path, kind, why):
    """Its first run would be part of a sum; of an input that is an output it answers zeros; it has no open shapes."""
    made = {"sum": lambda: running_sum(3), "passes its input on": passed_on, "where not zero": where_not_zero}
    (tmp_path / "model.tflite").write_bytes(made[kind]())
    file = ModelFile(str(tmp_path / "model.tflite"))
    with pytest.raises(EngineError, match=why):
        litert_c.open_compiled(file)
    assert isinstance(open_engine("litert", file), TfliteEngine)


def test_an_operator_that_nobody_knows_is_refused_in_the_interpreter_s_words(real_model):
    path = real_model("edgetpu/model_invoking_error.tflite")
    with pytest.raises(EngineError, match="unresolved custom op: fake-op-double"):
        open_engine("litert", ModelFile(str(path)))


@pytest.mark.parametrize(("folder", "record"), [("other", "2.3.0"), ("ai_edge_litert", "2.9.0")])
def test_another_layout_or_release_of_the_package_is_left_to_the_interpreter(tmp_path, monkeypatch, folder, record):
    """The interface has no promise of stability: only releases whose header was read are used."""
    (tmp_path / folder).mkdir()
    (tmp_path / folder / litert_c.LIBRARY).touch()
    (tmp_path / f"ai_edge_litert-{record}.dist-info").mkdir()
    (tmp_path / "ai_edge_litert").mkdir(exist_ok=True)
    (tmp_path / "ai_edge_litert" / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "ai_edge_litert", raising=False)
    with pytest.raises(EngineError, match="no release of ai-edge-litert with a known C API"):
        litert_c.open_compiled(ModelFile(str(FASHION)))


def test_a_library_without_the_functions_is_left_to_the_interpreter():
    with pytest.raises(EngineError, match="has no LiteRtCreateEnvironment"):
        litert_c.Library(Path("libc.so.6")).call("LiteRtCreateEnvironment")
    with pytest.raises(EngineError, match="does not load"):
        litert_c.Library(Path("/no/such/library.so"))


def test_a_closed_model_is_an_error_not_a_crash():
    engine = litert_c.open_compiled(ModelFile(str(FASHION)))
    engine.close()
    with pytest.raises(InferenceError, match="closed"):
        infer(engine, [np.zeros(spec.shape, spec.dtype) for spec in engine.inputs])


def test_a_runner_serves_a_model_without_numpy(spawn, job_for):
    child = spawn(job_for(FASHION))
    child.ready(exercise_hz=100)
    child.wait_for(lambda total: total.inferences >= 3)
    maps = Path(f"/proc/{child.process.pid}/maps").read_text()
    assert litert_c.LIBRARY in maps
    assert "numpy" not in maps


def with_signature(raw):
    """The tiny model `add` as a subtraction of two inputs, whose signature names the second one first."""
    model = schema.ModelT.InitFromPackedBuf(raw, 0)
    graph = model.subgraphs[0]
    graph.inputs, graph.tensors[2].buffer = [0, 2], 0
    model.operatorCodes[0].builtinCode = model.operatorCodes[0].deprecatedBuiltinCode = schema.BuiltinOperator.SUB
    options = graph.operators[0]
    options.builtinOptionsType, options.builtinOptions = schema.BuiltinOptions.SubOptions, schema.SubOptionsT()
    signature = schema.SignatureDefT()
    signature.signatureKey, signature.subgraphIndex = "serving_default", 0
    signature.inputs = [_entry("a", 2), _entry("b", 0)]
    signature.outputs = [_entry("y", 1)]
    model.signatureDefs = [signature]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def passed_on():
    """The tiny model `add`, which also gives its input back."""
    return changed(lambda graph: setattr(graph, "outputs", [1, 0]))


def where_not_zero():
    """The tiny model `log` as WHERE: the places of what is not zero."""

    def change(graph):
        graph.tensors[1].type, graph.tensors[1].shape = schema.TensorType.INT64, [1, 2]

    return changed(change, "log", schema.BuiltinOperator.WHERE)


def changed(change, kind="add", code=None):
    model = schema.ModelT.InitFromPackedBuf(tiny_model(kind), 0)
    change(model.subgraphs[0])
    if code is not None:
        model.operatorCodes[0].builtinCode = model.operatorCodes[0].deprecatedBuiltinCode = code
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _entry(name, index):
    entry = schema.TensorMapT()
    entry.name, entry.tensorIndex = name, index
    return entry


@pytest.mark.parametrize("content", [None, b"", b"TFL3", tiny_model("add")[:300]])
def test_a_file_that_is_no_model_is_refused_in_the_interpreter_s_words(tmp_path, content):
    path = tmp_path / "model.tflite"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(EngineError, match="the model does not load: ") as refused:
        open_engine("litert", ModelFile(str(path)))
    assert "\n" not in str(refused.value)
