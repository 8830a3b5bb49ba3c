"""Budgets of metrics of every kind: shares and what has a unit, better high or low; a float model that guesses."""

import numpy as np
import pytest
from msgspec.structs import replace

from skerry_agent.wire.manifest import ChannelSignal, Quality
from skerry_agent.wire.postprocess import Postprocess
from skerry_host.builder.judge.evaluate import Answered, Score, one_sided, score_of
from skerry_host.builder.judge.gates import Measured, allowed_loss, coarse, far_above, loss, run_gates
from skerry_host.builder.judge.intervals import bootstrapped
from skerry_host.builder.judge.tasks.base import Known, Measure, View
from skerry_host.builder.judge.tasks.table import judged_outputs, measure
from skerry_host.builder.modelfile.graph import Graph, Op, Tensor
from skerry_host.builder.recipe.recipe import Budget, Task

GRAPH = Graph(
    1, tuple(Tensor(i, f"t{i}", "int8", (1, 4), (1, 4), 0) for i in range(2)), (Op(0, "ABS", 1, False, (0,), (1,)),),
    (0,), (1,),
)  # fmt: skip
TOP1 = Quality("top1", 200, 0.9, 0.895, (0.85, 0.93), (0.84, 0.93), {"y": 30.0}, 4000, 1000)
ERROR = replace(TOP1, metric="MAE", float_value=2.0, int8_value=2.03, float_interval=(1.8, 2.2),
                int8_interval=(1.8, 2.3), better="lower", unit="px")  # fmt: skip
CER = replace(TOP1, metric="CER", float_value=0.05, int8_value=0.055, float_interval=(0.04, 0.06),
              int8_interval=(0.04, 0.07), better="lower")  # fmt: skip


def reasons(quality: Quality, budget: Budget = Budget(), chance: float | None = None) -> list[str]:  # noqa: B008
    found = run_gates(Measured(GRAPH, quality, "", chance=chance), budget)
    return [result.reason for result in found if result.reason]


CASES = {
    "an error in pixels within 2 %": (ERROR, Budget(), []),
    "an error in pixels that rises by more": (
        replace(ERROR, int8_value=2.05),
        Budget(),
        ["MAE rises by 0.05 px, over max_relative_loss 2.00% of 2 px"],
    ),
    "an error in pixels that falls": (replace(ERROR, int8_value=1.5), Budget(), []),
    "an error that is too large": (
        ERROR,
        Budget(max_error=1.0),
        ["int8 MAE 2.03 px is over max_error 1 px; the float model has 2 px"],
    ),
    "a rate of errors within a point": (CER, Budget(), []),
    "a rate of errors that rises by more": (
        replace(CER, int8_value=0.07),
        Budget(),
        ["CER rises by 2.00%, over max_accuracy_drop 1.00%"],
    ),
    "a share that drops by more": (replace(TOP1, int8_value=0.8), Budget(), ["top1 drops by 10.00%"]),
    "channels that are lost": (
        replace(TOP1, channels=(ChannelSignal("y", 0, 3, 40.0, 250.0), ChannelSignal("y", 4, 83, -0.1, 0.3))),
        Budget(),
        ["output y, channels 4..83: their values span 0.3 steps"],
    ),
    "an output that hardly ever changes: it can have no other of its own": (
        replace(TOP1, channels=(ChannelSignal("y", 0, 0, None, 1.0),)),
        Budget(),
        [
            (
                "output y, channel 0: their values span 1 steps of the output's scale, so hardly anything is left of "
                "them; look whether the evaluation samples hold what the model answers to"
            )
        ],
    ),
    "one channel in noise": (
        replace(TOP1, channels=(ChannelSignal("y", 4, 4, 1.5, 90.0),)),
        Budget(),
        ["output y, channel 4: 1.5 dB of what they vary by"],
    ),
    "no channels that could be lost": (replace(TOP1, channels=(ChannelSignal("y", 0, 3, None, None),)), Budget(), []),
}


@pytest.mark.parametrize("case", CASES)
def test_a_budget_is_kept_or_missed_in_the_metric_s_own_unit(case: str):
    quality, budget, expected = CASES[case]
    found = reasons(quality, budget)
    assert len(found) == len(expected)
    assert all(one.startswith(start) for one, start in zip(found, expected, strict=True))


NEAR_PERFECT = replace(ERROR, float_value=0.001, float_interval=(0.001, 0.001), int8_interval=(0.01, 0.2))


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (0.1, []),
        (0.11, ["MAE rises by 0.109 px, over 0.099 px, for max_relative_loss 2.00% of what guessing has, 5 px"]),
    ],
)
def test_the_error_of_a_float_model_without_one_may_rise_by_what_rounding_takes(error: float, expected):
    """2 % of all but nothing is less than a step of 8 bits: a sound model was refused."""
    assert reasons(replace(NEAR_PERFECT, int8_value=error), chance=5.0) == expected
    assert reasons(replace(NEAR_PERFECT, int8_value=0.002))  # where nobody knows what guessing has


