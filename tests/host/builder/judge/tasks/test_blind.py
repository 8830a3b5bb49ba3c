"""A model that has gone blind never agrees with one that sees, and one that never saw anything is refused."""

import numpy as np
import pytest

from skerry_agent.processing import Feeding
from skerry_agent.wire.manifest import Preprocess
from skerry_agent.wire.postprocess import Postprocess
from skerry_host.builder.data.samples import Samples
from skerry_host.builder.judge.tasks.base import Known, View, view_of
from skerry_host.builder.judge.tasks.table import TASKS, measure
from skerry_host.builder.modelfile.graph import Graph, Tensor
from skerry_host.builder.recipe.errors import RecipeError
from skerry_host.builder.recipe.recipe import Task

RNG = np.random.default_rng(5)
COUNT = 30
VIEW = View((16, 16))


def few(shape: tuple[int, ...], share: float = 0.03) -> np.ndarray:
    """Hardly anything anywhere, as masks, labels and events are: most of it agrees with nothing at all."""
    return (RNG.random((COUNT, *shape)) < share).astype(np.float32)


def rows() -> np.ndarray:
    made = np.zeros((COUNT, 5, 6), np.float32)
    made[:, :, :2] = RNG.random((COUNT, 5, 2)) * 0.5
    made[:, :, 2:4] = made[:, :, :2] + 0.3
    made[..., 4 + RNG.integers(0, 2)] = 0.9
    return made


SEEING = {
    "classification": (np.eye(4, dtype=np.float32)[RNG.integers(0, 4, COUNT)], {}),
    "multilabel": (few((40,)), {}),
    "detection": (rows(), {"decoder": "boxes", "scores": 0}),
    "segmentation": (few((16, 16, 1)), {}),
    "keypoints": (RNG.random((COUNT, 10)).astype(np.float32), {}),
    "regression": (np.exp(RNG.normal(size=(COUNT, 3)) * 2).astype(np.float32), {}),
    "embedding": (RNG.normal(size=(COUNT, 16)).astype(np.float32), {}),
    "sequence": (np.eye(5, dtype=np.float32)[RNG.integers(0, 5, (COUNT, 12))], {}),
    "events": (few((20, 6)), {}),
    "raw": (RNG.normal(size=(COUNT, 16)).astype(np.float32), {}),
}


def task_of(name: str) -> Task:
    return Task(name, Postprocess(**SEEING[name][1]))


@pytest.mark.parametrize("name", TASKS)
def test_a_blind_model_does_not_agree(name: str):
    seeing = SEEING[name][0]
    known = Known(None, (seeing,), COUNT)
    same = measure([seeing], known, task_of(name), VIEW)
    assert same.value == pytest.approx(1.0)
    constant = np.broadcast_to(seeing.mean(axis=0), seeing.shape).copy()
    for blind in (np.zeros_like(seeing), constant):
        found = measure([blind], known, task_of(name), VIEW)
        assert found.metric == TASKS[name].agreement
        assert found.value < 0.9, found.metric


@pytest.mark.parametrize("name", ["detection", "multilabel", "segmentation", "sequence", "events"])
def test_a_model_that_never_saw_anything_is_no_measure(name: str):
    silent = np.zeros_like(SEEING[name][0])
    with pytest.raises(RecipeError) as refused:
        measure([silent], Known(None, None, COUNT), task_of(name), VIEW)
    assert f"{COUNT} samples" in str(refused.value)


SIZES = [(8, 16), (16, 8)]
"""One sample lies in the middle rows of a square input, the other in the middle columns."""
PREP = Preprocess(resize="letterbox")


def letterboxed() -> tuple[Samples, View]:
    tensors = (Tensor(0, "x", "float32", (1, 16, 16, 3), (1, 16, 16, 3), 0),)
    pictures = Samples([(np.zeros((*size, 3), np.uint8),) for size in SIZES])
    return pictures, view_of(Graph(1, tensors, (), (0,), ()), Feeding((PREP,)), pictures)


def test_boxes_are_judged_where_they_are_in_each_sample():
    _samples, view = letterboxed()
    assert list(view.samples) == SIZES
    output = np.zeros((2, 1, 5), np.float32)
    output[0, 0] = [0.25, 0.0, 0.75, 0.5, 0.9]  # the left half of the first sample
    output[1, 0] = [0.0, 0.25, 0.5, 0.75, 0.9]  # the upper half of the other
    truth = [np.array([[0, 0, 0, 1, 0.5]]), np.array([[0, 0, 0, 0.5, 1]])]
    task = Task("detection", Postprocess("boxes", scores=0))
    assert measure([output], Known(truth, None, 2), task, view).value == pytest.approx(1.0)
    turned = View(view.size, view.preprocess, view.samples.only([1, 0]))
    assert measure([output], Known(truth, None, 2), task, turned).value < 0.1
    assert measure([output[::-1]], Known(truth[::-1], None, 2), task, turned).value == pytest.approx(1.0)


def test_masks_and_points_are_judged_without_the_padding():
    _samples, view = letterboxed()
    masks = np.zeros((2, 16, 16, 1), np.float32)
    masks[0, 4:12, :8], masks[1, :8, 4:12] = 1, 1
    truth = [np.repeat([[1, 0]], 8, axis=0).repeat(8, axis=1), np.repeat([[1], [0]], 8, axis=0).repeat(8, axis=1)]
    found = measure([masks], Known([one.astype(np.uint8) for one in truth], None, 2), Task("segmentation"), view)
    assert found.value == pytest.approx(1.0)
    points = np.array([[0.25, 0.5, 0.75, 0.5], [0.5, 0.25, 0.5, 0.75]], np.float32)
    wanted = [np.array([[0.5, 0.25, 1], [0.5, 0.75, 1]]), np.array([[0.25, 0.5, 1], [0.75, 0.5, 1]])]
    assert measure([points], Known(wanted, None, 2), Task("keypoints"), view).value == 1.0


def test_what_guessing_would_reach_is_told():
    labels = np.array([0] * 24 + [1] * 6)
    scores = np.eye(2)[labels]
    assert measure([scores], Known(labels, None, COUNT), Task("classification"), VIEW).chance == pytest.approx(0.68)
    targets = np.arange(30.0)
    regression = measure([targets[:, None]], Known(targets, None, COUNT), Task("regression"), VIEW)
    assert (regression.better, regression.chance) == ("lower", pytest.approx(7.5))
    mask = np.zeros((COUNT, 4, 4), np.uint8)
    mask[:, 0] = 1
    found = measure([mask[..., None].astype(np.float32)], Known(mask, None, COUNT), Task("segmentation"), View((4, 4)))
    assert found.chance == pytest.approx(0.75 / 2)


def test_a_logit_that_is_read_as_a_probability_is_named():
    logits = np.array([[-4.0], [5.0]])
    with pytest.raises(RecipeError, match=r"-4\.00 to 5\.00: that is no probability but a logit") as refused:
        measure([logits], Known([0, 1], None, 2), Task("classification", Postprocess("classes")), VIEW)
    assert 'activation = "sigmoid"' in refused.value.hint
