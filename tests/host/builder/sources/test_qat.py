"""Models trained with quantization (QAT): what training learned is kept, whichever way the model comes.

Trained here, for seconds, with tensorflow-model-optimization on real digits. The yardstick is what TensorFlow's own
converter makes of the same model.
"""

from pathlib import Path

import numpy as np
import pytest

from skerry_agent.processing import Feeding
from skerry_agent.wire.manifest import Preprocess
from skerry_host.builder.build import BuildRequest, build
from skerry_host.builder.data.samples import Samples
from skerry_host.builder.modelfile.graph import Graph
from skerry_host.builder.quantize.pipeline import quantize
from skerry_host.builder.recipe.errors import ModelError
from skerry_host.builder.recipe.recipe import Quantize
from skerry_host.builder.runtime.session import Session
from skerry_host.builder.sources import code
from skerry_host.builder.sources.converters import TFMOT, VARIABLE
from skerry_host.builder.sources.load import SourceModel, load_source
from tests.kit.converters import converter, tensorflow
from tests.kit.recipes import NOW, REAL, needs_real

DIGITS = Path(__file__).resolve().parents[4] / "models/digits"
PREP = Feeding((Preprocess(1 / 16),))
needs_tfmot = pytest.mark.skipif(bool(converter(TFMOT)), reason=converter(TFMOT) or "-")
TRAIN = f"""
import os
os.environ["TF_USE_LEGACY_KERAS"] = "1"
import numpy as np, tensorflow as tf, tf_keras as keras
from tensorflow_model_optimization.quantization.keras import quantize_model
keras.utils.set_random_seed(7)
data = np.load("{DIGITS}/training.npz")
x, y = (data["inputs"] / 16).astype("float32").reshape(-1, 8, 8, 1), data["labels"]

def network():
    image = keras.Input((8, 8, 1), name="image")
    h = keras.layers.Conv2D(16, 3, padding="same", use_bias=False)(image)
    h = keras.layers.ReLU()(keras.layers.BatchNormalization()(h))
    h = keras.layers.ReLU()(keras.layers.Conv2D(24, 3, strides=2, padding="same")(h))
    h = keras.layers.Flatten()(h)
    return keras.Model(image, keras.layers.Dense(10, activation="softmax", name="probabilities")(h))

def fit(model, epochs):
    model.compile(keras.optimizers.Adam(3e-3), "sparse_categorical_crossentropy")
    model.fit(x, y, epochs=epochs, verbose=0)

plain = network()
fit(plain, 8)
model = quantize_model(plain)
fit(model, 8)
model.save("qat.h5"); model.save("qat.keras"); model.save("saved", save_format="tf")

def converted(name, *optimizations):
    made = tf.lite.TFLiteConverter.from_saved_model("saved")
    made.optimizations = list(optimizations)
    open(name, "wb").write(made.convert())

converted("pairs.tflite")
converted("int8.tflite", tf.lite.Optimize.DEFAULT)
"""
HIDDEN = """
import h5py
from pathlib import Path

x = keras.Input((6, 6, 2))
keras.Model(x, keras.layers.DepthwiseConv2D(3)(x)).save("keras2.h5")
x = keras.Input((4,), name="QuantizeWrapper")
keras.Model(x, keras.layers.Lambda(lambda v: (Path("ran").touch(), v)[1])(x)).save("plain.h5")
with h5py.File("plain.h5") as old, h5py.File("hidden.h5", "w") as new:
    for name in old:
        old.copy(name, new)
    for name, value in old.attrs.items():
        text = value.replace('"Lambda"', '"Lamb\\\\u0064a"') if name == "model_config" else value
        new.attrs[name] = text
Path("ran").unlink(missing_ok=True)
"""


def samples(name: str) -> Samples:
    data = np.load(DIGITS / f"{name}.npz")
    return Samples.of(data["inputs"], truth=data["labels"])


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("qat")
    tensorflow(TRAIN + HIDDEN, folder)
    return folder


def integers(source: SourceModel) -> Session:
    return Session(quantize(source, samples("calibration"), PREP, Quantize(io="float")))


def forms(graph: Graph) -> list[tuple[float, int]]:
    """Scale and zero point of what each operator writes."""
    return [(pytest.approx(t.scale), t.zero_point) for op in graph.ops for t in [graph.tensors[op.outputs[0]]]]


