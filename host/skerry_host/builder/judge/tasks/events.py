"""Events: several classes in each frame of a sample, such as sounds. Decided frame by frame, as the device does."""

import numpy as np

from skerry_agent.processing import Array, ProcessingError
from skerry_agent.processing.classes import frames
from skerry_host.builder.judge.tasks import multilabel
from skerry_host.builder.judge.tasks.base import (
    Case,
    Classes,
    Measure,
    Outputs,
    TaskRules,
    Truth,
    chosen_output,
    unfit,
)

AGREEMENT = "same events"


def judge(outputs: Outputs, truth: Truth, case: Case) -> Measure:
    """F1 over all frames and classes; truth is taken at the nearest frame, that of whole samples at the best one."""
    scores = scores_of(outputs, case)
    there = np.stack([_frames_of(np.asarray(one), scores.shape[1]) for one in truth]) > 0
    if there.shape[1] == 1:
        scores = scores.max(axis=1, keepdims=True)
    return multilabel.judge_scores(scores, there, case)


def agree(outputs: Outputs, reference: Outputs, case: Case) -> Measure:
    """F1 of the frames in which a class is heard, where the float model's are right."""
    return multilabel.agree_scores(scores_of(outputs, case), scores_of(reference, case), case, AGREEMENT)


def scores_of(outputs: Outputs, case: Case) -> Array:
    """The scores (N, frames, classes). Raises `RecipeError` (postprocess)."""
    spec = case.meaning.postprocess
    chosen = chosen_output(outputs, case)
    try:
        rows = [frames(chosen[at : at + 1], spec) for at in range(len(chosen))]
    except ProcessingError as error:
        raise unfit(error.message) from None
    return np.stack(rows)


def seen(outputs: Outputs, case: Case) -> bool:
    """Whether anything is heard in any sample."""
    return bool((scores_of(outputs, case) >= case.meaning.postprocess.min_score).any())


def require(outputs: Outputs, case: Case) -> None:
    """Refuse scores of which none is ever reached."""
    if not seen(outputs, case):
        raise unfit(f"no class reaches min_score in any frame of {len(outputs[0])} samples")


def classes(outputs: Outputs, case: Case) -> Classes:
    """The classes that are heard in each sample."""
    return multilabel.truth_classes(scores_of(outputs, case) >= case.meaning.postprocess.min_score)


def _frames_of(truth: Array, count: int) -> Array:
    """Truth (frames, classes) at `count` frames; of a whole sample (classes,) a single one."""
    if truth.ndim == 1:
        return truth[np.newaxis]
    if len(truth) == count:
        return truth
    nearest = np.floor((np.arange(count) + 0.5) * len(truth) / count).astype(np.int64)
    taken: Array = truth[nearest] if count > 1 else truth.max(axis=0, keepdims=True)
    return taken


RULES = TaskRules(
    agree,
    judge,
    agreement=AGREEMENT,
    one_by_one=False,
    by_sample=False,
    require=require,
    seen=seen,
    classes=classes,
    truth_classes=multilabel.truth_classes,
)
