"""Our figures are those of scikit-learn and pycocotools, also for ties, empty classes, and where nothing is found."""

import contextlib
import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from sklearn import metrics

from skerry_host.builder.judge.tasks import average_precision as ap
from skerry_host.builder.judge.tasks import segmentation
from skerry_host.builder.judge.tasks.ranking import (
    average_precision,
    best_constant_f1,
    f1,
    f1_of_classes,
    in_best,
    roc_auc,
)
from skerry_host.builder.judge.tasks.sequence import edit_distance

SEEDS = st.integers(0, 2**32 - 1)
EXACT = {"abs": 1e-9, "rel": 1e-9}
few = settings(max_examples=40, deadline=None)


@few
@given(SEEDS, st.integers(2, 60), st.sampled_from([1, 4, 1000]))
def test_areas_under_curves(seed: int, count: int, steps: int):
    """With `steps` of 1 or 4 nearly all scores are tied."""
    rng = np.random.default_rng(seed)
    scores, labels = np.round(rng.random(count) * steps) / steps, rng.integers(0, 2, count)
    if 0 < labels.sum() < count:
        assert roc_auc(scores, labels) == pytest.approx(metrics.roc_auc_score(labels, scores), **EXACT)
    else:
        assert roc_auc(scores, labels) is None
    if labels.any():
        assert average_precision(scores, labels) == pytest.approx(
            metrics.average_precision_score(labels, scores), **EXACT
        )
    else:
        assert average_precision(scores, labels) is None


@few
@given(SEEDS, st.integers(1, 40), st.integers(2, 6))
def test_f1_of_classes_and_the_best_ones(seed: int, count: int, classes: int):
    rng = np.random.default_rng(seed)
    scores, labels = rng.random((count, classes)), rng.integers(0, classes, count)
    answers = scores.argmax(axis=1)
    wanted = metrics.f1_score(labels, answers, average="macro", zero_division=1.0)
    assert f1_of_classes(answers, labels) == pytest.approx(wanted, **EXACT)
    if classes > 3:
        best = metrics.top_k_accuracy_score(labels, scores, k=3, labels=range(classes))
        assert in_best(scores, labels, 3).mean() == pytest.approx(best, **EXACT)


@few
@given(SEEDS, st.integers(1, 20), st.integers(2, 4), st.sampled_from([0.0, 0.3, 1.0]))
def test_f1_over_all_labels(seed: int, count: int, classes: int, density: float):
    rng = np.random.default_rng(seed)
    said, there = rng.random((count, classes)) < 0.4, rng.random((count, classes)) < density
    got = float(f1((said & there).sum(), said.sum(), there.sum()))
    assert got == pytest.approx(metrics.f1_score(there, said, average="micro", zero_division=1.0), **EXACT)


def test_the_best_constant_answer_says_what_is_usual():
    there = np.array([9, 5, 0])  # of 10 samples
    tried = [metrics.f1_score(*_constant(there, said), average="micro") for said in ([0], [0, 1], [0, 1, 2])]
    assert best_constant_f1(there, 10) == pytest.approx(max(tried))


def _constant(there, said):
    truth = np.array([[at < count for count in there] for at in range(10)])
    answer = np.zeros_like(truth)
    answer[:, said] = True
    return truth, answer


@few
@given(SEEDS, st.integers(1, 4), st.integers(1, 4))
def test_the_overlap_of_areas_and_their_pixels(seed: int, classes: int, count: int):
    rng = np.random.default_rng(seed)
    truth = [rng.integers(0, classes, (5, 6)).astype(np.uint8) for _ in range(count)]
    got = [rng.integers(0, classes, (5, 6)).astype(np.uint8) for _ in range(count)]
    value = segmentation._mean_iou(segmentation._counts(got, truth))(np.arange(count))
    flat = np.concatenate([part.reshape(-1) for part in truth]), np.concatenate([part.reshape(-1) for part in got])
    assert value == pytest.approx(metrics.jaccard_score(*flat, average="macro"), **EXACT)


@few
@given(st.text("abc", max_size=8), st.text("abcd", max_size=8))
def test_edits_between_texts(one: str, other: str):
    assert edit_distance(one, other) == _table_distance(one, other)


