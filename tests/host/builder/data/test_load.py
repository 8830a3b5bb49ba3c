"""From `[data]` of a recipe to two sets of samples: of every format, and refused in one line where they do not fit."""

import json
import os

import numpy as np
import pytest
from PIL import Image

from skerry_agent.wire.manifest import TensorSpec
from skerry_host.builder.data.load import load_data, with_names
from skerry_host.builder.recipe.errors import RecipeError
from skerry_host.builder.recipe.recipe import load_recipe
from tests.kit.datasets import class_folders, coco, image, png, sound

PIXELS = TensorSpec("x", "float32", (1, 8, 8, 3))
RECIPE = """
schema = 1
name = "any"
task = "{task}"
license = "MIT"
[source]
file = "model.tflite"
[golden]
samples = 2
[data]
{data}
{more}
"""


def loaded_in(folder, task="classification", data='folder = "data"', more=""):
    (folder / "model.tflite").write_bytes(b"?")
    (folder / "recipe.toml").write_text(RECIPE.format(task=task, data=data, more=more), "utf-8")
    return load_recipe(folder)


def load(loaded, tensor=PIXELS, classes=0):
    return load_data(loaded, [tensor], classes)


def refused(loaded, tensor=PIXELS, classes=0) -> str:
    with pytest.raises(RecipeError) as found:
        load(loaded, tensor, classes)
    assert found.value.code == "data"
    assert "\n" not in str(found.value)
    return str(found.value)


def test_one_folder_of_images_becomes_two_sets_and_the_classes_get_their_names(tmp_path):
    class_folders(tmp_path / "data", {"cat": 10, "dog": 10})
    loaded = loaded_in(tmp_path)
    data = load(loaded, classes=2)
    assert (len(data.calibration), len(data.evaluation)) == (6, 14)
    assert data.names == ("cat", "dog")
    assert with_names(loaded, data).recipe.labels.names == ("cat", "dog")
    assert data.calibration.inputs[0][0].shape == (8, 8, 3)
    assert data.notes[0] == "split of data: 6 samples to calibrate, 14 to evaluate"
    assert set(data.sha256) == {"calibration", "evaluation"}


@pytest.mark.parametrize("parts", [("train", "test"), ("Training", "val"), ("pets/train", "pets/valid")])
def test_a_set_that_is_split_already_stays_so(tmp_path, parts):
    for at, part in enumerate(parts):
        class_folders(tmp_path / "data" / part, {"cat": 4 + at, "dog": 4 + at})
    data = load(loaded_in(tmp_path), classes=2)
    assert (len(data.calibration), len(data.evaluation)) == (8, 10)


def test_both_parts_have_one_order_of_classes(tmp_path):
    class_folders(tmp_path / "data" / "train", {"ant": 2, "cat": 4, "dog": 4})
    class_folders(tmp_path / "data" / "val", {"cat": 4, "dog": 4})
    data = load(loaded_in(tmp_path), classes=3)
    assert set(data.evaluation.truth) == {1, 2}


def test_as_many_as_are_wanted_are_taken_of_every_class(tmp_path):
    class_folders(tmp_path / "data", {"cat": 30, "dog": 10})
    lines = 'folder = "data"\ncalibration_samples = 4\nevaluation_samples = 6\nsplit = 0.5'
    data = load(loaded_in(tmp_path, data=lines), classes=2)
    assert sorted(data.calibration.truth) == [0, 0, 1, 1]
    assert sorted(data.evaluation.truth) == [0, 0, 0, 1, 1, 1]


def test_damaged_images_are_left_out_and_named(tmp_path):
    root = class_folders(tmp_path / "data", {"cat": 10, "dog": 10})
    (root / "cat" / "broken.png").write_bytes(b"?")
    data = load(loaded_in(tmp_path), classes=2)
    assert [one.split(": ", 1)[1] for one in data.left_out] == ["cat/broken.png: is no image"]


