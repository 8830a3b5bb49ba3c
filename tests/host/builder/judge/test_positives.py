"""Positive answers of a build: their usual share, and golden inputs that have them, of every class."""

from dataclasses import dataclass

import numpy as np
import pytest
from msgspec.structs import replace

from skerry_agent.processing import GoldenSet, load_golden, parse_npz
from skerry_agent.wire.manifest import Baseline, Postprocess
from skerry_host.builder.build import Build
from skerry_host.builder.data.samples import Samples
from skerry_host.builder.judge.evaluate import Score, real_outputs
from skerry_host.builder.judge.golden import record
from skerry_host.builder.judge.positives import NOTHING, SCANNED, _rarest, baseline, by_answer, problem, remark
from skerry_host.builder.modelfile.graph import Graph, Tensor
from skerry_host.builder.recipe.errors import RecipeError
from skerry_host.builder.recipe.recipe import GoldenPlan, Labels, Recipe, load_recipe
from skerry_host.builder.runtime.session import Session, run_all
from tests.kit.counted import Counted
from tests.kit.recipes import FASHION, MakeRecipe
from tests.kit.running_sum import running_sum

SIZE = (28, 28)
EVERY_OUTPUT = np.eye(10, dtype=np.float32)[[0, 1, 1, 5, 9]]


@pytest.fixture(scope="module")
def plan() -> Recipe:
    return load_recipe(FASHION).recipe


@pytest.fixture(scope="module")
def detector(plan: Recipe) -> Recipe:
    return replace(plan, task="detection", postprocess=Postprocess(min_score=0.5), labels=Labels(("face",)))


@pytest.fixture(scope="module")
def model(built: Build) -> bytes:
    return (built.path / "model.tflite").read_bytes()


@pytest.fixture(scope="module")
def samples() -> Samples:
    arrays = parse_npz((FASHION / "evaluation.npz").read_bytes(), "evaluation.npz")
    return Samples.of(arrays["inputs"], truth=arrays["labels"])


def boxes(*scores: float) -> list[np.ndarray]:
    """The outputs of a detector for so many samples, with two boxes each: one of a score, one of none."""
    count = len(scores)
    places = np.tile(np.array([[[0.1, 0.1, 0.5, 0.5], [0.6, 0.6, 0.9, 0.9]]], np.float32), (count, 1, 1))
    return [places, np.array([[[score], [0.0]] for score in scores], np.float32)]


def with_negative(plan: Recipe, at: int) -> Recipe:
    return replace(plan, labels=replace(plan.labels, negative=plan.labels.names[at]))


def test_the_baseline_is_the_share_of_positive_answers(plan: Recipe, detector: Recipe):
    assert baseline([EVERY_OUTPUT], plan, SIZE) is None
    assert baseline([EVERY_OUTPUT], with_negative(plan, 1), SIZE) == Baseline(0.6, 5, negative=1)
    assert baseline(boxes(0.9, 0.1, 0.5, 0.0), detector, SIZE) == Baseline(0.5, 4)
    assert baseline([EVERY_OUTPUT], replace(plan, task="raw"), SIZE) is None
    assert baseline([EVERY_OUTPUT], replace(plan, task="embedding"), SIZE) is None


def test_a_build_records_it_for_the_device(make_recipe: MakeRecipe):
    edit = ("[labels]", '[labels]\nnegative = "Sandal"')
    assert load_recipe(make_recipe(edit)).recipe.labels.negative_index == 5
    with pytest.raises(RecipeError, match=r"labels.negative: 'Nothing' is none of the labels"):
        load_recipe(make_recipe(("[labels]", '[labels]\nnegative = "Nothing"')))


def golden_of(outputs: list[np.ndarray]) -> tuple[GoldenSet, Graph]:
    inputs = np.zeros((len(outputs[0]), 1), np.float32)
    shapes = [(1, 1), *((1, *output.shape[1:]) for output in outputs)]
    tensors = tuple(Tensor(at, "", "float32", shape, shape, 0) for at, shape in enumerate(shapes))
    return GoldenSet((inputs,), tuple(outputs)), Graph(1, tensors, (), (0,), tuple(range(1, len(tensors))))


def test_golden_inputs_that_show_nothing_are_refused_with_one_line(plan: Recipe, detector: Recipe):
    blind, seeing = golden_of(boxes(0.1, 0.2)), golden_of(boxes(0.1, 0.9))
    assert problem(*blind, detector, SIZE).startswith("none of 2 golden inputs has a box in it: ")
    assert problem(*seeing, detector, SIZE) == ""
    nothing = golden_of([EVERY_OUTPUT[1:3]])
    assert problem(*nothing, with_negative(plan, 1), SIZE).startswith(
        "none of 2 golden inputs has another answer than "
    )
    assert problem(*nothing, plan, SIZE) == ""