def test_a_large_error_is_still_measured_by_the_float_model_s_own():
    assert reasons(replace(ERROR, int8_value=2.03), chance=3.5) == []
    (said,) = reasons(replace(ERROR, int8_value=2.05), chance=3.5)
    assert "max_relative_loss 2.00% of 2 px" in said


def test_scores_within_two_steps_are_a_warning_where_the_answers_of_several_classes_are_right():
    """The softmax of a hardly trained classifier: TensorFlow's int8 answers the same, and so does ours."""
    faint = replace(TOP1, channels=(ChannelSignal("y", 0, 3, 0.4, 1.6),))
    judged = Measured(GRAPH, faint, "", settled=frozenset({"y"}))
    assert [result.reason for result in run_gates(judged, Budget()) if result.reason] == []
    assert coarse(judged, Budget()).startswith("output y: the answers are right, but the scores of all samples")
    assert coarse(Measured(GRAPH, TOP1, "", settled=frozenset({"y"})), Budget()) == ""
    unsettled = Measured(GRAPH, faint, "")
    assert len([result for result in run_gates(unsettled, Budget()) if result.reason]) == 1
    assert coarse(unsettled, Budget()) == ""


def test_the_metric_settles_nothing_of_other_outputs_nor_of_what_stands_beside_the_classes():
    boxes = replace(TOP1, channels=(ChannelSignal("y", 0, 3, 40.0, 250.0), ChannelSignal("y", 4, 83, -0.1, 0.3)))
    other = replace(TOP1, channels=(ChannelSignal("y", 0, 3, 40.0, 250.0), ChannelSignal("z", 0, 3, -0.1, 0.3)))
    for quality in (boxes, other):
        found = run_gates(Measured(GRAPH, quality, "", settled=frozenset({"y"})), Budget())
        assert len([result for result in found if result.reason]) == 1


def test_an_output_that_the_metric_judges_needs_no_other_limit_unless_one_is_asked_for():
    noisy = replace(TOP1, sqnr_db={"y": 6.0}, channels=())
    settled = Measured(GRAPH, noisy, "", settled=frozenset({"y"}), followed=frozenset({"y"}))
    assert [result.reason for result in run_gates(settled, Budget()) if result.reason] == []
    assert coarse(settled, Budget()).startswith(
        "output y: the answers are right, but its numbers have 6.0 dB SQNR only"
    )
    (refused,) = [result.reason for result in run_gates(settled, Budget(min_sqnr_db=15.0)) if result.reason]
    assert refused.startswith("output y has 6.0 dB SQNR, under min_sqnr_db 15.0")
    other = Measured(GRAPH, replace(noisy, sqnr_db={"y": 6.0, "z": 7.0}), "", followed=frozenset({"y"}))
    (refused,) = [result.reason for result in run_gates(other, Budget()) if result.reason]
    assert refused.startswith("output z has 7.0 dB SQNR")


def test_which_outputs_a_metric_judges():
    """Those that answers are read from; of numbers none, for what is small is lost in a pooled error."""
    two = Postprocess(output=1)
    assert [*judged_outputs(Task("segmentation", two), 3)] == [1]
    assert [*judged_outputs(Task("keypoints", two), 1)] == []
    assert [*judged_outputs(Task("regression"), 1)] == [*judged_outputs(Task("raw"), 1)] == []
    ssd = Postprocess(decoder="ssd")
    assert [*judged_outputs(Task("detection", ssd), 2)] == [0, 1]
    assert [*judged_outputs(Task("detection", ssd), 5)] == []


@pytest.mark.parametrize("labelled", [True, False])
def test_answers_are_told_apart_only_if_no_single_answer_would_reach_the_metric(labelled: bool):
    """A model that always says one class agrees with samples of that class, and shows nothing."""

    def tells_apart(classes: list[int]) -> bool:
        outputs = {"y": np.eye(3)[classes]}
        known = Known(classes if labelled else None, tuple(outputs.values()), len(classes))
        return score_of(Answered(outputs, known, Task("classification"), View())).tells_apart

    assert tells_apart([0, 1, 2] * 40)
    assert not tells_apart([1] * 120)
    assert not tells_apart([1] * 118 + [0, 2])


@pytest.mark.parametrize(("samples", "beaten"), [(5, False), (20, True)])
def test_a_few_samples_that_are_all_right_beat_no_constant_by_luck(samples: int, beaten: bool):
    """Their bootstrap has no width: of five it says as little of a constant that gets 6 of 10 right."""
    assert Score("F1", samples, 1.0, (1.0, 1.0), {}).beats(0.6) == beaten
    assert Score("CER", samples, 0.0, (0.0, 0.0), {}, better="lower").beats(0.4) == beaten


