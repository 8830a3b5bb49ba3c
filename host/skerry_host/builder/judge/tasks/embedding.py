"""Embeddings: the direction of the first output counts. What is of one kind should be near."""

import numpy as np

from skerry_agent.processing import Array
from skerry_host.builder.judge.tasks.base import Case, Measure, Outputs, TaskRules, Truth, flat, share

MIN_COSINE = 0.95
"""Cosine above which two embeddings, or raw outputs, count as the same."""


def judge(outputs: Outputs, truth: Truth, _case: Case) -> Measure:
    """How often the nearest other embedding is of the same kind."""
    return share("neighbour", neighbour(flat(outputs[0]), np.asarray(truth)))


def agree(outputs: Outputs, reference: Outputs, _case: Case) -> Measure:
    """How often the first output has nearly the direction of the float model's."""
    return share("agreement", alike(flat(outputs[0]), flat(reference[0])))


def neighbour(outputs: Array, labels: Array) -> Array:
    """Which embeddings (N, D) have the label (N,) of the one that is nearest to them by angle."""
    directions = outputs / np.maximum(np.linalg.norm(outputs, axis=1, keepdims=True), 1e-12)
    nearness = directions @ directions.T
    np.fill_diagonal(nearness, -np.inf)
    marks: Array = labels[nearness.argmax(axis=1)] == labels
    return marks


def alike(got: Array, wanted: Array) -> Array:
    """Which vectors (N, D) have nearly the same direction; a silent one agrees with a silent one."""
    got, wanted = got.astype(np.float64), wanted.astype(np.float64)
    norms = np.linalg.norm(got, axis=1) * np.linalg.norm(wanted, axis=1)
    cosine = np.divide((got * wanted).sum(axis=1), norms, out=np.zeros(len(got)), where=norms > 0)
    marks: Array = (cosine >= MIN_COSINE) | ((norms == 0) & (got == wanted).all(axis=1))
    return marks


RULES = TaskRules(agree, judge, one_by_one=False)
