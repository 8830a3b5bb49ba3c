"""ONNX files: what is fixed, what is rewritten, what is refused, and that the meaning stays."""

import json
import os
from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest
from onnx import helper

from skerry_host.builder.recipe.errors import ModelError
from skerry_host.builder.recipe.recipe import SourcePlan
from skerry_host.builder.runtime.session import Session
from skerry_host.builder.sources.converters import VARIABLE
from skerry_host.builder.sources.external_data import issues
from skerry_host.builder.sources.load import load_source
from skerry_host.builder.sources.onnx import prepare
from skerry_host.builder.sources.onnx_child import prepare as prepare_here
from skerry_host.builder.sources.onnx_prepared import Prepared
from tests.kit.converters import UNKNOWN, needs_onnx2tf, small_onnx


def saved(folder: Path, model) -> Path:
    path = folder / "source.onnx"
    onnx.save(model, str(path))
    return path


def answers(data: bytes, x):
    import onnxruntime as ort

    session = ort.InferenceSession(data, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: x})[0]


def test_an_open_batch_becomes_one_and_names_stay(tmp_path):
    """Trap 1: the open batch is fixed before anything is converted."""
    prepared, found = prepare(saved(tmp_path, small_onnx(("N", 3, 8, 8))), None, tmp_path)
    model = onnx.load(str(prepared))
    assert "input x:0 fixed to 1x3x8x8" in found.changes
    assert [model.graph.input[0].name, model.graph.output[0].name] == ["x:0", "y@1"]
    assert [entry.domain for entry in model.opset_import] == [""]


def test_what_is_rewritten_computes_the_same(tmp_path):
    """Trap 6: HardSigmoid becomes a RELU6, which int8 kernels take."""
    source = small_onnx(hard_sigmoid=True)
    prepared, found = prepare(saved(tmp_path, source), None, tmp_path)
    assert "1 HardSigmoid written as RELU6" in found.changes
    x = np.random.default_rng(2).normal(size=(1, 3, 8, 8)).astype(np.float32)
    np.testing.assert_allclose(answers(prepared.read_bytes(), x), answers(source.SerializeToString(), x), atol=1e-6)
    assert "HardSigmoid" not in {node.op_type for node in onnx.load(str(prepared)).graph.node}


@pytest.mark.parametrize(
    ("shape", "asked", "words"),
    [
        (("N", 3, "H", "W"), {}, 'has the open shape Nx3xHxW; give its sizes in the recipe: [source.shapes] "x:0"'),
        (("N", 3, "H", "W"), {"x:0": [1, 3, 8]}, "[source.shapes] says 1x3x8"),
        ((1, 3, 8, 8), {"x:0": [1, 3, 9, 8]}, "is 1x3x8x8, [source.shapes] says 1x3x9x8"),
        ((1, 3, 8, 8), {"image": [1, 3, 8, 8]}, "has no input image (it has x:0)"),
    ],
)
def test_shapes_that_do_not_fit_name_the_recipe(tmp_path, shape, asked, words):
    found = prepare_here(saved(tmp_path, small_onnx(shape)), tmp_path / "out.onnx", asked)
    assert words in f"{found.problem}; {found.hint}"


@pytest.mark.parametrize("content", [b"", b"not onnx at all", b"\x08\x07" + bytes(100), os.urandom(5000)])
def test_damaged_files_are_one_line(tmp_path, content):
    path = tmp_path / "bad.onnx"
    path.write_bytes(content)
    assert "damaged, or not an ONNX file" in prepare_here(path, tmp_path / "out.onnx", {}).problem


def test_a_cut_file_is_refused(tmp_path):
    path = saved(tmp_path, small_onnx())
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ModelError, match="is damaged, or not an ONNX file; export it again") as refused:
        prepare(path, None, tmp_path)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("op", ["QLinearConv", "ConvInteger", "DynamicQuantizeLinear"])
def test_another_quantized_form_than_qdq_asks_for_the_float_one(tmp_path, op):
    model = small_onnx()
    model.graph.node.append(helper.make_node(op, ["y@1", "s"], ["q"]))
    found = prepare_here(saved(tmp_path, model), tmp_path / "out.onnx", {})
    assert f"is quantized already, by {op}" in found.problem
    assert "as QDQ, or give the float model" in found.hint


def with_external(folder: Path, location: str) -> Path:
    model = small_onnx()
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", location
    return saved(folder, model)


@pytest.mark.parametrize(
    ("location", "words"),
    [
        ("../secret.bin", "leaves the model's folder"),
        ("/etc/passwd", "leaves the model's folder"),
        ("a/../../secret.bin", "leaves the model's folder"),
        ("linked.bin", "is a symbolic link"),
        ("folder/inner.bin", "is a symbolic link"),
        ("hard.bin", "is a hard link"),
        ("absent.bin", "is not there"),
        (".", "leaves the model's folder"),
    ],
)
def test_external_data_may_not_leave_the_folder(tmp_path, location, words):
    secret = tmp_path / "secret.bin"
    secret.write_bytes(np.zeros(108, np.float32).tobytes())
    folder = tmp_path / "model"
    (tmp_path / "elsewhere").mkdir()
    folder.mkdir()
    (folder / "linked.bin").symlink_to(secret)
    (folder / "folder").symlink_to(tmp_path / "elsewhere")
    os.link(secret, folder / "hard.bin")
    found = prepare_here(with_external(folder, location), tmp_path / "out.onnx", {})
    assert f"external data {location!r} {words}" in found.problem


