"""A device fills the bins of a build: the same values give the same counts, and a baseline stays small."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry_agent.processing import Answer, Detection, Detections, Frame, Mask, decode
from skerry_agent.processing.drift import baseline_of, counts_of, merged, values_of_answer, values_of_sample
from skerry_agent.wire import codec
from skerry_agent.wire.drift import MAX_BINS, DriftBaseline, Histogram
from skerry_agent.wire.postprocess import Postprocess

VALUES = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=200)


@given(VALUES)
def test_the_same_values_give_the_same_counts(values: list[float]):
    rows = [{"score": [value], "class": [float(int(value) % 40)]} for value in values]
    baseline = baseline_of(rows)
    assert baseline is not None
    counts: dict[str, tuple[int, ...]] = {}
    for row in rows:
        counts = merged(counts, baseline, row)
    assert counts == {histogram.name: histogram.counts for histogram in baseline.histograms}
    assert all(sum(made) == len(values) for made in counts.values())


@given(VALUES)
def test_a_histogram_is_bounded_and_what_is_no_number_counts_last(values: list[float]):
    baseline = baseline_of([{"score": [value]} for value in [*values, float("nan"), float("inf")]])
    assert baseline is not None
    (histogram,) = baseline.histograms
    assert len(histogram.counts) == len(histogram.edges) + 1 <= MAX_BINS
    assert list(histogram.edges) == sorted(histogram.edges)
    assert counts_of(histogram, [float("inf"), float("nan")])[-1] == 2


def test_classes_that_the_build_never_saw_count_together():
    histogram = Histogram("class", (0.0, 3.0), (5, 2, 0), "classes")
    assert counts_of(histogram, [3.0, 3.0, 7.0, 8.0, 0.0]) == (1, 2, 2)


def test_values_are_of_what_the_sample_and_the_answer_show():
    picture = np.zeros((4, 6, 3), np.uint8)
    picture[..., 1] = 200
    found = values_of_sample((picture,))
    assert found["input channel 1"] == [200.0]
    assert found["input mean"] == [pytest.approx(200 / 3)]
    assert set(values_of_sample((picture, np.zeros(5)))) >= {"input_0 channel 2", "input_1 spread"}
    boxes = Detections((Detection(2, 0.9, (0, 0, 0.5, 0.5)), Detection(1, 0.8, (0, 0, 1, 1))))
    assert values_of_answer(boxes, ()) == {
        "boxes": [2], "class": [2.0, 1.0], "score": [0.9, 0.8], "area": [0.25, 1],
    }  # fmt: skip
    assert values_of_answer(Answer(3, 0.7), ()) == {"class": [3.0], "score": [0.7]}
    assert values_of_answer(Mask(np.array([[0, 0, 0, 1]], np.uint8)), ())["largest share"] == [0.75]
    assert values_of_answer(None, [np.array([1.0, 3.0])]) == {"output_0 mean": [2.0], "output_0 spread": [1.0]}


@pytest.mark.parametrize(
    ("task", "output", "spec"),
    [
        ("multilabel", [[0.9, 0.1, 0.8]], {}),
        ("events", np.ones((1, 5, 2)), {}),
        ("sequence", np.eye(4)[None], {}),
        ("regression", [[1.0] * 9], {}),
        ("embedding", [[1.0] * 9], {}),
        ("keypoints", [[0.5] * 8], {}),
        ("detection", np.ones((1, 3, 6)), {"decoder": "boxes", "scores": 0}),
        ("segmentation", np.ones((1, 4, 4, 2)), {}),
    ],
)
def test_every_task_has_values(task: str, output, spec):
    real = [np.asarray(output, np.float32)]
    made = values_of_answer(decode(real, task, Postprocess(**spec), Frame((4, 4))), real)
    assert made
    assert all(np.isfinite(values).all() for values in made.values())


def test_a_manifest_keeps_the_baseline():
    baseline = baseline_of([{"class": [1.0], "score": [0.5]}, {"class": [2.0], "score": [0.25]}])
    assert codec.decode(codec.encode(baseline), DriftBaseline) == baseline
