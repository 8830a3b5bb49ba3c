"""A model beside the float one on as many samples as it takes: early where it is clear, all of them where it is not."""

from dataclasses import dataclass

import numpy as np
import pytest
from msgspec.structs import replace

from skerry_host.builder.build import Build
from skerry_host.builder.data.samples import Samples
from skerry_host.builder.judge import paired
from skerry_host.builder.judge.evaluate import evaluate, sqnr_by_output
from skerry_host.builder.judge.paired import FIRST, MOST_IN_MEMORY, PairedEvaluation, room_for
from skerry_host.builder.recipe.recipe import Budget, Recipe, load_recipe
from skerry_host.builder.targets.choose import within_budget
from tests.kit.dense_models import dense_model
from tests.kit.recipes import FASHION

FLOAT = (FASHION / "fashion-1.0.0.tflite").read_bytes()
COUNT = 600


@dataclass
class Case:
    samples: Samples
    recipe: Recipe
    model: bytes


@pytest.fixture(scope="module")
def case(built: Build) -> Case:
    arrays = np.load(FASHION / "evaluation.npz")
    samples = Samples.of(arrays["inputs"][:COUNT], truth=arrays["labels"][:COUNT])
    recipe = replace(load_recipe(FASHION, "1.0.0").recipe, budget=Budget(max_accuracy_drop=0.05, min_accuracy=0.6))
    return Case(samples, recipe, (built.path / "model.tflite").read_bytes())


def test_what_is_clear_takes_few_samples(case: Case):
    told: list[str] = []
    paired = PairedEvaluation(FLOAT, case.samples, case.recipe, lambda step, done=0, of=0, /: told.append(step))
    found = paired.compare(case.model)
    used = found.sampling.samples
    assert FIRST <= used < COUNT / 2
    assert (found.sampling.of, found.score.samples, found.reference.samples, len(found.right)) == (COUNT, *[used] * 3)
    assert found.score.value == found.right.mean()
    low, high = found.score.interval
    assert low < found.score.value < high
    assert "of 600 held-out samples, enough for every gate's decision" in str(found.sampling)
    told.clear()
    assert paired.compare(case.model).sampling == found.sampling
    assert not told  # all of it was there already


def test_what_is_not_clear_takes_all_and_says_exactly_what_they_say(case: Case):
    tight = replace(case.recipe, budget=Budget(max_accuracy_drop=0.0, min_accuracy=0.0))
    found = PairedEvaluation(FLOAT, case.samples, tight).compare(case.model)
    whole = evaluate(case.model, case.samples, tight.feeding, tight.meaning)
    reference = evaluate(FLOAT, case.samples, tight.feeding, tight.meaning)
    assert (found.score.value, found.score.interval, found.score.samples) == (whole.value, whole.interval, COUNT)
    assert sqnr_by_output(found.reference, found.score) == pytest.approx(sqnr_by_output(reference, whole))
    assert str(found.sampling) == "600 held-out samples"


def test_a_recipe_can_ask_for_all_samples(case: Case):
    every = replace(case.recipe, data=replace(case.recipe.data, evaluate="all"))
    assert PairedEvaluation(FLOAT, case.samples, every).compare(case.model).sampling.samples == COUNT


def test_the_float_model_itself_is_run_once(case: Case):
    told: list[str] = []
    paired = PairedEvaluation(FLOAT, case.samples, case.recipe, lambda step, done=0, of=0, /: told.append(step))
    found = paired.compare(FLOAT)
    assert set(told) == {f"evaluating {COUNT} samples"}
    assert found.reference.value == found.score.value
    assert sqnr_by_output(found.reference, found.score) == {next(iter(found.score.outputs)): 200.0}


def test_without_labels_the_float_model_is_right(case: Case):
    unlabelled = Samples(case.samples.inputs)
    found = PairedEvaluation(FLOAT, unlabelled, case.recipe).compare(case.model)
    assert (found.reference.value, found.score.metric, found.score.labels) == (1.0, "agreement", None)
    assert FIRST <= found.sampling.samples < COUNT
    assert 0.9 < found.score.value <= 1


