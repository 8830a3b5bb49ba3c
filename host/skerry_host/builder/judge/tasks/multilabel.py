"""Several classes a sample: an output has a score for each, and those from `min_score` on are the answer."""

from collections.abc import Callable

import numpy as np

from skerry_agent.processing import Array, ProcessingError
from skerry_agent.processing.classes import class_scores
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
    pooled,
    unfit,
)
from skerry_host.builder.judge.tasks.ranking import (
    average_precision,
    best_constant_f1,
    f1,
    mean_over_classes,
    roc_auc,
)

AGREEMENT = "same classes"


def judge(outputs: Outputs, truth: Truth, case: Case) -> Measure:
    """F1 over all classes and samples."""
    return judge_scores(scores_of(outputs, case), np.stack([np.asarray(one) for one in truth]) > 0, case)


def judge_scores(scores: Array, there: Array, case: Case) -> Measure:
    """F1 of scores (N, ..., classes), each of which is a decision, for what is there."""
    if scores.shape != there.shape:
        raise unfit(f"the model gives {scores.shape[1:]} scores a sample, the labels have {there.shape[1:]}")
    said = scores >= case.meaning.postprocess.min_score
    rows = int(np.prod(there.shape[:-1]))
    chance = best_constant_f1(there.reshape(rows, -1).sum(axis=0), rows)
    figures = _figures(scores.reshape(rows, -1), said.reshape(rows, -1), there.reshape(rows, -1))
    return pooled("F1", micro_f1(said, there), len(scores), chance=chance, figures=figures)


def agree(outputs: Outputs, reference: Outputs, case: Case) -> Measure:
    """F1 of the classes that are said, where the float model's are right."""
    return agree_scores(scores_of(outputs, case), scores_of(reference, case), case)


def agree_scores(scores: Array, wanted: Array, case: Case, metric: str = AGREEMENT) -> Measure:
    """F1 of the decisions that scores (N, ..., classes) lead to, where others are right."""
    least = case.meaning.postprocess.min_score
    return pooled(metric, micro_f1(scores >= least, wanted >= least), len(scores))


def micro_f1(said: Array, there: Array) -> Callable[[Array], float]:
    """F1 over all decisions (N, ...) of chosen samples."""
    inner = tuple(range(1, said.ndim))
    counts = np.stack([(said & there).sum(axis=inner), said.sum(axis=inner), there.sum(axis=inner)])
    return lambda chosen: float(f1(*counts[:, chosen].sum(axis=1)))


def scores_of(outputs: Outputs, case: Case) -> Array:
    """The scores (N, classes). Raises `RecipeError` (postprocess)."""
    chosen = chosen_output(outputs, case)
    try:
        return class_scores(chosen, case.meaning.postprocess)
    except ProcessingError as error:
        raise unfit(error.message) from None


def seen(outputs: Outputs, case: Case) -> bool:
    """Whether any sample has any class."""
    return bool((scores_of(outputs, case) >= case.meaning.postprocess.min_score).any())


def require(outputs: Outputs, case: Case) -> None:
    """Refuse scores of which none is ever reached."""
    if not seen(outputs, case):
        raise unfit(f"no class reaches min_score in any of {len(outputs[0])} samples")


def classes(outputs: Outputs, case: Case) -> Classes:
    """The classes of each answer."""
    return truth_classes(scores_of(outputs, case) >= case.meaning.postprocess.min_score)


def truth_classes(truth: Truth) -> Classes:
    """The classes of each sample, in any of its frames."""
    rows = [np.asarray(one).reshape(-1, np.asarray(one).shape[-1]).any(axis=0) for one in truth]
    return [frozenset(np.flatnonzero(row).tolist()) for row in rows]


def _figures(scores: Array, said: Array, there: Array) -> tuple[Figure, ...]:
    each = range(scores.shape[1])
    by_class = f1((said & there).sum(axis=0), said.sum(axis=0), there.sum(axis=0))
    precision = mean_over_classes([average_precision(scores[:, at], there[:, at]) for at in each])
    area = mean_over_classes([roc_auc(scores[:, at], there[:, at]) for at in each])
    made = [figure("F1 (mean of classes)", float(by_class.mean()))]
    made += [] if precision is None else [figure("average precision (mean of classes)", precision)]
    made += [] if area is None else [figure("AUC (mean of classes)", area)]
    return tuple(made)


RULES = TaskRules(
    agree,
    judge,
    agreement=AGREEMENT,
    one_by_one=False,
    by_sample=False,
    require=require,
    seen=seen,
    classes=classes,
    truth_classes=truth_classes,
)