def test_boxes_masks_sound_and_tables_become_what_is_right_for_their_task(tmp_path):
    for at in range(8):
        image(tmp_path / "boxes" / f"{at}.png", at)
        image(tmp_path / "seg" / "images" / f"{at}.png", at)
        (tmp_path / "seg" / "masks").mkdir(exist_ok=True)
        (tmp_path / "seg" / "masks" / f"{at}.png").write_bytes(png(np.full((8, 8), at % 3, np.uint8)))
        sound(tmp_path / "wavs" / ("yes" if at % 2 else "no") / f"{at}.wav", np.sin(np.arange(64) / (at + 1)))
    boxes = [{"image_id": at, "category_id": 1 + at % 2, "bbox": [0, 0, 4, 4]} for at in range(8)]
    coco(tmp_path / "boxes" / "all.json", [(at, f"{at}.png", 8, 8) for at in range(8)], boxes)
    rows = "".join(f"{at},{at * at},{at / 2}\n" for at in range(8))
    (tmp_path / "t.csv").write_text(f"a,b,y\n{rows}", "utf-8")

    def right(task, folder, tensor=PIXELS):
        return load(loaded_in(tmp_path, task, f'folder = "{folder}"'), tensor).evaluation

    assert right("detection", "boxes").truth[0].shape == (1, 5)
    assert right("segmentation", "seg").truth[0].shape == (8, 8)
    wave = right("classification", "wavs", TensorSpec("x", "float32", (1, 64)))
    assert wave.inputs[0][0].shape == (64,)
    table = right("regression", "t.csv", TensorSpec("x", "float32", (1, 2)))
    assert all(table.truth[at][0] == table.inputs[at][0][0] / 2 for at in range(len(table)))


def test_labels_of_another_task_are_not_used_and_it_is_said(tmp_path):
    class_folders(tmp_path / "data", {"cat": 10, "dog": 10})
    data = load(loaded_in(tmp_path, "detection"))
    assert data.evaluation.truth is None
    assert any("say nothing that detection is judged by" in note for note in data.notes)


