"""Models of several inputs, of ids, and of states that are fed back: built from TFLite, with what is wrong of them."""

from pathlib import Path

import numpy as np
import pytest

from skerry_agent.processing import Feeding, load_golden
from skerry_agent.wire.errors import SkerryError
from skerry_agent.wire.manifest import Preprocess
from skerry_host.builder.build import Build, BuildRequest, build
from skerry_host.builder.runtime.session import Session
from tests.kit.recipes import NOW
from tests.kit.several_inputs import (
    fading_sum,
    mean_of_words,
    picture_and_vector,
    pictures_and_vectors,
    waves,
    words_of_classes,
    write_recipe,
)

SCALED = "[inputs.picture]\nscale = 0.00392156862745098"
FED_BACK = '[inputs.before]\nfeedback = "after"'


def made(folder: Path, out: Path) -> Build:
    return build(BuildRequest(folder, "raspberry-pi-4", NOW, "1.0.0", out, ("cpu",)))


def test_a_picture_and_a_vector_each_have_their_own_preprocessing(tmp_path: Path):
    """Two inputs gave a traceback of 47 lines."""
    arrays = pictures_and_vectors()
    folder = write_recipe(tmp_path / "r", picture_and_vector(), arrays, task="classification", more=SCALED)
    built = made(folder, tmp_path / "out")
    (bundle,) = built.record.bundles
    assert [spec.name for spec in bundle.inputs] == ["picture", "vector"]
    assert (bundle.preprocess.scale, bundle.preprocesses) == (pytest.approx(1 / 255), (Preprocess(),))
    assert built.record.quality.int8_value > 0.95
    session, feeding = Session((built.path / "model.tflite").read_bytes()), Feeding.of(bundle)
    sample = (arrays["input_picture"][5], arrays["input_vector"][5])
    assert session.run_raw(sample, feeding)[0].argmax() == arrays["labels"][5]
    golden = load_golden((built.path / "golden.npz").read_bytes())
    assert [array.shape[1:] for array in golden.inputs] == [(4, 4, 3), (2,)]


def test_ids_stay_whole_numbers_and_are_looked_up(tmp_path: Path):
    """int32 inputs were refused; ids in int64 are as good."""
    folder = write_recipe(tmp_path / "r", mean_of_words(), words_of_classes(), task="classification")
    built = made(folder, tmp_path / "out")
    (bundle,) = built.record.bundles
    assert (bundle.inputs[0].dtype, bundle.inputs[0].scale) == ("int32", 0.0)
    assert built.record.quality.int8_value == 1.0
    golden = load_golden((built.path / "golden.npz").read_bytes())
    assert 0 <= golden.inputs[0].min() <= golden.inputs[0].max() < 20


def with_stray_id(arrays: dict) -> dict:
    ids = arrays["inputs"].copy()
    ids[130, 2] = 20
    return arrays | {"inputs": ids}


