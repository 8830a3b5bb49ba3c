"""Without numpy a device counts the class that its own postprocessing answers, and judges what it can judge exactly."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry_agent.processing import answer_for
from skerry_agent.runner.arrays import from_array
from skerry_agent.runner.classes import classifier_of
from skerry_agent.runner.positives import judge_of
from skerry_agent.wire.manifest import Baseline, Bundle, Join, TensorSpec
from skerry_agent.wire.postprocess import Postprocess

IMAGE = TensorSpec("x", "float32", (1, 8, 12, 3))


def bundle_of(task: str, spec: Postprocess, *outputs: TensorSpec, **more) -> Bundle:
    return Bundle("cpu", (), (IMAGE,), outputs, task=task, postprocess=spec, **more)


@given(
    dtype=st.sampled_from(["int8", "uint8", "int16", "float32"]),
    count=st.sampled_from([1, 2, 5]),
    activation=st.sampled_from(["none", "sigmoid"]),
    background=st.sampled_from([None, 0, -1]),
    seed=st.integers(0, 999),
)
def test_the_class_is_that_of_the_postprocessing(dtype, count, activation, background, seed):
    spec = Postprocess("classes", activation=activation, background=background if count > 2 else None, output=1)
    scale, zero = (0.0, 0) if dtype == "float32" else (8 / 256, 3)
    bundle = bundle_of("classification", spec, IMAGE, TensorSpec("y", dtype, (1, count), scale, zero))
    rng = np.random.default_rng(seed)
    if dtype == "float32":
        values = (rng.random((1, count)) * 4 - 2).astype(np.float32)
    else:
        info = np.iinfo(np.int8 if dtype == "int16" else dtype)
        values = rng.integers(info.min, info.max, (1, count), endpoint=True).astype(dtype)
    outputs = [np.zeros((1, 8, 12, 3), np.float32), values]
    classify = classifier_of(bundle)
    assert classify is not None
    found = answer_for(bundle, outputs, (8, 12))
    assert classify([from_array(one) for one in outputs]) == found.index


def test_outputs_in_parts_are_whole_before_one_is_taken():
    parts = TensorSpec("a", "float32", (1, 2)), TensorSpec("b", "float32", (1, 2))
    scores = TensorSpec("y", "float32", (1, 3))
    joins = (Join("ab", (0, 1), 1),)
    arrays = [np.array([row], np.float32) for row in ([9, 8], [7, 6], [0, 0, 1])]
    bundle = bundle_of("classification", Postprocess("classes", output=1), *parts, scores, joins=joins)
    classify = classifier_of(bundle)
    assert classify is not None
    assert classify([from_array(one) for one in arrays]) == answer_for(bundle, arrays, (8, 12)).index == 2
    joined = bundle_of("classification", Postprocess("classes", output=0), *parts, scores, joins=joins)
    assert classifier_of(joined) is None  # nothing is counted rather than something else


SCORES = TensorSpec("scores", "int8", (1, 4), 1 / 256, -128)
FRAMES = TensorSpec("scores", "int8", (1, 6, 4), 1 / 256, -128)
LOGIT = TensorSpec("presence", "float32", (1, 1))


@pytest.mark.parametrize(
    ("bundle", "silent", "loud"),
    [
        (bundle_of("multilabel", Postprocess(), SCORES), [np.full((1, 4), -128)], [np.array([[0, 9, 0, 0]])]),
        (bundle_of("events", Postprocess(), FRAMES), [np.full((1, 6, 4), -1)], [np.full((1, 6, 4), 1)]),
        (
            bundle_of("keypoints", Postprocess(presence=1, presence_activation="sigmoid"), IMAGE, LOGIT),
            [np.zeros((1, 8, 12, 3), np.float32), np.array([[-0.1]], np.float32)],
            [np.zeros((1, 8, 12, 3), np.float32), np.array([[0.1]], np.float32)],
        ),
    ],
    ids=["multilabel", "events", "keypoints"],
)  # fmt: skip
def test_answers_of_new_tasks_are_positive_where_something_reaches_the_score(bundle, silent, loud):
    judge = judge_of(bundle)
    assert judge is not None
    quiet, heard = (
        [from_array(one.astype(spec.dtype)) for one, spec in zip(side, bundle.outputs, strict=True)]
        for side in (silent, loud)
    )
    assert not judge(quiet, -1)
    assert judge(heard, -1)


ROWS = TensorSpec("rows", "int8", (1, 20, 6), 1.0, 0)
GRID = TensorSpec("grid", "int8", (1, 4, 6, 16), 1.0, 0)
UNJUDGED = {
    "boxes and scores in one output": bundle_of("detection", Postprocess("boxes", scores=0), ROWS),
    "objectness": bundle_of("detection", Postprocess("yolo", objectness=True), ROWS),
    "other columns of classes than there are": bundle_of("detection", Postprocess("yolo", class_count=9), ROWS),
    "grids of YOLO, the second of which is no output of scores": bundle_of(
        "detection", Postprocess("yolo", head="dfl", strides=(2, 4)), GRID, GRID
    ),
    "a class that means nothing": bundle_of("detection", Postprocess("anchors", background=0), ROWS, SCORES),
    "points without presence": bundle_of("keypoints", Postprocess(), ROWS),
    "a mask": bundle_of("segmentation", Postprocess(), GRID),
}


@pytest.mark.parametrize("case", UNJUDGED)
def test_what_is_no_output_of_scores_is_not_judged(case: str):
    assert judge_of(UNJUDGED[case]) is None


@given(
    dtype=st.sampled_from(["int8", "uint8", "float32"]),
    turned=st.booleans(),
    split=st.booleans(),
    more=st.sampled_from([0, 3]),
    seed=st.integers(0, 999),
)
def test_rows_of_yolo_are_positive_exactly_where_there_is_a_box(dtype, turned, split, more, seed):
    """Also where boxes and scores are parts with a scale each, and where columns of poses or masks follow."""
    rng = np.random.default_rng(seed)
    columns = 4 + 2 + more
    spec = Postprocess("yolo", class_count=2 if more else 0, rows="last" if turned else "first", min_score=0.6)
    axis = 1 if turned else 2
    cuts = [0, 4, 6, columns] if split else [0, columns]
    parts, arrays = [], []
    for first, last in pairwise(cuts):
        if first == last:
            continue
        shape = (1, last - first, 12) if turned else (1, 12, last - first)
        scale, zero = (0.0, 0) if dtype == "float32" else (1 / 256, 0 if dtype == "uint8" else -128)
        parts.append(TensorSpec("p", dtype, shape, scale, zero))
        low, high = (0, 256) if dtype == "uint8" else (-128, 128)
        values = rng.random(shape) ** 9 if dtype == "float32" else low + (high - low - 1) * rng.random(shape) ** 9
        arrays.append(values.astype(dtype))
    joins = (Join("rows", tuple(range(len(parts))), axis),) if len(parts) > 1 else ()
    bundle = bundle_of("detection", spec, *parts, joins=joins)
    judge = judge_of(bundle)
    assert judge is not None
    found = answer_for(bundle, arrays, (8, 12))
    assert judge([from_array(one) for one in arrays], -1) == bool(found.found)


def test_a_single_score_counts_as_two_classes():
    """The largest of one value is always the first: every answer would be class 0 for ever."""
    single = TensorSpec("y", "int8", (1, 1), 1 / 256, -128)
    bundle = bundle_of("classification", Postprocess("classes"), single, baseline=Baseline(0.5, 9, negative=0))
    classify, judge = classifier_of(bundle), judge_of(bundle)
    assert classify is not None
    assert judge is not None
    answers = [classify([from_array(np.array([[value]], np.int8))]) for value in (-128, -1, 0, 127)]
    assert answers == [0, 0, 1, 1]
    assert [judge([], answer) for answer in answers] == [False, False, True, True]
