"""What counts as a right answer, with labels and without."""

import numpy as np
import pytest

from skerry_agent.wire.manifest import Postprocess
from skerry_host.builder.judge.tasks.base import Known, View
from skerry_host.builder.judge.tasks.table import measure
from skerry_host.builder.recipe.errors import RecipeError
from skerry_host.builder.recipe.recipe import Task

LABELLED = Known(np.array([0, 0, 1]), None, 3)
PLAIN = Known(None, None, 3)
VECTORS = np.array([[1.0, 0.1], [1.0, 0.0], [0.0, 1.0]])


def count_correct(outputs, expected, task, size) -> tuple[str, int]:
    found = measure(outputs, expected, task, View(size))
    assert found.marks is not None
    assert found.marks.shape == (3,)
    assert found.value == found.marks.mean()
    return found.metric, int(found.marks.sum())


def compared_with(outputs) -> Known:
    return Known(None, tuple(outputs), 3)


def test_an_embedding_is_right_when_its_neighbour_is_of_its_kind():
    assert count_correct([VECTORS], LABELLED, Task("embedding"), (1, 1)) == ("neighbour", 2)


@pytest.mark.parametrize("task", ["classification", "embedding", "raw"])
def test_without_labels_the_float_model_is_the_measure(task):
    truth = compared_with([VECTORS])
    assert count_correct([VECTORS * 2], truth, Task(task), (1, 1)) == ("agreement", 3)
    assert count_correct([VECTORS[:, ::-1]], truth, Task(task), (1, 1))[1] == 0
    assert count_correct([VECTORS], PLAIN, Task(task), (1, 1))[1] == 3


def test_a_silent_output_agrees_with_a_silent_one():
    silent = np.zeros((3, 2))
    assert count_correct([silent], compared_with([silent]), Task("raw"), (1, 1))[1] == 3
    assert count_correct([silent], compared_with([VECTORS]), Task("raw"), (1, 1))[1] == 0


SHAPES = {
    "one output": ([np.zeros((3, 10))], "the model has 1 outputs, postprocess names output 1"),
    "no boxes": ([np.zeros((3, 10, 3)), np.zeros((3, 10))], "output 0 does not have 4 numbers per box"),
    "uneven scores": ([np.zeros((3, 4, 4)), np.ones((3, 3))], "output 1 has 3 values for 4 boxes"),
    "nothing seen": ([np.zeros((3, 2, 4)), np.zeros((3, 2, 1))], "detects no box above min_score in any of 3 samples"),
}


@pytest.mark.parametrize("case", SHAPES)
def test_a_detector_that_gives_no_boxes_is_no_measure(case: str):
    outputs, expected = SHAPES[case]
    with pytest.raises(RecipeError, match=expected):
        measure(outputs, PLAIN, Task("detection"), View((8, 8)))


@pytest.mark.parametrize("task", ["raw", "detection"])
def test_labels_that_judge_nothing_do_not_hide_what_quantization_changed(task: str):
    boxes = [np.tile([[[0, 0, 0.5, 0.5]]], (3, 1, 1)), np.ones((3, 1, 1))]
    wrong = [-boxes[0], np.zeros((3, 1, 1))]
    assert measure(wrong, compared_with(boxes), Task(task), View((8, 8))).value == 0


def test_without_truth_a_detector_is_measured_by_the_boxes_that_it_shares_with_the_float_model():
    task = Task("detection", Postprocess(scores=1, min_score=0.5))
    boxes = np.tile([[[0, 0, 0.5, 0.5], [0.5, 0.5, 1, 1]]], (3, 1, 1))
    truth = compared_with([boxes, np.array([[[0.9], [0.9]]] * 3)])
    scores = np.array([[[0.8], [0.7]], [[0.8], [0.2]], [[0.6], [0.6]]])
    moved = boxes.copy()
    moved[2, 1] -= 0.4
    found = measure([moved, scores], truth, task, View((8, 8)))
    assert (found.metric, found.value) == ("matched boxes", pytest.approx(2 * 4 / (4 + 6)))