WRONG = {
    "an id outside the vocabulary": (
        (mean_of_words(), with_stray_id(words_of_classes())),
        {"task": "classification"},
        "input ids has ids from 0 to 20 in 1 samples, the model's table has 20 rows, 0 to 19",
    ),
    "ids that are scaled": (
        (mean_of_words(), words_of_classes()),
        {"task": "classification", "more": "[preprocess]\nscale = 0.5"},
        "input ids takes whole numbers",
    ),
    "no array for an input": (
        (picture_and_vector(), {"inputs": pictures_and_vectors()["input_picture"]}),
        {},
        "has no array input_picture.*has no array input_vector",
    ),
    "more samples of one input than of another": (
        (picture_and_vector(), pictures_and_vectors() | {"input_vector": np.zeros((241, 2), np.float32)}),
        {},
        "its inputs have 120, 121 samples",
    ),
    "preprocessing of an input that there is not": (
        (picture_and_vector(), pictures_and_vectors()),
        {"more": "[inputs.pitcure]\nscale = 2.0"},
        r"inputs.pitcure: the model has no such input \(it has picture, vector\)",
    ),
    "feedback from an output that there is not": (
        (fading_sum(), waves()),
        {"more": '[inputs.before]\nfeedback = "later"'},
        r"the model has no output later \(it has y, after\)",
    ),
    "nothing but feedback": (
        (fading_sum(), waves()),
        {"more": '[inputs.before]\nfeedback = "after"\n[inputs.x]\nfeedback = "y"'},
        "every input is fed back",
    ),
    "a state without feedback": ((fading_sum(), waves()), {}, "has no array input_x.*has no array input_before"),
    "a constant of an input that there is not": (
        (fading_sum(), waves()),
        {"source": "[source.constants]\nsr = 16000"},
        "no input sr",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_of_an_input_is_named(tmp_path: Path, case: str):
    (model, arrays), words, expected = WRONG[case]
    folder = write_recipe(tmp_path / "r", model, arrays, **words)
    with pytest.raises(SkerryError, match=expected):
        made(folder, tmp_path / "out")


def test_states_that_are_fed_back_are_calibrated_recorded_and_shipped(tmp_path: Path):
    built = made(write_recipe(tmp_path / "r", fading_sum(), waves(), more=FED_BACK), tmp_path / "out")
    (bundle,) = built.record.bundles
    assert bundle.feedback == {"before": "after"}
    assert built.record.quality.sqnr_db["y"] > 20
    golden = load_golden((built.path / "golden.npz").read_bytes())
    assert golden.inputs[1][0].max() == bundle.inputs[1].zero_point  # a stream begins with zeros
    assert golden.inputs[1][3:].any()


def test_a_state_of_several_rows_needs_no_shape_in_the_recipe(tmp_path: Path):
    """silero-vad's is (2, 1, 128): "no batch of 1" said nothing of what only goes round."""
    built = made(write_recipe(tmp_path / "r", fading_sum(2), waves(), more=FED_BACK), tmp_path / "out")
    (bundle,) = built.record.bundles
    assert [spec.shape for spec in bundle.inputs] == [(1, 4), (2, 4)]
    assert built.record.quality.sqnr_db["y"] > 20
    (tmp_path / "r" / "recipe.toml").write_text((tmp_path / "r" / "recipe.toml").read_text().replace(FED_BACK, ""))
    with pytest.raises(SkerryError, match=r"if it is a state, .*\[inputs\.before\] feedback = .*before = \[2, 4\]"):
        made(tmp_path / "r", tmp_path / "out")


def test_an_input_that_never_changes_becomes_a_constant(tmp_path: Path):
    constant = "[source.constants]\nbefore = 0.5"
    built = made(write_recipe(tmp_path / "r", fading_sum(), waves(), source=constant), tmp_path / "out")
    (bundle,) = built.record.bundles
    assert [spec.name for spec in bundle.inputs] == ["x"]
    (y, _after) = Session((built.path / "model.tflite").read_bytes()).run_raw((np.ones(4, "f"),), Feeding.of(bundle))
    spec = bundle.outputs[0]
    np.testing.assert_allclose((y.astype(float) - spec.zero_point) * spec.scale, 1.5, atol=0.1)


def test_an_onnx_model_of_ids_and_an_attention_mask_is_built_for_both_targets(tmp_path: Path):
    """int64 inputs ended in INVALID_ARGUMENT."""
    onnx = pytest.importorskip("onnx")
    from onnx import TensorProto, helper, numpy_helper

    table = np.repeat(np.eye(3), 7, axis=0)[:20].astype(np.float32)
    constants = {"table": table, "axis": np.array([2]), "one": np.array([1]), "w": np.eye(3, dtype=np.float32) * 4}
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["rows"]),
        helper.make_node("Cast", ["mask"], ["real"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["real", "axis"], ["wide"]),
        helper.make_node("Mul", ["rows", "wide"], ["kept"]),
        helper.make_node("ReduceMean", ["kept"], ["mean"], axes=[1], keepdims=0),
        helper.make_node("MatMul", ["mean", "w"], ["scores"]),
    ]
    ends = [helper.make_tensor_value_info(name, TensorProto.INT64, (1, 6)) for name in ("ids", "mask")]
    scores = helper.make_tensor_value_info("scores", TensorProto.FLOAT, (1, 3))
    initial = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    graph = helper.make_graph(nodes, "g", ends, [scores], initial)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    words = words_of_classes()
    mask = (np.arange(6) < np.random.default_rng(0).integers(3, 7, (240, 1))).astype(np.int64)
    arrays = {"input_ids": words["inputs"], "input_mask": mask, "labels": words["labels"]}
    folder = write_recipe(tmp_path / "r", b"", arrays, task="classification")
    (folder / "model.tflite").unlink()
    onnx.save(model, str(folder / "model.onnx"))
    recipe = folder / "recipe.toml"
    recipe.write_text(recipe.read_text().replace("model.tflite", "model.onnx"))
    built = build(BuildRequest(folder, "raspberry-pi-4", NOW, "1.0.0", tmp_path / "out"))
    forms = {bundle.target: [(spec.name, spec.dtype) for spec in bundle.inputs] for bundle in built.record.bundles}
    assert forms["cpu"] == [("ids", "int32"), ("mask", "int32")]
    assert forms["onnx"] == [("ids", "int64"), ("mask", "int64")]
    assert built.record.quality.int8_value == 1.0
