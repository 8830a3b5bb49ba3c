"""Classification: an output has one value for each class, and the largest is the answer; or a single one, for two."""

from dataclasses import replace

import numpy as np

from skerry_agent.processing import Array, ProcessingError
from skerry_agent.processing.classes import chosen, class_scores
from skerry_agent.wire.manifest import Figure
from skerry_host.builder.judge.tasks.base import (
    Case,
    Classes,
    Measure,
    Outputs,
    TaskRules,
    Truth,
    chosen_output,
    figure,
    flat,
    share,
    unfit,
)
from skerry_host.builder.judge.tasks.ranking import f1_of_classes, in_best, roc_auc

TOLERANCE = 0.1
"""A probability may be quantized a little beyond 0..1."""


def judge(outputs: Outputs, truth: Truth, case: Case) -> Measure:
    """How often the largest output is that of the right class."""
    labels, scores = np.asarray(truth), scores_of(outputs, case)
    answers = chosen(scores, case.meaning.postprocess.min_score)
    found = share("top1", answers == labels, _chance(answers, labels), _figures(scores, answers, labels))
    return replace(found, one_answer=_commonest(labels))


def _chance(answers: Array, labels: Array) -> float | None:
    """What these answers would reach if they had nothing to do with the samples; None where all are of one class.

    The agreement that Cohen expects by chance ("A coefficient of agreement for nominal scales", 1960): of a model that
    always says the commonest class it is that class's share, of a good one on the same samples it is less.
    """
    size = int(max(answers.max(initial=0), labels.max(initial=0))) + 1
    said, there = (np.bincount(one.astype(np.int64), minlength=size) / len(labels) for one in (answers, labels))
    return None if np.count_nonzero(there) < 2 else float((said * there).sum())


def agree(outputs: Outputs, reference: Outputs, case: Case) -> Measure:
    """How often the answer is that of the float model."""
    least = case.meaning.postprocess.min_score
    wanted = chosen(scores_of(reference, case), least)
    found = share("agreement", chosen(scores_of(outputs, case), least) == wanted)
    return replace(found, one_answer=_commonest(wanted))


def _commonest(classes: Array) -> float:
    """The share of the commonest class, which a model reaches that always says it."""
    return float(np.bincount(classes.astype(np.int64)).max(initial=0)) / max(1, len(classes))


def scores_of(outputs: Outputs, case: Case) -> Array:
    """The score of each class (N, classes), or of class 1 (N, 1). Raises `RecipeError` (postprocess)."""
    spec = case.meaning.postprocess
    if spec.decoder != "classes":
        return flat(outputs[0])
    raw = flat(chosen_output(outputs, case))
    if raw.shape[1] == 1 and spec.activation == "none":
        low, high = float(raw.min(initial=0)), float(raw.max(initial=0))
        if low < -TOLERANCE or high > 1 + TOLERANCE:
            issue = f"the single output runs from {low:.2f} to {high:.2f}: that is no probability but a logit"
            raise unfit(issue, 'set activation = "sigmoid"')
    try:
        return class_scores(raw, spec)
    except ProcessingError as error:
        raise unfit(error.message) from None


def top1(outputs: Array, labels: Array) -> Array:
    """Which samples have their largest output (N, classes) at their label (N,)."""
    marks: Array = outputs.argmax(axis=1) == labels
    return marks


def class_of(outputs: Outputs, case: Case) -> Array:
    """The class of each answer (N,)."""
    return chosen(scores_of(outputs, case), case.meaning.postprocess.min_score)


def classes(outputs: Outputs, case: Case) -> Classes:
    """The class of each answer, alone."""
    return [frozenset({int(one)}) for one in class_of(outputs, case)]


def truth_classes(truth: Truth) -> Classes:
    """The class of each sample."""
    return [frozenset({int(one)}) for one in truth]


def _figures(scores: Array, answers: Array, labels: Array) -> tuple[Figure, ...]:
    made = [figure("F1 (mean of classes)", f1_of_classes(answers, labels))]
    if scores.shape[1] > 10:
        made.append(figure("top5", float(in_best(scores, labels, 5).mean())))
    if scores.shape[1] <= 2 and set(np.unique(labels).tolist()) == {0, 1}:
        positive = scores[:, -1] - (scores[:, 0] if scores.shape[1] == 2 else 0)
        area = roc_auc(positive, labels)
        made += [] if area is None else [figure("AUC", area)]
    return tuple(made)


RULES = TaskRules(agree, judge, classes=classes, truth_classes=truth_classes)
