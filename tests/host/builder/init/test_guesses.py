"""What is guessed of a model and its data, and what is asked instead."""

import tomllib
import zipfile
from types import SimpleNamespace

import onnx
import pytest
from onnx import TensorProto, helper

from skerry_agent.wire.manifest import TensorSpec
from skerry_host.builder.init import propose
from skerry_host.builder.init.choices import Choice, apart, questions, recipe_text
from skerry_host.builder.init.facts import ModelFacts, _names, model_facts, model_name
from skerry_host.builder.init.guesses import DataFacts, decoder_of, labels_of, layout_of, resize_of, shapes_of, task_of
from skerry_host.builder.recipe.errors import ModelError
from tests.kit.linear_models import linear_model


class _Graph:
    """A graph as far as guesses look at it."""

    def __init__(self, *shapes, last="CONV_2D"):
        self.shapes, self.ops = shapes, [type("Op", (), {"name": last})]

    def output_specs(self):
        return [TensorSpec(f"y{at}", "float32", shape) for at, shape in enumerate(self.shapes)]


def facts(path="m.onnx", **said):
    return ModelFacts(path, "onnx", **said)


TASKS = {
    "as asked": ("embedding", facts(task="detection"), DataFacts("folder"), "embedding"),
    "as the model says": (None, facts(task="detection"), DataFacts("folder", labelled=True), "detection"),
    "images by class": (None, facts(), DataFacts("folder", labelled=True), "classification"),
    "boxes": (None, facts(), DataFacts("coco"), "detection"),
    "masks": (None, facts(), DataFacts("masks"), "segmentation"),
    "text labels": (None, facts(), DataFacts("csv", labelled=True, labels=("yes", "no")), "classification"),
    "whole numbers": (
        None,
        facts(),
        DataFacts("csv", labelled=True, labels=("1", "0", "2.0") * 9),
        "classification",
    ),
    "many numbers": (None, facts(), DataFacts("csv", labelled=True, labels=tuple(map(str, range(99)))), "regression"),
    "fractions": (None, facts(), DataFacts("csv", labelled=True, labels=("1.5", "0,25")), "regression"),
    "nothing": (None, facts(), DataFacts("folder"), "raw"),
}


@pytest.mark.parametrize("case", TASKS)
def test_the_task(case):
    asked, model, data, task = TASKS[case]
    found = task_of(asked, model, data)
    assert found.value == task
    assert bool(found.ask) == (case == "nothing")


def test_open_sizes_are_those_of_the_metadata_else_of_the_images_else_asked():
    model = facts(inputs={"x": ("N", 3, "H", "W")})
    (said,) = shapes_of(facts(inputs=model.inputs, pixels=(480, 640)), DataFacts("folder"), "detection")
    assert said.value == [1, 3, 480, 640]
    (seen,) = shapes_of(model, DataFacts("folder", pixels=((32, 48), (32, 48))), "classification")
    assert (seen.value, seen.ask) == ([1, 3, 32, 48], "")
    (usual,) = shapes_of(model, DataFacts("folder", pixels=((32, 48), (9, 9))), "classification")
    assert usual.value == [1, 3, 224, 224]
    assert "for which size" in usual.ask
    assert not shapes_of(facts(inputs={"x": ("N", 3, 224, 224)}), DataFacts("folder"), "classification")


def test_a_first_axis_that_the_file_fixes_is_written_down_with_its_reason():
    model = facts(inputs={"x": (1, 64), "state": (2, 1, 128), "open": ("N", 3)})
    (said,) = shapes_of(model, DataFacts("npz"), "raw")
    assert (said.table, said.key, said.value, said.guess) == ("source.shapes", "state", [2, 1, 128], True)
    assert "fixes its first axis" in said.reason


def test_layout_and_resizing():
    assert layout_of(TensorSpec("x", "float32", (1, 32, 32, 3))) == "nhwc"
    assert layout_of(TensorSpec("x", "float32", (1, 3, 32, 32))) == "nchw"
    assert layout_of(TensorSpec("x", "float32", (1, 64))) == ""
    assert resize_of(DataFacts("folder", pixels=((32, 32),)), (32, 32), "classification").value is None
    assert resize_of(DataFacts("folder", pixels=((32, 48),)), (32, 32), "classification").value == "stretch"
    assert resize_of(DataFacts("coco", pixels=((32, 48),)), (32, 32), "detection").value == "letterbox"


def test_names_of_the_model_win_over_those_of_the_data():
    model, data = facts(names=("b", "a")), DataFacts("folder", ("a", "b"))
    assert labels_of(model, data, 2)[0].value == ["b", "a"]
    assert labels_of(facts(), data, 2)[0].value == ["a", "b"]


def test_one_probability_of_a_classifier_tells_two_classes_apart():
    source, data = SimpleNamespace(graph=_Graph((1, 1))), DataFacts("folder", ("a", "b"))
    assert propose._of_outputs(source, facts(), data, "classification")[0].value == ["a", "b"]
    assert propose._of_outputs(source, facts(), DataFacts("csv", ("a",)), "multilabel")[0].value == ["a"]


