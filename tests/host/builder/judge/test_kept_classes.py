"""A rare class that quantization loses is seen, though the metric over all samples hardly moves."""

import dataclasses

import numpy as np
import pytest
from msgspec.structs import replace

from skerry_host.builder.build import Build
from skerry_host.builder.data.samples import Samples
from skerry_host.builder.judge.kept_classes import KeptClass, kept_classes, lost_classes, waited_for
from skerry_host.builder.judge.paired import FIRST, PairedEvaluation
from skerry_host.builder.judge.tasks.base import Case, Known, View
from skerry_host.builder.recipe.recipe import Budget, load_recipe
from skerry_host.builder.targets.choose import within_budget
from tests.kit.recipes import FASHION

MEANING = load_recipe(FASHION, "1.0.0").recipe.meaning
CASE = Case(MEANING, View())
FLOAT = (FASHION / "fashion-1.0.0.tflite").read_bytes()


def said(*classes: int) -> list[np.ndarray]:
    return [np.eye(4, dtype=np.float32)[list(classes)]]


def known(truth: list[int] | None, count: int) -> Known:
    return Known(None if truth is None else np.array(truth), None, count)


def test_a_class_is_counted_where_the_float_model_is_right_and_often_enough():
    truth = [0] * 6 + [1] * 6 + [2] * 4
    before = said(*[0] * 5, 1, *[1] * 6, *[2] * 4)  # one 0 is wrong, of class 2 there are four
    after = said(*[0] * 5, 0, *[0] * 5, 1, *[0] * 4)
    found = kept_classes(before, after, known(truth, 16), CASE, ("no", "yes"))
    assert found == (KeptClass("no", 5, 5), KeptClass("yes", 6, 1))
    assert [one.name for one in kept_classes(before, after, known(None, 16), CASE)] == ["class 0", "class 1"]
    assert lost_classes(found, 0.5) == [
        "of 6 samples in which the float model finds yes, the quantized one does in 1, under min_class_kept 50%"
    ]
    assert lost_classes(found, 0.0) == []


def test_where_many_are_lost_the_worst_are_named():
    every = [KeptClass(f"c{at}", 100, 10 * at) for at in range(9)]
    told = lost_classes(every, 0.5)
    assert [line.split(", ")[0][-2:] for line in told[:3]] == ["c0", "c1", "c2"]
    assert "in none, under" in told[0]
    assert told[3:] == ["and so with 2 more classes"]


def test_tasks_without_classes_have_none():
    task = load_recipe(FASHION, "1.0.0").recipe
    case = Case(replace(task, task="raw").meaning, View())
    assert kept_classes(said(0), said(1), known(None, 1), case) == ()


def test_classes_of_many_are_not_waited_for():
    assert len(waited_for(np.arange(1000) % 10, MEANING)) == 10
    assert waited_for(np.arange(6000) % 1000, MEANING) == []
    assert waited_for(None, MEANING) == []


@pytest.mark.parametrize(("count", "alike"), [(2000, 0.9), (6000, 0.93)])
def test_of_many_classes_some_lose_most_of_a_few_samples_by_chance(count: int, alike: float):
    """A thousand classes, and answers that differ at random: no class is lost."""
    random = np.random.default_rng(2)
    for _again in range(10):
        one, other = random.integers(0, 1000, (2, count))
        got = np.where(random.random(count) < alike, one, other)
        found, kept = np.bincount(one, minlength=1000), np.bincount(one[one == got], minlength=1000)
        every = [KeptClass(str(at), int(found[at]), int(kept[at])) for at in np.flatnonzero(found >= 5)]
        assert not lost_classes(every, 0.5)
        assert lost_classes([*every, KeptClass("lost", 8, 0)], 0.5)


def with_a_rare_class() -> tuple[Samples, int]:
    """Evaluation samples of which three in a hundred are of one class, and that class."""
    arrays = np.load(FASHION / "evaluation.npz")
    labels = arrays["labels"]
    rare = int(labels[0])
    places = np.concatenate([np.flatnonzero(labels != rare), np.flatnonzero(labels == rare)[:24]])
    return Samples.of(arrays["inputs"][places], truth=labels[places]), rare


def test_a_model_that_misses_its_budget_is_not_looked_at_for_the_sake_of_a_rare_class(built: Build):
    samples, _rare = with_a_rare_class()
    recipe = replace(load_recipe(FASHION, "1.0.0").recipe, budget=Budget(min_accuracy=1.0))
    compared = PairedEvaluation(FLOAT, samples, recipe).compare((built.path / "model.tflite").read_bytes())
    assert compared.sampling.samples == FIRST


def test_a_build_that_loses_a_rare_class_misses_its_budget(built: Build):
    """Three in a hundred samples are of it: answering it never cost three points, of five that the recipe allows."""
    samples, rare = with_a_rare_class()
    recipe = replace(load_recipe(FASHION, "1.0.0").recipe, budget=Budget(max_accuracy_drop=0.05, min_accuracy=0.5))
    model = (built.path / "model.tflite").read_bytes()
    compared = PairedEvaluation(FLOAT, samples, recipe).compare(model)
    names = recipe.labels.names
    assert (names[rare] if names else f"class {rare}") in {one.name for one in compared.classes}
    assert compared.sampling.samples > FIRST  # until there were enough of it
    assert within_budget(compared, recipe)
    lost = tuple(KeptClass(one.name, one.found, 0) for one in compared.classes)
    assert not within_budget(dataclasses.replace(compared, classes=lost), recipe)


def test_a_class_of_a_hundred_thousand_samples_is_judged_as_well():
    every = [KeptClass("cat", 100_000, 40_000), KeptClass("dog", 100_000, 99_000)]
    assert [line.split(", ")[0] for line in lost_classes(every, 0.5)] == [
        "of 100000 samples in which the float model finds cat"
    ]
    assert lost_classes([KeptClass("cat", 6, 0)], 0.5)  # alone, too
