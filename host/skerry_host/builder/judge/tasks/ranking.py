"""Figures of classes and their scores: F1, area under curves. Pure arithmetic, held against scikit-learn by tests.

A class that occurs in no sample, or in all, has no area and is left out of a mean; F1 of nothing found where there is
nothing to be found is 1 (scikit-learn lets one choose).
"""

import numpy as np

from skerry_agent.processing import Array


def f1(hits: Array, said: Array, there: Array) -> Array:
    """F1 from counts of what was said rightly, said, and there: the harmonic mean of precision and recall."""
    both = np.asarray(said + there, np.float64)
    result: Array = np.where(both > 0, 2 * hits / np.maximum(both, 1), 1.0)
    return result


def f1_of_classes(answers: Array, labels: Array) -> float:
    """The mean F1 of classes that occur, in answers (N,) or labels (N,), each as much."""
    classes = np.union1d(answers, labels)
    hits = np.array([np.sum((answers == one) & (labels == one)) for one in classes])
    said = np.array([np.sum(answers == one) for one in classes])
    there = np.array([np.sum(labels == one) for one in classes])
    return float(f1(hits, said, there).mean())


def roc_auc(scores: Array, labels: Array) -> float | None:
    """The area under the ROC curve of scores (N,) for labels (N,) of 0 and 1; None where there is one class only.

    By ranks, equal scores sharing theirs (Mann and Whitney, 1947): what the trapezoids of the curve give.
    """
    truth = labels.astype(bool)
    positive, negative = int(truth.sum()), int((~truth).sum())
    if not positive or not negative:
        return None
    _values, place, counts = np.unique(_comparable(scores), return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[place]
    return float((ranks[truth].sum() - positive * (positive + 1) / 2) / (positive * negative))


def average_precision(scores: Array, labels: Array) -> float | None:
    """Precision at each step of recall, weighted by the step, for scores (N,); None where no label is 1."""
    truth = labels.astype(np.float64)
    if not truth.sum():
        return None
    values = _comparable(scores)
    order = np.argsort(-values, kind="stable")
    last = np.append(np.flatnonzero(np.diff(values[order])), len(order) - 1)  # of each group of equal scores
    hits = np.cumsum(truth[order])[last]
    precision = hits / (last + 1)
    return float((np.diff(hits, prepend=0) / truth.sum() * precision).sum())


def mean_over_classes(values: list[float | None]) -> float | None:
    """The mean of those that are known."""
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def in_best(scores: Array, labels: Array, count: int) -> Array:
    """Which samples have their label (N,) among the `count` best of their scores (N, classes); the first of equals."""
    order = np.argsort(-scores, axis=1, kind="stable")[:, :count]
    found: Array = (order == np.asarray(labels)[:, np.newaxis]).any(axis=1)
    return found


def best_constant_f1(there: Array, samples: int) -> float:
    """The F1, over all classes and samples, of saying the same classes always: those that are most usual."""
    usual = np.sort(there)[::-1]
    said = np.arange(1, len(usual) + 1) * samples
    return float(f1(np.cumsum(usual), said, np.full(len(usual), usual.sum())).max(initial=0.0))


def _comparable(scores: Array) -> Array:
    """What is no number is less than any."""
    return np.nan_to_num(scores.astype(np.float64), nan=-np.inf, posinf=np.inf, neginf=-np.inf)
