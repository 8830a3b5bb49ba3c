"""Keras, SavedModel and Python builders: converted where TensorFlow is, and refused where they would run code."""

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

from skerry_agent.processing import Feeding
from skerry_host.builder.data.samples import Samples
from skerry_host.builder.judge.signal import sqnr_db
from skerry_host.builder.modelfile.graph import describe
from skerry_host.builder.modelfile.tflite import read_model
from skerry_host.builder.quantize.pipeline import quantize
from skerry_host.builder.recipe.errors import ModelError
from skerry_host.builder.recipe.recipe import Quantize
from skerry_host.builder.runtime.session import Session
from skerry_host.builder.sources import code, keras
from skerry_host.builder.sources.converters import VARIABLE
from skerry_host.builder.sources.load import from_converted, load_source
from tests.kit.converters import needs_tensorflow, tensorflow
from tests.kit.float_graphs import answers

DIGITS = Path(__file__).resolve().parents[4] / "models/digits/digits.keras"
MAKE = """
import keras, numpy as np, tensorflow as tf
keras.utils.set_random_seed(1)
x = keras.Input((6,), name="x")
model = keras.Model(x, keras.layers.Dense(3, activation="relu")(keras.layers.BatchNormalization()(x)))
model.compile(optimizer="adam", loss="mse")
sample = np.arange(6, dtype=np.float32)[None]
np.save("expected.npy", model.predict(sample, verbose=0))
model.save("m.keras"); model.save("m.h5"); model.export("saved", verbose=False)
L = keras.layers
i = x = keras.Input((8, 8, 3))
for layer in (L.LeakyReLU(), L.PReLU(shared_axes=[1, 2], alpha_initializer="random_normal"), L.LayerNormalization()):
    x = layer(L.Conv2D(8, 3, padding="same")(x))
for name in ("softsign", "mish", "softplus", "elu", "selu", "hard_shrink"):
    x = L.Activation(name)(L.Conv2D(8, 1)(x))
x = L.Conv1D(6, 3, dilation_rate=2)(L.GroupNormalization(2)(L.Reshape((16, 32))(x)))
sums = keras.ops.cumsum(keras.ops.abs(x), axis=1)[:, 3]
x = L.Concatenate()([L.GlobalMaxPooling1D()(x), keras.ops.min(x, axis=1), sums])
keras.Model(i, L.Dense(4)(x)).save("layers.keras")
steps = keras.Input((5, 3))
rnn = keras.layers.Bidirectional(keras.layers.LSTM(4, dropout=0.2, recurrent_dropout=0.2))(steps)
keras.Model(steps, keras.layers.Dense(2)(rnn)).save("recurrent.keras")
steps = keras.Input((5, 3), batch_size=1)
keras.Model(steps, keras.layers.GRU(4, stateful=True, name="memory")(steps)).save("stateful.keras")
x = keras.Input((6,))
keras.Model(x, keras.layers.Lambda(lambda v: v * 2)(x)).save("lambda.keras")
keras.Model(x, keras.layers.Lambda(lambda v: v * 2)(x)).save("lambda.h5")
L = keras.layers
a, b, ids = L.Input((4, 4, 1), name="pixels"), L.Input((3,), name="extra"), L.Input((5,), dtype="int32", name="ids")
whole = L.Concatenate()([L.Flatten()(a), b, L.Flatten()(L.Embedding(30, 2)(ids))])
heads = keras.Model([a, b, ids], [L.Dense(3, name="scores")(whole), L.Dense(4, name="box")(whole)])
heads.save("heads.keras")
rng = np.random.default_rng(3)
inputs = [rng.random((1, 4, 4, 1)), rng.random((1, 3)), rng.integers(0, 30, (1, 5))]
inputs = [array.astype(np.float32 if at < 2 else np.int32) for at, array in enumerate(inputs)]
scores, box = heads.predict(inputs, verbose=0)
np.savez("expected_heads.npz", pixels=inputs[0], extra=inputs[1], ids=inputs[2], scores=scores, box=box)
i = L.Input((None, None, 3), name="photo")
keras.Model(i, L.Dense(2)(L.GlobalAveragePooling2D()(L.Conv2D(4, 3)(i)))).save("open.keras")
j, state, rate = L.Input((4,), name="x"), L.Input((4,), name="before"), L.Input((1,), dtype="int32", name="rate")
after = L.Add(name="after")([j, state])
streaming = keras.Model({"x": j, "before": state}, {"y": L.Dense(2, name="y")(after), "after": after})
streaming.save("streaming.keras")
class Several(tf.Module):
    def __init__(self):
        super().__init__()
        self.w = tf.Variable(np.eye(4, dtype=np.float32) * 2)
    @tf.function(input_signature=[tf.TensorSpec([None, 4], tf.float32, name="x")])
    def one(self, x):
        return {"z": x @ self.w, "a": x + 1.0}
    @tf.function(input_signature=[tf.TensorSpec([None, None], name="x"), tf.TensorSpec([], name="gain")])
    def two(self, x, gain):
        return {"y": x * gain}
several = Several()
tf.saved_model.save(several, "several", signatures={"one": several.one, "two": several.two})
tf.saved_model.save(several, "only", signatures={"one": several.one})
import contextlib, importlib.util, io, json, sys
spec = importlib.util.spec_from_file_location("keras_child", sys.argv[1])
child = importlib.util.module_from_spec(spec)
spec.loader.exec_module(child)
for name, (kind, source, plan) in json.loads(sys.argv[2]).items():
    with contextlib.redirect_stdout(io.StringIO()) as said:
        child.main(kind, source, name + ".tflite", "0", "0", json.dumps(plan))
    open(name + ".json", "w").write(said.getvalue())
"""
NOTHING = {"signature": "", "shapes": {}, "constants": {}}
WANTED = {
    "h5": ("keras", "m.h5", {}),
    "saved": ("saved_model", "saved", {}),
    "layers": ("keras", "layers.keras", {}),
    "recurrent": ("keras", "recurrent.keras", {}),
    "stateful": ("keras", "stateful.keras", {}),
    "heads": ("keras", "heads.keras", {}),
    "open": ("keras", "open.keras", {}),
    "sized": ("keras", "open.keras", {"shapes": {"photo": (1, 24, 32, 3)}}),
    "missized": ("keras", "open.keras", {"shapes": {"photo": (1, 24, 32, 4)}}),
    "misnamed": ("keras", "open.keras", {"shapes": {"image": (1, 24, 32, 3)}}),
    "streaming": ("keras", "streaming.keras", {}),
    "fixed": ("keras", "streaming.keras", {"constants": {"before": 2.0}}),
    "only": ("saved_model", "only", {}),
    "several": ("saved_model", "several", {}),
    "third": ("saved_model", "several", {"signature": "three"}),
    "two": ("saved_model", "several", {"signature": "two", "shapes": {"x": (1, 4)}, "constants": {"gain": 3.0}}),
}
"""What the child is asked for, all in the process that makes the models: TensorFlow takes seconds to start."""
BUILDER = """
import keras
from pathlib import Path

def build():
    Path(__file__).with_name("ran").touch()
    x = keras.Input((6,), name="x")
    return keras.Model(x, keras.layers.Dense(3)(x))
"""