def test_classes_that_no_golden_input_shows_are_named(plan: Recipe):
    golden, graph = golden_of([EVERY_OUTPUT])
    held_out = Samples.of(np.zeros((10, 1)), truth=range(10))
    named = [plan.labels.names[at] for at in (2, 3, 4, 6, 7)]
    expected = f"no golden input is answered with {', '.join(named)} and 1 more: 6 of 10 classes"
    assert remark(golden, held_out, graph, plan) == expected
    assert remark(golden, Samples(held_out.inputs, [0, 1, 5, 9] * 2 + [0, 0]), graph, plan) == ""
    assert remark(golden, Samples(held_out.inputs), graph, plan) == ""


def test_golden_samples_are_answered_with_every_class(model: bytes, plan: Recipe, samples: Samples):
    """Chosen by label alone, a class whose samples were answered wrongly had no positive among them."""
    answers = Session(model)
    chosen = by_answer(model, samples, plan, SIZE)
    assert len(chosen) <= SCANNED
    for raw, label in list(zip(chosen, chosen.classes, strict=True))[::25]:
        assert answers.run_raw(raw, plan.feeding)[0].argmax() == label
    golden = record(model, chosen, plan.feeding, GoldenPlan(samples=16)).golden
    assert {int(row.argmax()) for row in golden.outputs[0]} == set(range(10))


@pytest.mark.parametrize("known", [0, 40, 150, 200])
def test_what_a_model_has_answered_already_is_not_asked_again(model: bytes, plan: Recipe, samples: Samples, known: int):
    few = samples.subset(range(200))
    places = np.random.default_rng(1).permutation(200)[:known]
    counted = Counted(few.inputs)
    asked = Samples(counted, few.truth)
    outputs = real_outputs(model, run_all(model, few.inputs, plan.feeding))
    heard = Heard(Score("accuracy", known, 1.0, (0.0, 1.0), {n: part[places] for n, part in outputs.items()}), places)
    chosen = by_answer(model, asked, plan, SIZE, heard)
    assert sorted(counted.reads) == sorted(set(range(200)) - set(places.tolist()))
    wanted = by_answer(model, few, plan, SIZE)
    assert list(chosen.truth or ()) == list(wanted.truth or ())
    assert all(np.array_equal(one[0], other[0]) for one, other in zip(chosen, wanted, strict=True))


@dataclass
class Heard:
    """What a model has answered before."""

    score: Score
    places: np.ndarray


def test_without_labels_the_models_own_answers_are_the_classes(model: bytes, plan: Recipe, samples: Samples):
    unlabelled = Samples(samples.subset(range(200)).inputs)
    chosen = by_answer(model, unlabelled, plan, SIZE)
    golden = record(model, chosen, plan.feeding, GoldenPlan(samples=16)).golden
    assert {int(row.argmax()) for row in golden.outputs[0]} == set(range(10))


def test_a_class_that_is_never_answered_rightly_keeps_its_samples(model: bytes, plan: Recipe, samples: Samples):
    only_wrong = Samples(samples.subset(range(100)).inputs, [3] * 100)
    assert set(by_answer(model, only_wrong, plan, SIZE).classes) == {3}


def test_more_classes_than_golden_samples_get_one_each_as_far_as_that_is_bearable(
    model: bytes, plan: Recipe, samples: Samples
):
    golden = record(model, by_answer(model, samples, plan, SIZE), plan.feeding, GoldenPlan(samples=2)).golden
    assert len(golden) == 10


def test_models_that_remember_and_answers_without_classes_keep_their_order(plan: Recipe):
    remembering = running_sum(3)
    inputs = Samples.of(np.zeros((9, 3), np.float32))
    assert by_answer(remembering, inputs, plan, SIZE) is inputs
    assert by_answer(remembering, inputs, replace(plan, task="raw"), SIZE) is inputs


def test_a_real_build_covers_its_classes(built: Build):
    golden = load_golden((built.path / "golden.npz").read_bytes())
    assert {int(row.argmax()) for row in golden.outputs[0]} == set(range(10))
    assert built.record.bundles[0].baseline is None  # no class of it means that nothing is there
    assert NOTHING < 0


def test_a_sample_counts_for_its_rarest_class(detector: Recipe):
    """One of many persons and a dog stands for the dog: there are persons enough."""
    shown = [frozenset({0}), frozenset({0, 1}), frozenset({0, 2}), frozenset({0, 2}), frozenset()]
    assert _rarest(shown) == [0, 1, 2, 2, NOTHING]


def test_golden_inputs_of_objects_are_named_by_what_they_lack(detector: Recipe):
    golden, graph = golden_of(boxes(0.9, 0.2))
    truth = [np.array([[0, 0.1, 0.1, 0.5, 0.5]]), np.array([[3, 0.1, 0.1, 0.5, 0.5]])]
    held_out = Samples.of(np.zeros((2, 1)), truth=truth)
    assert remark(golden, held_out, graph, detector) == "no golden input is answered with 3: 1 of 2 classes"