def _table_distance(one: str, other: str) -> int:
    row = list(range(len(other) + 1))
    for i, a in enumerate(one, 1):
        row, before = [i], row
        for j, b in enumerate(other, 1):
            row.append(min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (a != b)))
    return row[-1]


def boxes(rng, count: int, grid: int) -> np.ndarray:
    """Corners on a coarse grid of powers of two, so that overlaps are often equal, and exactly so."""
    corners = np.sort(rng.integers(0, grid + 1, (count, 2, 2)), axis=1)
    corners[:, 1] = np.maximum(corners[:, 1], corners[:, 0] + 1)
    return corners.reshape(count, 4) / (grid + 1)


def coco_ap(found, truth) -> np.ndarray:
    """The mean over classes at each overlap, by pycocotools; NaN where no object counts."""
    images = [{"id": at, "height": 1024, "width": 1024} for at in range(len(truth))]
    objects, answers = [], []
    for at, (rows, wanted) in enumerate(zip(found, truth, strict=True)):
        for row in wanted:
            top, left, bottom, right = row[1:5] * 1024
            box = [left, top, right - left, bottom - top]
            area = box[2] * box[3]
            one = {"id": len(objects) + 1, "image_id": at, "category_id": int(row[0]), "bbox": box, "area": area}
            objects.append({**one, "iscrowd": int(row[5])})
        for row in rows:
            top, left, bottom, right = row[2:6] * 1024
            box = [left, top, right - left, bottom - top]
            answers.append({"image_id": at, "category_id": int(row[0]), "bbox": box, "score": float(row[1])})
    with contextlib.redirect_stdout(io.StringIO()):
        known = COCO()
        known.dataset = {"images": images, "annotations": objects, "categories": [{"id": c} for c in range(3)]}
        known.createIndex()
        if not answers:
            return np.zeros(10)
        judge = COCOeval(known, known.loadRes(answers), "bbox")
        judge.evaluate()
        judge.accumulate()
    precision = judge.eval["precision"][:, :, :, 0, -1]  # overlaps, recalls, classes, all areas, 100 detections
    there = precision[0, 0] > -1
    return precision[:, :, there].mean(axis=(1, 2)) if there.any() else np.full(10, np.nan)


@settings(max_examples=60, deadline=None)
@given(SEEDS, st.integers(1, 4), st.sampled_from([3, 7, 63]), st.sampled_from([0.0, 0.3]), st.booleans())
def test_average_precision_of_boxes(seed: int, samples: int, grid: int, crowds: float, ties: bool):
    rng = np.random.default_rng(seed)
    found, truth = [], []
    for _ in range(samples):
        count, wanted = int(rng.integers(0, 8)), int(rng.integers(0, 6))
        places = boxes(rng, wanted, grid)
        crowd = (rng.random(wanted) < crowds).astype(float)
        truth.append(np.column_stack([rng.integers(0, 3, wanted), places, crowd]).reshape(-1, 6))
        scores = rng.integers(0, 3, count) / 4 if ties else rng.random(count)
        near = places[rng.integers(0, wanted, count)] if wanted and rng.random() < 0.7 else boxes(rng, count, grid)
        found.append(np.column_stack([rng.integers(0, 3, count), scores, near]).reshape(-1, 6))
    got = ap.mean_average_precision(ap.match_all(found, truth), np.ones(samples))
    wanted_values = coco_ap(found, truth)
    if np.isnan(wanted_values).any() or not any((rows[:, 5] == 0).any() for rows in truth):
        assert np.isnan(got).all()
    else:
        assert got == pytest.approx(wanted_values, **EXACT)


def test_a_sample_that_counts_twice_is_a_sample_that_is_there_twice():
    rng = np.random.default_rng(3)
    truth = [np.column_stack([rng.integers(0, 2, 4), boxes(rng, 4, 9)]) for _ in range(5)]
    found = [np.column_stack([rows[:, 0], rng.random(4), rows[:, 1:] + rng.random((4, 4)) * 0.02]) for rows in truth]
    chosen = np.array([0, 0, 3, 4, 4])
    by_weight = ap.mean_average_precision(ap.match_all(found, truth), np.bincount(chosen, minlength=5))
    again = ap.match_all([found[i] for i in chosen], [truth[i] for i in chosen])
    assert by_weight == pytest.approx(ap.mean_average_precision(again, np.ones(5)))