def archive(path: Path, config) -> Path:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as file:
        file.writestr("config.json", json.dumps(config))
    path.write_bytes(stream.getvalue())
    return path


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("keras")
    wanted = {name: (kind, source, NOTHING | plan) for name, (kind, source, plan) in WANTED.items()}
    tensorflow(MAKE, folder, str(keras.CHILD), json.dumps(wanted))
    (folder / "builder.py").write_text(BUILDER)
    return folder


@needs_tensorflow
@pytest.mark.parametrize("name", ["m.keras", "h5", "saved"])
def test_a_model_converts_and_computes_the_same(made, name):
    """One of them by a child of its own, as a build has it."""
    source = converted(made, name) if name in WANTED else load_source(made / name)
    assert [op.name for op in source.graph.ops if "VAR" in op.name] == []
    assert source.changes[-1].startswith("compared with the source: ")
    got = Session(source.data).run([np.arange(6, dtype=np.float32)[np.newaxis]])[0]
    np.testing.assert_allclose(got, np.load(made / "expected.npy"), atol=1e-5)
    assert source.file_bytes > 0
    assert len(source.sha256) == 64


def converted(made: Path, name: str):
    """A source of `WANTED`, loaded from what the child made of it."""
    kind, source, _plan = WANTED[name]
    said = (made / f"{name}.json").read_text()
    return from_converted(made / source, keras.made(made / source, kind, made / f"{name}.tflite", said))