def test_a_detector_of_one_class_has_one_name():
    """It was given a second one, "class 1", and then refused for it."""
    data = DataFacts("yolo", ("apple",))
    assert [one.value for one in labels_of(facts(), data, 1)] == [["apple"]]
    assert [one.value for one in labels_of(facts(names=("apple",)), data, 1)] == [["apple"]]


def test_a_model_of_more_classes_than_the_data_is_asked_for_its_names():
    (found,) = labels_of(facts(), DataFacts("folder", ("cat", "dog")), 4)
    assert found.value == ["cat", "dog", "class 2", "class 3"]
    assert "the model has 4 classes, the data 2" in found.ask


DECODERS = {
    "yolo v8": ([(1, 84, 8400)], 80, {"decoder": "yolo", "class_count": 80}),
    "yolo v5": ([(1, 25200, 85)], 80, {"decoder": "yolo", "objectness": True}),
    "with its suppression in the model": ([(1, 300, 6)], 80, {"decoder": "boxes", "nms": "none"}),
    "unknown": ([(1, 7)], 80, {"decoder": None}),
}


@pytest.mark.parametrize("case", DECODERS)
def test_the_decoder_of_a_detector(case):
    shapes, names, keys = DECODERS[case]
    found = decoder_of(_Graph(*shapes), facts(names=tuple(map(str, range(names)))), DataFacts("coco"))
    assert {one.key: one.value for one in found}.items() >= keys.items()
    assert bool(questions(found)) == (case == "unknown")


def test_boxes_that_tensorflow_has_decoded():
    graph = _Graph((1, 10, 4), (1, 10), (1, 10), (1,), last="TFLite_Detection_PostProcess")
    assert {one.key: one.value for one in decoder_of(graph, facts(), DataFacts("coco"))}["scores"] == 2


@pytest.mark.parametrize(
    ("text", "name"),
    [("Best (final) v2", "best-final-v2"), ("ÄÖ", "m"), ("_x_", "x"), ("a" * 99, "a" * 62), ("yolov8n", "yolov8n")],
)
def test_the_name_of_a_model_follows_from_its_file(text, name):
    assert model_name(text) == name


def test_the_version_in_a_files_name(tmp_path):
    assert (facts(tmp_path / "cats-1.2.0.onnx").name, facts(tmp_path / "cats-1.2.0.onnx").version) == ("cats", "1.2.0")
    assert (facts(tmp_path / "yolo11n.onnx").name, facts(tmp_path / "yolo11n.onnx").version) == ("yolo11n", "")


def test_labels_that_are_packed_into_a_tflite_file_are_found(tmp_path):
    path = tmp_path / "m.tflite"
    path.write_bytes(linear_model([[1.0]], [0.0], (1, 1)))
    assert model_facts(path).names == ()
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("labels.txt", "cat\ndog\n")
    assert model_facts(path).names == ("cat", "dog")


def test_what_an_exporter_has_written_into_an_onnx_file_is_read(tmp_path):
    graph = helper.make_graph(
        [helper.make_node("Relu", ["images"], ["y"])],
        "g",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", 3, "height", "width"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 3, "height", "width"])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    said = {"names": "{0: 'apple', 1: \"ann's\"}", "task": "detect", "imgsz": "[480, 640]", "author": "Ultralytics"}
    helper.set_model_props(model, said)
    onnx.save(model, tmp_path / "m.onnx")
    found = model_facts(tmp_path / "m.onnx")
    assert (found.names, found.task, found.pixels) == (("apple", "ann's"), "detection", (480, 640))
    assert found.ultralytics
    assert list(found.open_inputs) == ["images"]


@pytest.mark.parametrize("names", ["__import__('os')", "{0: 'a', 2: 'b'}", "[" * 500, "", "7"])
def test_names_that_are_none_are_not_taken_and_run_nothing(names):
    assert _names(names) == ()


def test_a_model_that_is_not_there_is_one_line(tmp_path):
    with pytest.raises(ModelError, match="there is no such file"):
        model_facts(tmp_path / "none.onnx")


def test_a_recipe_is_toml_whatever_the_names_are():
    hostile = ['a"b', "back\\slash", "é\u2028", "tab\t", "\x7f", "]", "#"]
    choices = [
        Choice("", "schema", 1),
        Choice("labels", "names", hostile, "why", True),
        Choice("source.shapes", "in put:0", [1, 3], ask="which?"),
        Choice("preprocess", "scale", 1 / 255),
        Choice("preprocess", "color", None, ask="which colour?"),
    ]
    text = recipe_text(choices, ["first"])
    table = tomllib.loads(text)
    assert table["labels"]["names"] == hostile
    assert table["source"]["shapes"] == {"in put:0": [1, 3]}
    assert table["preprocess"] == {"scale": 1 / 255}
    assert "# QUESTION: which?" in text
    assert questions(choices) == ["which?", "which colour?"]


def test_many_names_stand_in_a_file_of_their_own():
    names = [f"class {at}" for at in range(100)]
    kept, file = apart([Choice("labels", "names", names, "why")])
    assert [(one.key, one.value) for one in kept] == [("file", "labels.txt")]
    assert list(file) == names
