"""Regression: numbers in a unit, measured by how far they are off."""

import numpy as np

from skerry_agent.processing import Array
from skerry_host.builder.judge.tasks.base import (
    Case,
    Measure,
    Outputs,
    TaskRules,
    Truth,
    chosen_output,
    figure,
    flat,
    pooled,
    unfit,
)

MIDDLE = (5, 95)
"""Percentiles between which the float model's answers count as usual: one outlier would make any error small."""


def judge(outputs: Outputs, truth: Truth, case: Case) -> Measure:
    """The mean absolute error."""
    got, wanted = _numbers(outputs, case), _rows(truth)
    if got.shape != wanted.shape:
        raise unfit(f"the model gives {got.shape[1]} numbers a sample, the targets have {wanted.shape[1]}")
    unit = case.meaning.postprocess.unit or "units"
    error = np.abs(got - wanted).mean(axis=1)
    squares = np.square(got - wanted)
    spread = np.square(wanted - wanted.mean(axis=0)).sum(axis=0)
    figures = [figure("RMSE", float(np.sqrt(squares.mean())), "lower", unit)]
    if (spread > 0).all():
        figures.append(figure("R2", float(np.mean(1 - squares.sum(axis=0) / spread))))
    guess = float(np.abs(wanted - np.median(wanted, axis=0)).mean())
    return pooled(
        "MAE",
        lambda chosen: float(error[chosen].mean()),
        len(got),
        better="lower",
        unit=unit,
        chance=guess,
        figures=tuple(figures),
    )


def agree(outputs: Outputs, reference: Outputs, case: Case) -> Measure:
    """How near the numbers are to the float model's: 1 less the mean difference, as a share of what is usual."""
    got, wanted = _numbers(outputs, case), _numbers(reference, case)
    low, high = np.percentile(wanted, MIDDLE, axis=0)
    usual = np.where(high > low, high - low, np.ptp(wanted, axis=0))
    same = np.abs(got - wanted)
    share = np.where(usual > 0, same / np.where(usual > 0, usual, 1), same > 1e-6)
    near = 1 - share.mean(axis=1)
    return pooled("agreement", lambda chosen: max(0.0, float(near[chosen].mean())), len(got))


def _numbers(outputs: Outputs, case: Case) -> Array:
    return flat(chosen_output(outputs, case)).astype(np.float64)


def _rows(truth: Truth) -> Array:
    return np.stack([np.asarray(one, np.float64).reshape(-1) for one in truth])


RULES = TaskRules(agree, judge, one_by_one=False, by_sample=False)
