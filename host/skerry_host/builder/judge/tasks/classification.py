"""Classification: the first output has one value for each class, the largest is the answer."""

import numpy as np

from skerry_agent.processing import Array
from skerry_host.builder.judge.tasks.base import Case, Measure, Outputs, TaskRules, Truth, flat, share


def judge(outputs: Outputs, truth: Truth, _case: Case) -> Measure:
    """How often the largest output is that of the right class."""
    return share("top1", top1(flat(outputs[0]), np.asarray(truth)))


def agree(outputs: Outputs, reference: Outputs, _case: Case) -> Measure:
    """How often the largest output is that of the float model."""
    return share("agreement", top1(flat(outputs[0]), flat(reference[0]).argmax(axis=1)))


def top1(outputs: Array, labels: Array) -> Array:
    """Which samples have their largest output (N, classes) at their label (N,)."""
    marks: Array = outputs.argmax(axis=1) == labels
    return marks


RULES = TaskRules(agree, judge)