REFUSED = {
    "no images": ({}, "", "has no images, no WAV files and no tables"),
    "too few": ({"cat": 2, "dog": 2}, "", "at least 2 are needed"),
    "another number of classes": ({"cat": 9, "dog": 9}, "", "the data have 2 classes (cat, dog), the model has 5"),
    "a class that the recipe has not": (
        {"cat": 9, "zebra": 9},
        '[labels]\nnames = ["cat", "dog", "a", "b", "c"]',
        "folders zebra: none of the classes (cat, dog, a, b, c)",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_data_that_do_not_fit_are_refused(tmp_path, case):
    counts, more, reason = REFUSED[case]
    (tmp_path / "data").mkdir()
    class_folders(tmp_path / "data", counts)
    data = 'folder = "data"\ncalibration_samples = 2\nsplit = 0.3' if case == "too few" else 'folder = "data"'
    loaded = loaded_in(tmp_path, data=data, more=more)
    if case == "too few":
        for path in sorted((tmp_path / "data").rglob("*.png"))[:3]:
            path.unlink()
    assert reason in refused(loaded, classes=5 if case != "too few" else 0)


def test_images_of_another_size_than_the_model_takes_are_said_with_what_to_do(tmp_path):
    class_folders(tmp_path / "data", {"cat": 9}, size=(20, 10))
    class_folders(tmp_path / "data", {"dog": 9})
    assert '[preprocess] resize = "stretch"' in refused(loaded_in(tmp_path), classes=2)
    assert load(loaded_in(tmp_path, more='[preprocess]\nresize = "stretch"'), classes=2)


def test_colours_for_a_model_of_grey_images_are_said_with_what_to_do(tmp_path):
    class_folders(tmp_path / "data", {"cat": 9, "dog": 9})
    assert 'color = "gray"' in refused(loaded_in(tmp_path), TensorSpec("x", "float32", (1, 8, 8, 1)), 2)


def test_images_that_are_all_of_one_colour_are_no_samples(tmp_path):
    for at in range(20):
        path = tmp_path / "data" / ("cat" if at % 2 else "dog") / f"{at}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (7, 7, 7)).save(path)
    assert "these are not real samples" in refused(loaded_in(tmp_path), classes=2)


def test_masks_of_a_class_that_the_model_does_not_have_are_named(tmp_path):
    for at in range(20):
        image(tmp_path / "data" / "images" / f"{at}.png", at)
        (tmp_path / "data" / "masks").mkdir(exist_ok=True)
        (tmp_path / "data" / "masks" / f"{at}.png").write_bytes(png(np.full((8, 8), at, np.uint8)))
    assert "masks have classes" in refused(loaded_in(tmp_path, "segmentation"), classes=3)


def test_boxes_of_a_class_that_the_model_does_not_have_are_named(tmp_path):
    for at in range(12):
        image(tmp_path / "data" / f"{at}.png", at)
    boxes = [{"image_id": at, "category_id": 3, "bbox": [0, 0, 4, 4]} for at in range(12)]
    kinds = ((1, "a"), (2, "b"), (3, "c"))
    coco(tmp_path / "data" / "x.json", [(at, f"{at}.png", 8, 8) for at in range(12)], boxes, kinds)
    more = '[labels]\nnames = ["a", "b", "c"]'
    loaded = loaded_in(tmp_path, "detection", more=more)
    assert "has a box of class 2, the model has 2 classes" in refused(loaded, classes=2)


def test_one_npz_file_is_not_split_and_other_formats_are_not_guessed(tmp_path):
    np.savez(tmp_path / "x.npz", inputs=np.zeros((9, 8, 8, 3), np.uint8))
    assert "a .npz file is not split" in refused(loaded_in(tmp_path, data='folder = "x.npz"'))
    (tmp_path / "x.json").write_text(json.dumps([1]), "utf-8")
    assert "is no .npz, .csv, .json (COCO) or data.yaml" in refused(loaded_in(tmp_path, data='folder = "x.json"'))


def test_a_folder_of_two_npz_files_is_two_sets(tmp_path):
    for name, count in (("calibration", 8), ("evaluation", 9)):
        pixels = np.random.default_rng(count).integers(0, 256, (count, 8, 8, 3), dtype=np.uint8)
        (tmp_path / "data").mkdir(exist_ok=True)
        np.savez(tmp_path / "data" / f"{name}.npz", inputs=pixels, labels=np.arange(count) % 2)
    data = load(loaded_in(tmp_path), classes=2)
    assert (len(data.calibration), len(data.evaluation)) == (8, 9)
    assert set(data.sha256) == {"calibration", "evaluation"}


def test_the_annotations_of_instances_are_taken_before_those_of_captions(tmp_path):
    for part, count in (("train", 6), ("val", 4)):
        pictures = [(at, f"{at}.png", 8, 8) for at in range(count)]
        boxes = [{"image_id": at, "category_id": 1, "bbox": [0, 0, 4, 4]} for at in range(count)]
        for at in range(count):
            image(tmp_path / "data" / f"{part}2017" / f"{at}.png", at + 10 * count)
        coco(tmp_path / "data" / "annotations" / f"captions_{part}2017.json", pictures, [], ())
        coco(tmp_path / "data" / "annotations" / f"instances_{part}2017.json", pictures, boxes)
    data = load(loaded_in(tmp_path, "detection"))
    assert (len(data.calibration), len(data.evaluation)) == (6, 4)
    assert data.names == ("cat", "dog")


def test_the_splits_of_data_yaml_are_the_two_sets(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "data.yaml").write_text("train: images/a\nval: images/b\nnames: [cat]\n", "utf-8")
    for part, count in (("a", 5), ("b", 3)):
        for at in range(count):
            image(tmp_path / "data" / "images" / part / f"{at}.png", at + 10 * count)
            text = tmp_path / "data" / "labels" / part / f"{at}.txt"
            text.parent.mkdir(parents=True, exist_ok=True)
            text.write_text("0 0.5 0.5 0.2 0.2", "utf-8")
    data = load(loaded_in(tmp_path, "detection", 'folder = "data/data.yaml"'), classes=1)
    assert (len(data.calibration), len(data.evaluation)) == (5, 3)
    assert data.names == ("cat",)  # a detector of one class has one, and no second that means nothing


def test_a_class_without_a_sample_is_said(tmp_path):
    class_folders(tmp_path / "data", {"cat": 9, "dog": 9})
    data = load(loaded_in(tmp_path, more='[labels]\nnames = ["cat", "dog", "emu"]'), classes=3)
    assert any("no sample is of emu" in note for note in data.notes)


def test_names_of_files_that_are_no_text_or_control_a_terminal_are_cleaned(tmp_path):
    class_folders(tmp_path / "data", {"cat": 9, "dog": 9})
    for name in (b"\xff.png", b"\x1b[31m.png", b"a\nb.txt"):
        (tmp_path / "data" / "cat" / os.fsdecode(name)).write_bytes(b"?")
    data = load(loaded_in(tmp_path), classes=2)
    assert len(data.left_out) == 2
    for text in (*data.left_out, *data.notes):
        assert text.isprintable()
        text.encode()


def test_a_model_of_several_inputs_needs_an_npz(tmp_path):
    class_folders(tmp_path / "data", {"cat": 9, "dog": 9})
    with pytest.raises(RecipeError, match=r"takes 2 inputs, folder gives one: write a \.npz"):
        load_data(loaded_in(tmp_path), [PIXELS, TensorSpec("z", "float32", (1, 2))], 2)
