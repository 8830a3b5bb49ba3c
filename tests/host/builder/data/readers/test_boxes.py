"""Boxes of COCO and YOLO: each in 0..1 of its image; what does not fit its image is named, never judged by."""

import numpy as np
import pytest

from skerry_host.builder.data.readers import coco, yolo
from skerry_host.builder.data.readers.base import NO_CLASS, UnusableDataError, Wanted
from skerry_host.builder.data.readers.simple_yaml import parse
from tests.kit.datasets import coco as write_coco
from tests.kit.datasets import image, plan, problem

DETECTION = Wanted("detection", (), plan())


def coco_of(folder, boxes, size=(20, 10), **kind):
    """One image of a size and its boxes as COCO has them."""
    image(folder / "a.png", size=size)
    annotations = [{"image_id": 1, "category_id": 1, "bbox": box} for box in boxes]
    return write_coco(folder / "instances.json", [(1, "a.png", *kind.get("said", size))], annotations)


def test_boxes_of_coco_are_top_left_bottom_right_of_the_image(tmp_path):
    found = coco.read(coco_of(tmp_path, [[2, 1, 10, 5]]), DETECTION)
    np.testing.assert_allclose(found.truth[0], [[0, 0.1, 0.1, 0.6, 0.6]])
    assert found.names == ("cat", "dog")


def test_categories_are_ordered_by_id_unless_the_recipe_names_them(tmp_path):
    image(tmp_path / "a.png")
    annotations = [{"image_id": 1, "category_id": 90, "bbox": [0, 0, 4, 4]}]
    categories = ((90, "toothbrush"), (1, "person"), (13, "stop sign"))
    file = write_coco(tmp_path / "x.json", [(1, "a.png", 8, 8)], annotations, categories)
    assert coco.read(file, DETECTION).names == ("person", "stop sign", "toothbrush")
    assert coco.read(file, DETECTION).truth[0][0, 0] == 2
    named = Wanted("detection", ("toothbrush", "person", "gap", "stop sign"), plan())
    assert coco.read(file, named).truth[0][0, 0] == 0


def test_crowds_are_left_out_and_said_and_images_without_boxes_stay(tmp_path):
    for name in ("a.png", "b.png"):
        image(tmp_path / name)
    annotations = [{"image_id": 1, "category_id": 1, "bbox": [0, 0, 4, 4], "iscrowd": 1}]
    file = write_coco(tmp_path / "x.json", [(1, "a.png", 8, 8), (2, "b.png", 8, 8)], annotations)
    found = coco.read(file, DETECTION)
    assert [len(boxes) for boxes in found.truth] == [0, 0]
    assert list(found.groups) == [NO_CLASS, NO_CLASS]
    assert found.notes == ("1 boxes of crowds (iscrowd) are left out",)


@pytest.mark.parametrize("where", ["beside", "images/val2017", "val2017"])
def test_images_are_found_where_people_keep_them(tmp_path, where):
    folder = tmp_path if where == "beside" else tmp_path / where
    image(folder / "1.png")
    if where != "beside":
        image(tmp_path / where.replace("val", "train") / "1.png", 5)  # another image of the same name
    file = tmp_path / ("x.json" if where == "beside" else "annotations/instances_val2017.json")
    write_coco(file, [(1, "1.png", 8, 8)], [])
    assert coco.read(file, DETECTION).files[0][0].parent == folder


def test_an_image_that_is_missing_is_named(tmp_path):
    image(tmp_path / "a.png")
    file = write_coco(tmp_path / "x.json", [(1, "a.png", 8, 8), (2, "gone.png", 8, 8)], [])
    found = coco.read(file, DETECTION)
    assert len(found) == 1
    assert found.damaged == ("gone.png: there is no such image",)


def test_no_image_leads_out_of_the_folder(tmp_path):
    image(tmp_path / "secret.png")
    image(tmp_path / "data" / "a.png")
    file = write_coco(tmp_path / "data" / "x.json", [(1, "../secret.png", 8, 8), (2, "a.png", 8, 8)], [])
    assert [path.name for path, _file in coco.read(file, DETECTION).files] == ["a.png"]


BOXES = {
    "a pixel outside is clipped": ([[-0.1, 0, 20.2, 10]], ""),
    "far outside": ([[15, 2, 10, 5]], "has a box outside of the image"),
    "not a number": ([[float("nan"), 0, 1, 1]], "not in COCO's format"),
    "in corners of three": ([[1, 2, 3]], "bbox of 3 numbers"),
}


@pytest.mark.parametrize("case", BOXES)
def test_boxes_outside_are_clipped_a_little_and_refused_if_far(tmp_path, case):
    boxes, reason = BOXES[case]
    try:
        found = problem(coco.read(coco_of(tmp_path, boxes), DETECTION).truth, 0)
    except UnusableDataError as error:
        found = str(error)
    assert reason in found
    assert bool(reason) == bool(found)


def test_an_image_that_was_resized_keeps_its_boxes_and_one_of_another_form_is_named(tmp_path):
    resized = coco.read(coco_of(tmp_path, [[20, 10, 100, 50]], said=(200, 100)), DETECTION)
    np.testing.assert_allclose(resized.truth[0], [[0, 0.1, 0.1, 0.6, 0.6]])
    turned = coco.read(coco_of(tmp_path, [[2, 1, 5, 5]], said=(10, 20)), DETECTION)
    assert "was annotated as 10 x 20 pixels, and has 20 x 10" in problem(turned.truth, 0)


