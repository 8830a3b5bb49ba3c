"""The answers of every task that has one, and what makes them answers about the sample."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry_agent.processing import (
    Answer,
    Event,
    Events,
    Frame,
    Keypoints,
    Mask,
    Numbers,
    ProcessingError,
    Symbols,
    decode,
    document_of,
    of_sample,
)
from skerry_agent.wire.manifest import Preprocess
from skerry_agent.wire.postprocess import Postprocess

SIZE = (8, 12)


FRAME = Frame(SIZE)


def one(task: str, values, frame: Frame = FRAME, **spec):
    """The answer to the values of one output, or to a tuple of those of several."""
    outputs = values if isinstance(values, tuple) else (values,)
    return decode([np.asarray(part, np.float32) for part in outputs], task, Postprocess(**spec), frame)


SINGLE = {"decoder": "classes"}


@pytest.mark.parametrize(
    ("output", "spec", "answer"),
    [
        ([[0.9]], SINGLE, Answer(1, pytest.approx(0.9))),
        ([[0.2]], SINGLE, Answer(0, pytest.approx(0.2))),
        ([[0.6]], {**SINGLE, "min_score": 0.7}, Answer(0, pytest.approx(0.6))),
        ([[2.0]], {**SINGLE, "activation": "sigmoid"}, Answer(1, pytest.approx(0.880797))),
        ([[9.0, 1.0, 3.0]], {**SINGLE, "background": 0}, Answer(1, 3.0)),
        ([[1.0, 3.0, 9.0]], {**SINGLE, "background": -1}, Answer(1, 3.0)),
        ([[1.0, 3.0, 9.0]], {}, Answer(2, 9.0)),
    ],
)
def test_a_class_is_the_best_score_or_what_a_single_one_says(output, spec, answer):
    assert one("classification", output, **spec) == answer


def test_another_output_may_hold_the_classes():
    assert one("classification", ([[0.0, 5.0]], [[7.0, 1.0]]), **SINGLE, output=1) == Answer(0, 7.0)
    with pytest.raises(ProcessingError, match="has 1 outputs, postprocess names output 1"):
        one("classification", [[0.0, 5.0]], **SINGLE, output=1)


def test_all_classes_that_are_sure_enough():
    found = one("multilabel", [[-3.0, 4.0, 0.0, 1.0]], activation="sigmoid", min_score=0.6)
    assert [answer.index for answer in found.found] == [1, 3]


def test_an_event_lasts_as_long_as_its_class_is_heard():
    heard = np.zeros((1, 10, 2))
    heard[0, 2:5, 1], heard[0, 9, 1], heard[0, :2, 0] = (0.6, 0.9, 0.7), 0.8, 0.55
    expected = (
        Event(0, pytest.approx(0.55), 0.0, 0.2),
        Event(1, pytest.approx(0.9), 0.2, 0.5),
        Event(1, pytest.approx(0.8), 0.9, 1.0),
    )
    assert one("events", heard) == Events(expected)
    assert one("events", heard.transpose(0, 2, 1), rows="last") == Events(expected)
    assert one("events", heard[:, 3]).found[0].end == 1.0  # a model without frames hears the whole sample


SCORES = np.array([0, 1, 1, 0, 1, 2, 2, 0])
"""Symbols of each time; 0 is the blank."""


@pytest.mark.parametrize(("blank", "shift"), [(0, 0), (-1, -1)])
def test_a_sequence_is_read_without_blanks_and_repetitions(blank: int, shift: int):
    table = np.eye(3)[(SCORES + shift) % 3][None] * 0.9
    found = one("sequence", table, blank=blank)
    assert found == Symbols((0, 0, 1), pytest.approx(0.9))
    assert found.text(("a", "b")) == "aab"
    assert found.text(("a",)) == "aa[1]"
    assert one("sequence", table.transpose(0, 2, 1), blank=blank, rows="last") == found


def test_numbers_have_their_unit():
    assert one("regression", [[1.5, -2.0]], unit="m") == Numbers((1.5, -2.0), "m")


@given(st.integers(0, 2**32 - 1), st.booleans())
def test_a_mask_is_the_best_map_at_each_pixel_wherever_the_maps_are(seed: int, planes: bool):
    maps = np.random.default_rng(seed).random((1, 4, 6, 3))
    given_maps = maps.transpose(0, 3, 1, 2) if planes else maps
    found = one("segmentation", given_maps, Frame(SIZE, planes))
    np.testing.assert_array_equal(found.classes, maps[0].argmax(axis=2))


def test_one_map_is_of_one_class_and_indices_are_classes():
    logits = np.full((1, 8, 12, 1), -2.0)
    logits[0, :4] = 2.0
    assert one("segmentation", logits, activation="sigmoid").shares() == {0: 0.5, 1: 0.5}
    assert one("segmentation", np.full((1, 8, 12), 7.0), indices=True).shares() == {7: 1.0}
    with pytest.raises(ProcessingError, match="3 maps, not one"):
        one("segmentation", np.zeros((1, 8, 12, 3)), indices=True)


def test_runs_of_a_mask_are_all_of_its_pixels():
    mask = Mask(np.array([[0, 0, 1], [1, 1, 0]], np.uint8))
    assert mask.runs() == [(0, 2), (1, 3), (0, 1)]


def test_a_mask_is_one_of_the_sample_without_the_padding():
    """A sample of 4 x 12 in 8 x 12 has 2 rows of padding above and below."""
    classes = np.repeat(np.arange(8, dtype=np.uint8), 12).reshape(8, 12)
    found = of_sample(Mask(classes), Preprocess(resize="letterbox"), SIZE, (4, 12))
    assert isinstance(found, Mask)
    np.testing.assert_array_equal(found.classes[:, 0], [2, 3, 4, 5])
    cut = of_sample(Mask(classes), Preprocess(resize="crop"), SIZE, (8, 16))
    assert isinstance(cut, Mask)
    assert cut.classes.shape == (8, 16)
    assert (cut.classes[:, [0, 1, 14, 15]] == 255).all()  # nobody looked there
    assert (cut.classes[:, 2:14] == classes).all()


@pytest.mark.parametrize(
    ("numbers", "spec"),
    [
        ([[3.0, 2.0, 9.0, 6.0, 4.0, 9.0]], {"columns": "xy-", "units": "pixels"}),
        ([[0.25, 0.25, 0.5, 0.5]], {"columns": "yx"}),
        ([[-0.5, -0.5, 0.0, 0.0]], {"units": "signed"}),
        ([[[[0.25, 0.25, 0.9], [0.5, 0.5, 0.8]]]], {"columns": "yxs"}),
    ],
)
def test_points_are_numbers_in_the_recipes_columns_and_units(numbers, spec):
    found = one("keypoints", numbers, **spec)
    assert [(point.y, point.x) for point in found.points] == [(0.25, 0.25), (0.5, 0.5)]
    assert [point.score is None for point in found.points] == ["s" not in spec.get("columns", "")] * 2


def test_points_of_maps_are_where_these_are_highest():
    maps = np.zeros((1, 4, 6, 2))
    maps[0, 1, 2, 0], maps[0, 3, 5, 1] = 3.0, 2.0
    found = one("keypoints", maps, heatmaps=True, activation="sigmoid")
    assert [(point.y, point.x) for point in found.points] == [(1.5 / 4, 2.5 / 6), (3.5 / 4, 5.5 / 6)]
    planes = one("keypoints", maps.transpose(0, 3, 1, 2), Frame(SIZE, planes=True), heatmaps=True, activation="sigmoid")
    assert planes == found


def test_offsets_move_points_from_their_cells():
    """PoseNet: cells lie from edge to edge, the first half of the vectors is down, the second to the right."""
    frame = Frame((33, 49))
    maps, vectors = np.zeros((1, 3, 4, 2)), np.zeros((1, 3, 4, 4))
    maps[0, 1, 2, 0] = maps[0, 2, 3, 1] = 1.0
    vectors[0, 1, 2], vectors[0, 2, 3] = (3.0, 0.0, -2.0, 0.0), (0.0, 1.0, 0.0, 0.5)
    found = one("keypoints", (maps, vectors), frame, heatmaps=True, offsets=1)
    pixels = [(point.y * 33, point.x * 49) for point in found.points]
    np.testing.assert_allclose(pixels, [(16 + 3, 32 - 2), (32 + 1, 48 + 0.5)])


def test_points_of_the_sample_are_where_they_are_without_padding():
    found = of_sample(one("keypoints", [[0.5, 0.25]], columns="xy"), Preprocess(resize="letterbox"), SIZE, (4, 12))
    assert isinstance(found, Keypoints)
    assert (found.points[0].y, found.points[0].x) == (0.0, 0.5)


def test_presence_says_whether_there_is_anything():
    found = one("keypoints", ([[0.5, 0.5]], [[3.0]]), presence=1, presence_activation="sigmoid")
    assert found.presence == pytest.approx(0.952574)
    with pytest.raises(ProcessingError, match="2 numbers, not one"):
        one("keypoints", ([[0.5, 0.5]], [[3.0, 1.0]]), presence=1)


@pytest.mark.parametrize(
    ("task", "output", "spec", "message"),
    [
        ("keypoints", [[1.0, 2.0, 3.0]], {}, r"3 numbers, not 2 \(xy\)"),
        ("keypoints", [[1.0, 2.0]], {"columns": "xx"}, "needs one x, one y"),
        (
            "keypoints",
            (np.zeros((1, 2, 3, 1)), np.zeros((1, 2, 3, 1))),
            {"heatmaps": True, "offsets": 1},
            "not .2, 3, 2",
        ),
        ("segmentation", [[1.0, 2.0]], {}, "not that of maps"),
        ("classification", [[1.0, 2.0]], {**SINGLE, "background": 0}, "leaves one class of 2"),
        ("sequence", np.zeros((1, 4, 3)), {"blank": 5}, "blank is symbol 5"),
        ("sequence", np.zeros((1, 2, 4, 3)), {}, "not that of a table"),
    ],
)
def test_outputs_of_another_form_are_named(task: str, output, spec, message: str):
    with pytest.raises(ProcessingError, match=message):
        one(task, output, **spec)


def test_of_a_task_that_nobody_knows_outputs_are_all_there_is():
    assert one("raw", [[1.0]]) is None
    assert one("holography", [[1.0]]) is None


def test_a_mask_of_noise_is_not_written_out_before_its_runs_are_counted():
    """A picture of 4K would be a list of 8 million numbers, and as many runs, on a board of 512 MB."""
    noise = Mask(np.random.default_rng(0).integers(0, 2, (200, 300)).astype(np.uint8))
    assert noise.runs(20_000) is None
    assert "runs" not in document_of(noise)
    whole = noise.runs()
    assert whole is not None
    assert sum(length for _value, length in whole) == 60_000
    assert Mask(np.zeros((0, 4), np.uint8)).runs() == []