@needs_tensorflow
def test_layers_that_a_quantizer_does_not_know_are_int8_throughout(made):
    """Many kinds in one model, because each start of TensorFlow takes seconds."""
    source = converted(made, "layers")
    samples = np.random.default_rng(0).random((32, 8, 8, 3), np.float32)
    model = quantize(source, Samples.of(samples), Feeding(), Quantize())
    assert describe(read_model(model)).float_ops() == []
    assert sqnr_db(answers(source.data, samples[:, None]), answers(model, samples[:, None])) > 20


@needs_tensorflow
def test_a_recurrent_model_is_written_out_and_one_that_remembers_samples_is_named(made):
    source = converted(made, "recurrent")
    assert any("2 recurrent layers unrolled (5, 5 steps)" in change for change in source.changes)
    assert "WHILE" not in {op.name for op in source.graph.ops}
    with pytest.raises(ModelError, match=r"keeps its state from sample to sample: memory \(stateful=True\)"):
        converted(made, "stateful")


@needs_tensorflow
def test_inputs_and_outputs_keep_the_order_and_names_of_the_model(made):
    """TFLite has them the other way round: a classifier of 100 % was judged by its box output."""
    source, known = converted(made, "heads"), np.load(made / "expected_heads.npz")
    inputs, outputs = source.graph.input_specs(), source.graph.output_specs()
    assert [(spec.name, spec.dtype) for spec in inputs] == [
        ("pixels", "float32"),
        ("extra", "float32"),
        ("ids", "int32"),
    ]
    assert [spec.name for spec in outputs] == ["scores", "box"]
    assert source.changes[-1].startswith("compared with the source: ")
    scores, box = Session(source.data).run([known[spec.name] for spec in inputs])
    np.testing.assert_allclose(scores, known["scores"], atol=1e-5)
    np.testing.assert_allclose(box, known["box"], atol=1e-5)


@needs_tensorflow
def test_open_sizes_are_given_by_the_recipe(made):
    """They were: XNNPack failed to reshape."""
    with pytest.raises(ModelError, match=r"has input photo with the open shape \?x\?x\?x3") as refused:
        converted(made, "open")
    assert refused.value.hint == "give its sizes in the recipe: [source.shapes] photo = [1, ..., ..., 3]"
    source = converted(made, "sized")
    assert source.graph.input_specs()[0].shape == (1, 24, 32, 3)
    with pytest.raises(ModelError, match=r"has input photo of shape .*, not 1x24x32x4"):
        converted(made, "missized")
    with pytest.raises(ModelError, match=r"has no input image, which \[source.shapes\] names; its inputs are photo"):
        converted(made, "misnamed")


@needs_tensorflow
def test_states_and_dictionaries_keep_their_names(made):
    source = converted(made, "streaming")
    assert {spec.name for spec in source.graph.input_specs()} == {"x", "before"}
    assert [spec.name for spec in source.graph.output_specs()] == ["after", "y"]
    fixed = converted(made, "fixed")
    after, _y = Session(fixed.data).run([np.ones((1, 4), np.float32)])
    np.testing.assert_allclose(after, 3.0)


@needs_tensorflow
def test_a_signature_is_named_or_the_only_one(made):
    """A SavedModel without serving_default ended in a KeyError."""
    x = np.arange(4, dtype=np.float32)[np.newaxis]
    only = converted(made, "only")
    assert [spec.name for spec in only.graph.output_specs()] == ["a", "z"]
    np.testing.assert_allclose(Session(only.data).run([x]), [x + 1, x * 2])
    with pytest.raises(ModelError, match=r"has 2 signatures \(one, two\); name one of them as \[source\] signature"):
        converted(made, "several")
    with pytest.raises(ModelError, match=r"has no signature 'three' \(it has one, two\)"):
        converted(made, "third")
    np.testing.assert_allclose(Session(converted(made, "two").data).run([x]), [x * 3])


@needs_tensorflow
@pytest.mark.parametrize("name", ["lambda.keras", "lambda.h5"])
def test_a_lambda_needs_trust(made, name):
    with pytest.raises(ModelError, match="--trust-source") as refused:
        load_source(made / name)
    assert refused.value.code == "untrusted"


@pytest.mark.parametrize("space", [b": ", b":", b" : "])
def test_a_lambda_in_hdf5_is_found_though_an_archive_hangs_on_it(tmp_path, space):
    path = archive(tmp_path / "m.h5", {"layers": []})
    path.write_bytes(b"\x89HDF\r\n\x1a\n" + b'"class_name"' + space + b'"Lambda"' + path.read_bytes())
    assert code.in_keras(path) == ["a Lambda layer"]