@needs_tfmot
@pytest.mark.parametrize("name", ["qat.h5", "pairs.tflite"])
def test_what_training_learned_is_kept_to_the_bit(made: Path, name: str):
    source = load_source(made / name)  # SavedModels and builders take the way of the one or the other
    assert "trained ranges kept (QAT)" in source.changes[-1]
    assert {op.name for op in source.graph.ops} <= {"CONV_2D", "RESHAPE", "FULLY_CONNECTED", "SOFTMAX"}
    ours, theirs = integers(source), Session((made / "int8.tflite").read_bytes())
    assert forms(ours.graph) == forms(theirs.graph)
    for raw in samples("evaluation").subset(range(50)):
        np.testing.assert_array_equal(ours.run_raw(raw, PREP)[0], theirs.run_raw(raw, PREP)[0])


@needs_tfmot
@pytest.mark.parametrize("name", ["pairs.tflite", "int8.tflite"])
def test_a_build_of_it_is_int8_and_as_accurate_as_before(made: Path, tmp_path: Path, name: str):
    """Pain edgetpu#391: "not quantized" after QAT. A float file with pairs, and one with float ends."""
    text = (DIGITS / "recipe.toml").read_text("utf-8").replace("digits.keras", name)
    (tmp_path / "recipe.toml").write_text(text, "utf-8")
    for file in (made / name, DIGITS / "calibration.npz", DIGITS / "evaluation.npz"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    record = build(BuildRequest(tmp_path, "generic-x86", NOW, out=tmp_path / "b")).record
    assert record.checks[0].name == "fully int8"
    assert all(check.ok for check in record.checks)
    assert any("no float model to compare" in line for line in record.remarks) == (name == "int8.tflite")


@needs_tfmot
def test_equalization_must_not_move_what_was_trained(made: Path):
    with pytest.raises(ModelError, match="would change the ranges that this model was trained with") as refused:
        quantize(load_source(made / "pairs.tflite"), samples("calibration"), PREP, Quantize(equalize=True))
    assert refused.value.code == "trained"


@needs_tfmot
def test_an_archive_that_its_own_tool_cannot_open_is_one_line(made: Path):
    with pytest.raises(ModelError, match=r"cannot open a \.keras file of its own; save the model as \.h5") as refused:
        load_source(made / "qat.keras")
    assert "\n" not in str(refused.value)


@needs_tfmot
def test_a_model_of_keras_2_is_opened_by_keras_2(made: Path):
    """Keras 3 cannot read a DEPTHWISE_CONV_2D of these files, of which MobileNets are made."""
    assert [op.name for op in load_source(made / "keras2.h5").graph.ops] == ["DEPTHWISE_CONV_2D"]


@needs_tfmot
def test_a_lambda_that_hides_its_name_does_not_run(made: Path):
    assert b'"Lambda"' not in (made / "hidden.h5").read_bytes()
    with pytest.raises(ModelError, match=r"Keras found it when it opened the file; .* add --trust-source"):
        load_source(made / "hidden.h5")
    assert not (made / "ran").exists()


def test_a_builder_that_speaks_of_it_is_one_for_its_keras(tmp_path: Path):
    (tmp_path / "b.py").write_text("import tensorflow_model_optimization as tfmot")
    (tmp_path / "c.py").write_text("import keras")
    assert [code.quantization_aware(tmp_path / name) for name in ("b.py", "c.py")] == [True, False]


def test_a_missing_package_is_named_with_its_command(tmp_path: Path, monkeypatch):
    monkeypatch.setattr("skerry_host.builder.sources.converters.converters_folder", lambda: tmp_path / "none")
    monkeypatch.delenv(VARIABLE, raising=False)
    (tmp_path / "m.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + b'"class_name": "QuantizeWrapperV2"')
    with pytest.raises(ModelError, match="needs tensorflow_model_optimization, which is not installed") as refused:
        load_source(tmp_path / "m.h5")
    assert "skerry-host[train]" in refused.value.hint


QUANTIZED = sorted(REAL.glob("edgetpu/mobilenet_v*_quant.tflite")) if REAL.is_dir() else []


@needs_real
@pytest.mark.parametrize("path", QUANTIZED, ids=lambda path: path.stem)
def test_quantization_aware_trained_uint8_is_taken_as_it_is(path: Path):
    source = load_source(path)
    assert (source.quantized, source.changes, source.trained) == (True, (), {})
    assert source.data == path.read_bytes()
    assert source.graph.input_specs()[0].dtype == "uint8"