def test_external_data_beside_the_model_is_read(tmp_path):
    (tmp_path / "weights.bin").write_bytes(np.ones(108, np.float32).tobytes())
    prepared, found = prepare(with_external(tmp_path, "weights.bin"), None, tmp_path)
    assert found.files == ("weights.bin",)
    assert answers(prepared.read_bytes(), np.ones((1, 3, 8, 8), np.float32)).shape == (1, 4)
    assert issues(tmp_path, ["weights.bin"]) == []


def test_too_large_a_file_is_not_opened(tmp_path):
    path = tmp_path / "huge.onnx"
    with path.open("wb") as file:
        file.truncate(600 * 1024**2)
    with pytest.raises(ModelError, match="the limit is"):
        prepare(path, None, tmp_path)


def test_random_damage_never_ends_the_parser(tmp_path):
    good = saved(tmp_path, small_onnx()).read_bytes()
    rng = np.random.default_rng(3)
    path = tmp_path / "hurt.onnx"
    for _ in range(25):  # here, not in a child: onnxruntime took 30,000 of these without a crash
        hurt = bytearray(good)
        for at in rng.integers(0, len(good), 6):
            hurt[at] = rng.integers(256)
        path.write_bytes(bytes(hurt))
        assert isinstance(prepare_here(path, tmp_path / "out.onnx", {}), Prepared)


def test_a_missing_converter_is_named_with_its_command(tmp_path, monkeypatch):
    monkeypatch.setattr("skerry_host.builder.sources.converters.converters_folder", lambda: tmp_path / "none")
    monkeypatch.delenv(VARIABLE, raising=False)
    with pytest.raises(ModelError) as refused:
        load_source(saved(tmp_path, small_onnx(middle=UNKNOWN)))
    assert refused.value.code == "missing_extra"
    assert "has ThresholdedRelu, which is not known here; onnx2tf may know it" in str(refused.value)
    assert "pip install onnx2tf" in refused.value.hint


STAND_IN = """#!/bin/sh
# A stand-in for a Python with a converter: {what}
{body}
"""


@pytest.mark.parametrize(
    ("body", "code", "words"),
    [
        ("echo 'ValueError: op Foo is unknown' >&2; exit 1", "converter", "ValueError: op Foo is unknown"),
        ("kill -SEGV $$", "crash", "crashes (SIGSEGV)"),
        ("sleep 60", "hang", "timed out after 1 s"),
        ("exit 0", "converter", "makes no float32 model"),
    ],
)
def test_a_converter_that_fails_does_so_apart(tmp_path, monkeypatch, body, code, words):
    python = tmp_path / "python"
    python.write_text(STAND_IN.format(what=words, body=body))
    python.chmod(0o755)
    monkeypatch.setenv(VARIABLE, str(python))
    monkeypatch.setattr("skerry_host.builder.sources.onnx.SECONDS", 1.0)
    with pytest.raises(ModelError) as refused:
        load_source(saved(tmp_path, small_onnx(middle=UNKNOWN)))
    assert refused.value.code == code
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


def test_planes_become_pixels_without_any_converter(tmp_path, monkeypatch):
    """A source in ONNX asked for 2.6 GB of converters, also where nothing of them was needed."""
    monkeypatch.setenv(VARIABLE, "/nowhere/python")
    source = small_onnx(("N", 3, "H", "W"), hard_sigmoid=True)
    plan = SourcePlan("source.onnx", shapes={"x:0": (1, 3, 8, 8)})
    computes_the_same(load_source(saved(tmp_path, source), plan), source)


@needs_onnx2tf
def test_what_is_not_known_here_goes_to_onnx2tf(tmp_path):
    """Trap 2: its float32 output only; and from planes to pixels."""
    source = small_onnx(middle=UNKNOWN)
    loaded = load_source(saved(tmp_path, source))
    assert any("by onnx2tf, NCHW to NHWC (for ThresholdedRelu)" in change for change in loaded.changes)
    computes_the_same(loaded, source)


def computes_the_same(loaded, source):
    x = np.random.default_rng(2).normal(size=(1, 8, 8, 3)).astype(np.float32)
    assert loaded.graph.input_specs()[0].shape == (1, 8, 8, 3)
    expected = answers(source.SerializeToString(), x.transpose(0, 3, 1, 2))
    np.testing.assert_allclose(Session(loaded.data).run([x])[0], expected, atol=1e-5)
    assert loaded.onnx is not None
    assert loaded.changes[-1].startswith("compared with the source: ")
    np.testing.assert_allclose(Session(loaded.onnx).run([x.transpose(0, 3, 1, 2).copy()])[0], expected, atol=1e-6)


def test_the_answer_of_the_child_is_one_that_the_host_reads():
    text = json.dumps(msgspec.to_builtins(Prepared("no", "hint", ("a",), {"x": (1, 2)})))
    assert msgspec.json.decode(text, type=Prepared).inputs == {"x": (1, 2)}