def test_keras_own_refusal_of_code_is_told_as_ours(tmp_path, monkeypatch):
    python = tmp_path / "python"
    says = "ValueError: Requested the deserialization of a lambda. set `safe_mode=False`"
    python.write_text(f"#!/bin/sh\necho '{says}' >&2\nexit 1\n")
    python.chmod(0o755)
    monkeypatch.setenv(VARIABLE, str(python))
    (tmp_path / "m.h5").write_bytes(b"\x89HDF\r\n\x1a\n")
    with pytest.raises(ModelError, match="--trust-source") as refused:
        load_source(tmp_path / "m.h5")
    assert (refused.value.code, "safe_mode" in str(refused.value)) == ("untrusted", False)


@needs_tensorflow
def test_a_builder_runs_only_when_it_is_trusted(made):
    with pytest.raises(ModelError, match="it is a Python file"):
        load_source(made / "builder.py")
    assert not (made / "ran").exists()
    source = load_source(made / "builder.py", trusted=True)
    assert (made / "ran").exists()
    assert source.graph.output_specs()[0].shape == (1, 3)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"layers": [{"class_name": "Lambda", "module": "keras.layers"}]}, "a Lambda layer"),
        ({"config": {"function": {"class_name": "__lambda__"}}}, "a lambda"),
        ({"layers": [{"class_name": "Evil", "module": "os.path"}]}, "Evil of module os.path"),
        ({"layers": [{"class_name": "Dense", "module": "keras.layers"}]}, ""),
    ],
)
def test_what_in_an_archive_is_code(tmp_path, config, words):
    assert ", ".join(code.in_keras(archive(tmp_path / "m.keras", config))) == words


def test_the_recipe_s_own_model_carries_none():
    assert code.in_keras(DIGITS) == []


@pytest.mark.parametrize("content", [b"PK\x03\x04 no archive", b"\x89HDF\r\n\x1a\n cut"])
def test_damaged_archives_are_one_line(tmp_path, content):
    path = tmp_path / "m.keras"
    path.write_bytes(content)
    with pytest.raises(ModelError) as refused:
        load_source(path)
    assert "\n" not in str(refused.value)


def test_operators_that_touch_files_need_trust(tmp_path):
    (tmp_path / "saved_model.pb").write_bytes(b"\x0a\x01x\x12\x08ReadFile\x1a")
    with pytest.raises(ModelError, match="operator ReadFile"):
        load_source(tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("m.pt", b"\x80\x02", "export the model with torch.onnx.export"),
        ("m.pkl", b"\x80\x04", "opening a pickle runs code"),
        ("m.keras", b"what", "neither a .keras archive nor HDF5"),
        ("m.tflite", b"what is this", "is not a TFLite file"),
    ],
)
def test_other_files_say_what_they_are(tmp_path, name, content, words):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ModelError) as refused:
        load_source(path)
    assert words in str(refused.value)


def test_a_folder_that_is_no_model(tmp_path):
    with pytest.raises(ModelError, match="without saved_model"):
        load_source(tmp_path)


def test_positional_metrics_are_named_where_keras_speaks_of_types(tmp_path, monkeypatch):
    """Trap 8, with a stand-in for the Python that says what Keras 3 says: compile("adam", "mse", ["accuracy"])."""
    python = tmp_path / "python"
    says = "ValueError: dtype='string' is not a valid dtype for Keras type promotion."
    python.write_text(f'#!/bin/sh\necho "{says}" >&2\nexit 1\n')
    python.chmod(0o755)
    monkeypatch.setenv(VARIABLE, str(python))
    (tmp_path / "b.py").write_text("def build(): ...")
    with pytest.raises(ModelError, match="dtype='string'") as refused:
        load_source(tmp_path / "b.py", trusted=True)
    assert "third argument of compile for loss_weights: write metrics=[...]" in refused.value.hint


def test_tensorflow_missing_is_named_with_the_command(tmp_path, monkeypatch):
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho 'ModuleNotFoundError: No module named tensorflow'\nexit 1\n")
    python.chmod(0o755)
    monkeypatch.setenv(VARIABLE, str(python))
    with pytest.raises(ModelError, match="has no Python package tensorflow") as refused:
        load_source(DIGITS)
    assert (refused.value.code, f"{python} -m pip install tensorflow" in refused.value.hint) == ("missing_extra", True)
