"""The runtimes behind `Engine`: what each gives, and the one line that each missing or unfit one leads to."""

import sys

import numpy as np
import pytest

from skerry_agent.runner.engines import ModelFile, open_engine, tflite
from skerry_agent.runner.engines.opening import check_engine
from skerry_agent.runner.errors import EngineError, InferenceError
from tests.kit.tiny_models import infer


def test_litert_gives_what_the_interpreter_gives(tiny, tmp_path):
    tiny("copy")
    engine = open_engine("litert", ModelFile(str(tmp_path / "copy" / "model.tflite"), 2))
    assert (engine.about.name, engine.about.delegate) == ("ai-edge-litert", "XNNPACK")
    assert engine.about.version[0].isdigit()
    (spec,) = engine.inputs
    assert (spec.name, spec.dtype, spec.shape, spec.scale, spec.zero_point) == ("x", "int8", (1, 4), 0.5, 3)
    first = infer(engine, [np.array([[1, 2, 3, 4]], np.int8)])
    infer(engine, [np.zeros((1, 4), np.int8)])
    assert first[0].tolist() == [[1, 2, 3, 4]]  # a copy: the next inference did not change it
    engine.close()


@pytest.mark.parametrize("wrong", [np.zeros((1, 5), np.int8), np.zeros((1, 4), np.float32)])
def test_inputs_that_do_not_fit_are_an_error_of_that_inference_only(tiny, tmp_path, wrong):
    tiny("copy")
    engine = open_engine("litert", ModelFile(str(tmp_path / "copy" / "model.tflite")))
    with pytest.raises(InferenceError) as failed:
        infer(engine, [wrong])
    assert "\n" not in str(failed.value)
    infer(engine, [np.zeros((1, 4), np.int8)])


def test_a_missing_runtime_is_named_with_the_command_that_installs_it():
    with pytest.raises(EngineError, match=r"pip install 'skerry-agent\[x\]'"):
        tflite.interpreter_module("no_such_runtime", "skerry-agent[x]")


def test_onnxruntime_missing(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)  # importing it fails, as where it is not installed
    with pytest.raises(EngineError, match=r"pip install 'skerry-agent\[onnx\]'"):
        open_engine("onnxruntime", ModelFile(str(tmp_path / "model.onnx")))


def test_tflite_runtime_missing(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tflite_runtime", None)
    with pytest.raises(EngineError, match=r"pip install 'skerry-agent\[coral\]'"):
        open_engine("tflite_runtime", ModelFile(str(tmp_path / "model.tflite")))


def test_onnxruntime_runs_a_real_model(real_model, tmp_path):
    ort = pytest.importorskip("onnxruntime")
    path = str(real_model("delta/mnv2_v1.onnx"))
    engine = open_engine("onnxruntime", ModelFile(path))
    assert (engine.about.name, engine.about.version) == ("onnxruntime", ort.__version__)
    assert engine.about.delegate == "CPUExecutionProvider"
    (spec,) = engine.inputs
    sample = np.random.default_rng(1).random(spec.shape, dtype=np.float32)
    expected = ort.InferenceSession(path).run(None, {spec.name: sample})
    np.testing.assert_array_equal(infer(engine, [sample])[0], expected[0])
    with pytest.raises(InferenceError):
        infer(engine, [sample[:, :1]])
    (tmp_path / "model.onnx").write_bytes(b"not onnx")
    with pytest.raises(EngineError, match="does not load"):
        open_engine("onnxruntime", ModelFile(str(tmp_path / "model.onnx")))
    with pytest.raises(EngineError, match="does not load"):
        open_engine("onnxruntime", ModelFile(str(tmp_path / "absent.onnx")))


def test_a_runner_serves_onnx(spawn, job_for, real_model):
    pytest.importorskip("onnxruntime")
    child = spawn(job_for(real_model("delta/mnv2_v1.onnx"), engine="onnxruntime"))
    assert child.ready(exercise_hz=50).max_lsb == 0
    child.wait_for(lambda total: total.inferences >= 3)


def test_no_runtime_is_imported_before_it_is_asked_for():
    import subprocess

    code = "import sys, skerry_agent.runner.session; print([m for m in sys.modules if m in ('h11', 'ai_edge_litert')])"
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert child.stdout.strip() == "[]"


@pytest.mark.parametrize(("kind", "name"), [("litert", "ai-edge-litert"), ("onnxruntime", "onnxruntime")])
def test_a_runtime_that_works_says_its_name_and_version(kind, name):
    pytest.importorskip(name.replace("-", "_"))
    assert check_engine(kind).startswith(f"{name} ")
    assert check_engine(kind).split()[1][0].isdigit()
