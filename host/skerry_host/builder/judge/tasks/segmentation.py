"""Segmentation: the class of each pixel, measured by how far areas overlap, at the size of the sample.

A picture that is mostly background agrees by its pixels with one that shows nothing; so classes count alike.
"""

from collections.abc import Callable, Iterator

import numpy as np

from skerry_agent.processing import Array
from skerry_host.builder.judge.tasks.base import (
    Case,
    Classes,
    Measure,
    Outputs,
    TaskRules,
    Truth,
    answers,
    figure,
    pooled,
    unfit,
)

AGREEMENT = "matched pixels"
IGNORED = {1: 255, 2: 65535}
"""By the bytes of a mask: pixels that nobody knows, or that were cut off."""


def judge(outputs: Outputs, truth: Truth, case: Case) -> Measure:
    """The mean intersection over union of the classes that occur."""
    masks = [np.asarray(one) for one in truth]
    counts = _counts(_masks(outputs, case), masks)
    over = _mean_iou(counts)
    there = counts[:, 2].sum(axis=0)
    pixels = float(counts[:, 0].sum() / max(1, there.sum()))
    chance = float(there.max() / max(1, there.sum()) / max(1, np.count_nonzero(there)))
    return pooled("mIoU", over, len(masks), chance=chance, figures=(figure("pixel accuracy", pixels),))


def agree(outputs: Outputs, reference: Outputs, case: Case) -> Measure:
    """The mean intersection over union with the float model's areas."""
    counts = _counts(_masks(outputs, case), _masks(reference, case))
    pixels = float(counts[:, 0].sum() / max(1, counts[:, 2].sum()))
    return pooled(AGREEMENT, _mean_iou(counts), len(counts), figures=(figure("equal pixels", pixels),))


def seen(outputs: Outputs, case: Case) -> bool:
    """Whether there are two classes in any of the masks."""
    there: set[int] = set()
    for mask in _iterate(outputs, case):
        there |= {int(value) for value in np.unique(mask) if value != IGNORED[mask.dtype.itemsize]}
        if len(there) > 1:
            return True
    return False


def require(outputs: Outputs, case: Case) -> None:
    """Refuse masks that never show but one class."""
    if not seen(outputs, case):
        raise unfit(f"the model gives every pixel of {len(outputs[0])} samples the same class")


def classes(outputs: Outputs, case: Case) -> Classes:
    """The classes of each mask."""
    return truth_classes(list(_iterate(outputs, case)))


def truth_classes(truth: Truth) -> Classes:
    """The classes that each mask has."""
    masks = [np.asarray(one) for one in truth]
    return [frozenset(int(v) for v in np.unique(mask) if v != IGNORED[mask.dtype.itemsize]) for mask in masks]


def _masks(outputs: Outputs, case: Case) -> list[Array]:
    return list(_iterate(outputs, case))


def _iterate(outputs: Outputs, case: Case) -> Iterator[Array]:
    for found in answers(outputs, case):
        yield found.classes


def _counts(got: list[Array], wanted: list[Array]) -> Array:
    """Of each sample and class the pixels that are in both, in the answer, in the truth (N, 3, classes)."""
    return (
        np.stack([_counted(one, other) for one, other in zip(got, wanted, strict=True)]) if got else np.zeros((0, 3, 1))
    )


def _counted(got: Array, wanted: Array) -> Array:
    if got.shape != wanted.shape:
        got = _stretched(got, wanted.shape)
    size = IGNORED[1] if max(got.dtype.itemsize, wanted.dtype.itemsize) == 1 else IGNORED[2]
    known = (wanted != IGNORED[wanted.dtype.itemsize]) & (got != IGNORED[got.dtype.itemsize])
    there, said = wanted[known].astype(np.int64), got[known].astype(np.int64)
    return np.stack([np.bincount(part, minlength=size)[:size] for part in (there[there == said], said, there)])


def _stretched(mask: Array, shape: tuple[int, ...]) -> Array:
    """The nearest pixel of a mask for each of another size."""
    rows, columns = (
        np.floor((np.arange(new) + 0.5) * old / new).astype(np.int64)
        for new, old in zip(shape, mask.shape, strict=True)
    )
    return mask[np.ix_(rows, columns)]


def _mean_iou(counts: Array) -> Callable[[Array], float]:
    """The mean over the classes that occur in answer or truth of chosen samples."""
    used = counts.any(axis=(0, 1))
    counts = counts[:, :, used]

    def over(chosen: Array) -> float:
        both, said, there = counts[chosen].sum(axis=0)
        union = said + there - both
        return float((both[union > 0] / union[union > 0]).mean()) if union.any() else 0.0

    return over


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