def test_answers_that_are_many_and_large_are_kept_on_disk():
    """A detector's of some hundred images are gigabytes."""
    small, large = (room_for((count, 1024), np.dtype(np.float32)) for count in (4, MOST_IN_MEMORY // 4096 + 1))
    assert not isinstance(small, np.memmap)
    assert isinstance(large, np.memmap)
    large[-1] = 3.0
    assert large[-1, -1] == 3.0


def test_all_answers_are_never_in_memory_at_once(case: Case, monkeypatch: pytest.MonkeyPatch):
    whole = PairedEvaluation(FLOAT, case.samples, case.recipe).compare(case.model)
    monkeypatch.setattr(paired, "AT_ONCE", 4 * 10 * 50)
    told: list[str] = []
    found = PairedEvaluation(FLOAT, case.samples, case.recipe, lambda *step: told.append(step[0])).compare(case.model)
    assert np.array_equal(found.right, whole.right)
    assert (found.score.value, found.channels) == (whole.score.value, whole.channels)
    assert len(told) > found.sampling.samples / 50


def test_a_metric_settles_an_output_where_no_answer_that_is_always_the_same_would_reach_it(case: Case):
    several = replace(case.recipe, task="multilabel")
    found = PairedEvaluation(FLOAT, Samples(case.samples.inputs), several).compare(case.model)
    assert found.settled == {*found.reference.outputs}
    same = Samples.of(np.repeat(np.load(FASHION / "evaluation.npz")["inputs"][:1], 80, axis=0))
    assert PairedEvaluation(FLOAT, same, several).compare(case.model).settled == frozenset()
    numbers = replace(case.recipe, task="regression")
    assert PairedEvaluation(FLOAT, Samples(case.samples.inputs), numbers).compare(case.model).settled == frozenset()


def plain(case: Case) -> Recipe:
    """A recipe with the usual budget for models of plain vectors."""
    return replace(case.recipe, budget=Budget(), preprocess=type(case.recipe.preprocess)())


def test_what_a_metric_settles_is_not_stopped_for_its_signal(case: Case):
    """128 samples would be enough to see that its SQNR is missed, and said nothing of 2 % that it answers wrongly."""
    random = np.random.default_rng(12)
    labels = random.integers(0, 4, 2000)
    inputs = np.zeros((2000, 6), np.float32)
    inputs[np.arange(2000), labels], inputs[:, 4], inputs[:, 5] = 1, 1, random.random(2000) < 0.04
    right = np.eye(4, 6, dtype=np.float32)
    wrong = right.copy()
    wrong[:, 4], wrong[0, 5] = 5.0, 1.6  # an offset ruins the signal; of the marked samples it says 0
    models = [dense_model((6,), [matrix], [(4,)]) for matrix in (right, wrong)]
    found = PairedEvaluation(models[0], Samples.of(inputs, truth=labels), plain(case)).compare(models[1])
    assert found.settled == found.followed == {*found.reference.outputs}
    assert found.sampling.samples > FIRST
    assert not within_budget(found, plain(case))


def test_one_answer_for_all_samples_settles_nothing_though_no_answer_of_the_float_model_reaches_it(case: Case):
    """Of small areas that the float model hardly meets: to show none at all is better than any one of its masks."""
    places = np.random.default_rng(3).integers(0, 16, 200)
    said = np.where(np.arange(200) % 10 == 0, places, (places + 1) % 16)
    inputs = np.eye(17, dtype=np.float32)[said]
    inputs[:, 16] = 1
    masks = np.eye(16, dtype=np.uint8)[places].reshape(200, 4, 4)
    meets = np.zeros((32, 17), np.float32)
    meets[0::2, 16], meets[1::2, :16] = 0.5, sum(np.roll(np.eye(16), by, axis=0) for by in (0, 4, 8))
    nothing = meets.copy()
    nothing[1::2] *= 0.1
    models = [dense_model((17,), [matrix], [(4, 4, 2)]) for matrix in (meets, nothing)]
    recipe = replace(plain(case), task="segmentation")
    found = PairedEvaluation(models[0], Samples.of(inputs, truth=masks), recipe).compare(models[1])
    assert found.score.value > 0.46
    assert found.settled == frozenset()


def test_a_model_that_agrees_with_one_that_has_a_single_answer_still_needs_its_signal(case: Case):
    inputs = np.random.default_rng(5).random((40, 3)).astype(np.float32)
    one = np.array([[1.0, 1.0, 1.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    models = [dense_model((3,), [matrix], [(3,)]) for matrix in (one, one * 0.01)]
    found = PairedEvaluation(models[0], Samples.of(inputs), plain(case)).compare(models[1])
    assert (found.score.value, found.settled) == (1.0, {*found.reference.outputs})
    assert found.followed == frozenset()
    assert not within_budget(found, plain(case))