@pytest.mark.parametrize("classes", [[1] * 120, [1] * 118 + [0, 2]])
def test_a_model_that_repeats_every_answer_of_the_float_one_is_judged_by_that(classes: list[int]):
    """However few of them differ: it can do no better, and its scores may lie as near each other as the float ones."""
    outputs, wrong = {"y": np.eye(3)[classes]}, {"y": np.eye(3)[[2, *classes[1:]]]}

    def scored(outputs: dict[str, np.ndarray], labels: list[int] | None = None) -> Score:
        known = Known(labels, (np.eye(3)[classes],), len(classes))
        return score_of(Answered(outputs, known, Task("classification"), View()))

    assert scored(outputs).repeats
    assert not scored(wrong).repeats
    assert not scored(outputs, classes).repeats
    assert bool(one_sided(scored(outputs))) == (len(set(classes)) == 1)
    assert one_sided(scored(outputs, classes)) == one_sided(None) == ""


def test_a_float_model_that_guesses_is_refused_unless_the_recipe_allows_it():
    """Its interval reaches down to what guessing gives: nothing that it agrees with is right."""
    guesses = replace(TOP1, float_value=0.29, int8_value=0.29, float_interval=(0.23, 0.36), int8_interval=(0.23, 0.36))
    (reason,) = reasons(guesses, chance=1 / 3)
    assert reason.startswith("the float model has top1 29.00% (23.0%-36.0%), which is what guessing reaches")
    assert "budget.allow_chance" in reason
    assert reasons(guesses, Budget(allow_chance=True), chance=1 / 3) == []
    assert reasons(TOP1, chance=1 / 3) == reasons(TOP1) == []


def test_a_quantized_source_that_guesses_is_refused_too():
    alone = replace(
        TOP1, float_value=None, float_interval=None, float_bytes=None, int8_value=0.3, int8_interval=(0.2, 0.4)
    )
    assert reasons(alone, chance=0.25)[0].startswith("the model has top1 30.00%")


def test_a_guess_at_an_error_is_a_high_one():
    wide = replace(ERROR, float_interval=(1.5, 9.0))
    assert reasons(wide, chance=8.0)[0].startswith("the float model has MAE 2 px")
    assert reasons(ERROR, chance=8.0) == []


def test_an_int8_model_far_above_the_float_one_is_a_warning_with_both_intervals():
    better = replace(TOP1, float_value=0.29, float_interval=(0.23, 0.36), int8_value=0.45, int8_interval=(0.38, 0.52))
    assert far_above(better).startswith(
        "top1 of the quantized model, 45.00% (38.0%-52.0%), is far above the float model's, 29.00% (23.0%-36.0%)"
    )
    assert far_above(TOP1) == ""
    assert far_above(replace(better, float_value=None, float_interval=None)) == ""
    chance = replace(TOP1, float_value=0.8, int8_value=0.86, int8_interval=(0.79, 0.91))
    assert far_above(chance) == ""  # six points, within the interval
    assert "MAE" in far_above(replace(ERROR, int8_value=1.0, int8_interval=(0.9, 1.1)))


def test_what_is_lost_has_the_sign_of_what_is_better():
    assert (loss(0.93, 0.92, "higher"), loss(2.0, 2.5, "lower")) == (0.01, 0.5)
    assert (allowed_loss(0.9, "", Budget()), allowed_loss(-50.0, "px", Budget())) == (0.01, 1.0)


def test_a_bootstrapped_interval_is_as_wide_as_the_formula_s_and_always_the_same():
    values = np.random.default_rng(1).normal(3.0, 1.0, 400)
    low, high = bootstrapped(lambda chosen: float(values[chosen].mean()), 400)
    assert (low, high) == bootstrapped(lambda chosen: float(values[chosen].mean()), 400)
    assert high - low == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.35)
    assert low < values.mean() < high


def top1_of(answers: list[int], labels: list[int]) -> Measure:
    outputs = np.eye(4)[answers]
    return measure([outputs], Known(labels, None, len(labels)), Task("classification"), View())


def test_chance_is_what_answers_reach_that_have_nothing_to_do_with_the_samples():
    """A rare class makes no good model a guess, and a model that always says the commonest class is one."""
    rare = [0] * 90 + [1] * 10
    good, constant = top1_of([0] * 88 + [1] * 12, rare), top1_of([0] * 100, rare)
    assert good.chance == pytest.approx(0.88 * 0.9 + 0.12 * 0.1)
    assert (constant.value, constant.chance) == (0.9, pytest.approx(0.9))


def test_samples_of_one_class_show_no_chance():
    assert top1_of([2, 2, 1], [2, 2, 2]).chance is None
