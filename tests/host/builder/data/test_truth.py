"""What people write as labels becomes the task's form, and what is of another task is named."""

import numpy as np
import pytest

from skerry_host.builder.data.truth import TruthError, TruthForm, parse_truth

FORM = TruthForm(3, 4, ("a", "b", "c", "d"))
ONE_HOT = np.eye(4)[[0, 3, 1]]

SAME_CLASSES = {
    "integers": np.array([0, 3, 1], np.uint8),
    "whole floats": np.array([0.0, 3.0, 1.0]),
    "a column": np.array([[0], [3], [1]]),
    "one-hot": ONE_HOT,
    "one-hot booleans": ONE_HOT.astype(bool),
    "names": np.array(["a", "d", "b"]),
}


@pytest.mark.parametrize("form", SAME_CLASSES)
def test_classes_are_read_however_they_are_written(form: str):
    found = parse_truth("classification", {"labels": SAME_CLASSES[form]}, FORM)
    assert np.array_equal(np.asarray(found), [0, 3, 1])


BOX = [0, 1, 0.1, 0.2, 0.5, 0.6]
REFUSED = {
    "a class too many": ("classification", {"labels": np.array([0, 1, 4])}, "labels run from 0 to 4, the model has 4"),
    "halves": ("classification", {"labels": np.array([0, 1, 1.5])}, "not 3 integers"),
    "several classes": ("classification", {"labels": np.ones((3, 4))}, "task multilabel"),
    "unknown names": ("classification", {"labels": np.array(["a", "x", "b"])}, "'x', which labels.names has not"),
    "one class for multilabel": ("multilabel", {"labels": np.arange(3)}, "are task classification"),
    "other numbers for multilabel": ("multilabel", {"labels": np.full((3, 4), 2)}, "other values than 0 and 1"),
    "classes for a detector": (
        "detection",
        {"labels": np.arange(3)},
        "classes of samples .* is in 'boxes'",
    ),
    "boxes for a classifier": ("classification", {"boxes": np.array([BOX])}, "boxes of objects .* 'labels'"),
    "masks for boxes": ("detection", {"masks": np.zeros((3, 4, 4), np.uint8)}, "whose truth is in 'boxes'"),
    "a box outside": ("detection", {"boxes": np.array([[*BOX[:4], 7, 9]])}, "outside 0..1 of the sample, such as"),
    "an empty box": ("detection", {"boxes": np.array([[0, 1, 0.5, 0.2, 0.1, 0.6]])}, "have no area"),
    "a box of no sample": ("detection", {"boxes": np.array([[9, *BOX[1:]]])}, "of samples 9 to 9, there are 3"),
    "a box of no class": ("detection", {"boxes": np.array([[0, 7, *BOX[2:]]])}, "classes 7 to 7, the model has 4"),
    "short boxes": ("detection", {"boxes": np.zeros((2, 5))}, r"not \(total, 6\)"),
    "a mask of another class": (
        "segmentation",
        {"masks": np.full((3, 2, 2), 9, np.uint8)},
        "have classes 9 to 9",
    ),
    "masks of other samples": ("segmentation", {"masks": np.zeros((2, 2, 2), np.uint8)}, r"not \(3, height, width\)"),
    "points in pixels": ("keypoints", {"keypoints": np.full((3, 2, 2), 120.0)}, "not in pixels"),
    "numbers of another shape": ("regression", {"targets": np.zeros((3, 2))}, "2 numbers a sample"),
    "NaN": ("regression", {"targets": np.array([1, np.nan, 2])}, "NaN"),
    "integers as texts": ("sequence", {"texts": np.arange(3)}, "not 3 texts"),
    "letters of another alphabet": (
        "sequence",
        {"texts": np.array(["привет", "мир", "да"])},
        "letters that labels",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_truth_of_another_task_or_form_is_refused_with_the_reason(case: str):
    task, arrays, message = REFUSED[case]
    form = TruthForm(3, 4, FORM.names, (1,)) if task == "regression" else FORM
    with pytest.raises(TruthError, match=message):
        parse_truth(task, arrays, form)


def test_each_sample_has_its_boxes_also_none():
    rows = np.array([[2, 1, 0, 0, 0.5, 0.5], [0, 0, 0.1, 0.1, 1, 1], [2, 3, 0.2, 0.2, 0.4, 0.4]])
    found = parse_truth("detection", {"boxes": rows}, FORM)
    assert found is not None
    assert [len(boxes) for boxes in found] == [1, 0, 2]
    assert found[2][:, 0].tolist() == [1, 3]
    empty = parse_truth("detection", {"boxes": np.zeros((0, 6))}, FORM)
    assert empty is not None
    assert [boxes.shape for boxes in empty] == [(0, 5)] * 3


def test_ignored_pixels_are_of_no_class_and_points_are_visible_unless_said():
    masks = np.array([[[0, 255], [3, 1]]] * 3, np.uint8)
    assert np.array_equal(np.asarray(parse_truth("segmentation", {"masks": masks}, FORM)), masks)
    wide = np.asarray(parse_truth("segmentation", {"masks": masks.astype(np.int64)}, FORM))
    assert wide.dtype == np.uint8
    points = parse_truth("keypoints", {"keypoints": np.full((3, 2, 2), 0.5)}, FORM)
    assert np.asarray(points)[..., 2].tolist() == [[1, 1]] * 3


def test_nothing_said_is_nothing_known():
    assert parse_truth("classification", {}, FORM) is None
    assert parse_truth("raw", {"labels": np.arange(3)}, FORM) is None


def test_texts_without_an_alphabet_are_refused_before_anything_is_built():
    arrays = {"texts": np.array(["a", "b", "c"])}
    with pytest.raises(TruthError, match=r"give it in \[labels\]"):
        parse_truth("sequence", arrays, TruthForm(3, 0, ()))
    assert parse_truth("sequence", arrays, TruthForm(3, 0, ("a", "b", "c"))) == ["a", "b", "c"]