@pytest.mark.parametrize("content", [b"", b"[]", b'{"images": 3}', b'{"images": []', b"[" * 100_000])
def test_a_file_that_is_not_cocos_is_refused_in_one_line(tmp_path, content):
    (tmp_path / "x.json").write_bytes(content)
    with pytest.raises(UnusableDataError) as refused:
        coco.read(tmp_path / "x.json", DETECTION)
    assert "\n" not in str(refused.value)


def test_keypoints_of_coco_are_y_x_and_whether_they_are_seen(tmp_path):
    image(tmp_path / "a.png", size=(20, 10))
    one = {"image_id": 1, "category_id": 1, "bbox": [0, 0, 9, 9], "keypoints": [10, 5, 2, 0, 0, 0]}
    file = write_coco(tmp_path / "x.json", [(1, "a.png", 20, 10)], [one])
    np.testing.assert_allclose(coco.read(file, Wanted("keypoints", (), plan())).truth[0], [[0.5, 0.5, 1], [0, 0, 0]])


@pytest.mark.parametrize("points", [None, [], [1, 2]])
def test_an_image_without_keypoints_is_named(tmp_path, points):
    image(tmp_path / "a.png", size=(20, 10))
    one = {"image_id": 1, "category_id": 1, "bbox": [0, 0, 9, 9], "keypoints": points}
    file = write_coco(tmp_path / "x.json", [(1, "a.png", 20, 10)], [one] if points is not None else [])
    assert "keypoints" in problem(coco.read(file, Wanted("keypoints", (), plan())).truth, 0)


YAML = """
# made by a tool
path: .   # the root
train: images/train
val: [images/val]
nc: 2
names:
  0: cat
  1: 'dog # not a comment'
"""


def yolo_of(root, lines: str = "0 0.5 0.5 0.2 0.4\n1 0.1 0.1 0.1 0.1\n"):
    (root / "data.yaml").write_text(YAML, "utf-8")
    for split in ("train", "val"):
        image(root / "images" / split / "a.png", len(split))
        text = root / "labels" / split / "a.txt"
        text.parent.mkdir(parents=True)
        text.write_text(lines, "utf-8")
    return root


def test_boxes_of_yolo_are_centre_and_size(tmp_path):
    found = yolo.read(yolo_of(tmp_path) / "images" / "val", DETECTION)
    np.testing.assert_allclose(found.truth[0], [[0, 0.3, 0.4, 0.7, 0.6], [1, 0.05, 0.05, 0.15, 0.15]], atol=1e-6)
    assert found.names == ("cat", "dog # not a comment")


def test_the_splits_of_data_yaml(tmp_path):
    places = yolo.splits(yolo_of(tmp_path) / "data.yaml")
    assert {name: [place.name for place in there] for name, there in places.items()} == {
        "train": ["train"],
        "val": ["val"],
    }
    assert len(yolo.read(tmp_path / "data.yaml", DETECTION)) == 2


LINES = {
    "a polygon": ("1 0.1 0.2 0.5 0.2 0.5 0.6 0.1 0.6\n", [[1, 0.2, 0.1, 0.6, 0.5]], ""),
    "with a confidence": ("0 0.5 0.5 1 1 0.93\n", [[0, 0, 0, 1, 1]], ""),
    "nothing": ("", np.zeros((0, 5)), ""),
    "in pixels": ("0 320 240 100 100\n", None, "box outside of the image"),
    "another class": ("7 0.5 0.5 0.1 0.1\n", None, "class 7, which data.yaml does not name"),
    "a text": ("cat 0.5 0.5 0.1 0.1\n", None, "a line that is no box"),
    "three numbers": ("0 0.5 0.5 0.1\n", None, "neither a box nor a polygon"),
}


@pytest.mark.parametrize("case", LINES)
def test_lines_of_yolo(tmp_path, case):
    lines, boxes, reason = LINES[case]
    found = yolo.read(yolo_of(tmp_path, lines) / "images" / "train", DETECTION)
    assert reason in problem(found.truth, 0)
    if boxes is not None:
        np.testing.assert_allclose(found.truth[0], boxes, atol=1e-6)


def test_an_image_without_a_text_file_has_no_boxes_and_it_is_said(tmp_path):
    image(yolo_of(tmp_path) / "images" / "train" / "b.png", 9)
    found = yolo.read(tmp_path / "images" / "train", DETECTION)
    assert len(found.truth[1]) == 0
    assert "1 images without a text file" in found.notes[0]


def test_images_without_any_boxes_are_refused(tmp_path):
    image(tmp_path / "images" / "a.png")
    with pytest.raises(UnusableDataError, match="no image has a text file with boxes"):
        yolo.read(tmp_path, DETECTION)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("names: [a, 'b c', \"d, e\"]", ["a", "b c", "d, e"]),
        ("names:\n- a\n- 'b'\n", ["a", "b"]),
        ("names:\n  - a  # first\n  - b\nnc: 2", ["a", "b"]),
        ("names: {0: a, 1: b}", {"0": "a", "1": "b"}),
        ("names: ['a',\n  'b']\n", ["a", "b"]),
        ("\ufeffnames:\n    0: a\n    1: b:c\n", {"0": "a", "1": "b:c"}),
    ],
)
def test_the_yaml_that_tools_write(text, names):
    assert parse(text)["names"] == names
