"""Whether the first samples already show that all of them would keep a budget, or miss it. Pure: runs no model."""

from math import ceil, floor

import numpy as np

from skerry_agent.processing import Array
from skerry_host.builder.judge.sequential import sign_of_mean, surely_below
from skerry_host.builder.judge.signal import CEILING_DB
from skerry_host.builder.recipe.recipe import Budget

RISK = 0.05
"""The largest probability that a decision differs from that of all samples; asymptotically so for the SQNR."""


def is_kept(marks: tuple[Array, Array], energy: Array, budget: Budget, population: int) -> bool:
    """Whether it is sure that all samples would keep the budget on accuracy and signal.

    `marks` (N,) say which of the first samples the float model and the model answer correctly; `energy` (N, outputs, 2)
    is of signal and noise. A wrong yes takes one wrong test of a part of the budget that is not kept.
    """
    lost, wrong, may_lose, may_err = _chances(marks, budget, population)
    return (
        surely_below(lost, population, ((may_lose + 1) / population + 1) / 2, RISK)
        and surely_below(wrong, population, (may_err + 1) / population, RISK)
        and all(sign < 0 for sign in signs(energy, budget, RISK))
    )


def is_missed(marks: tuple[Array, Array], energy: Array, budget: Budget, population: int) -> bool:
    """Whether it is sure that they would not: a wrong yes takes any wrong test, so the tests share `RISK`."""
    lost, wrong, may_lose, may_err = _chances(marks, budget, population)
    risk = RISK / (2 + energy.shape[1])
    return (
        surely_below(1 - lost, population, (1 - may_lose / population) / 2, risk)
        or surely_below(1 - wrong, population, 1 - may_err / population, risk)
        or any(sign > 0 for sign in signs(energy, budget, risk))
    )


def _chances(marks: tuple[Array, Array], budget: Budget, population: int) -> tuple[Array, Array, int, int]:
    """What each sample lost (0 to 1, 1/2: nothing) and which are wrong; how many may be lost, and be wrong, at most."""
    reference, own = marks
    may_lose = floor(budget.max_accuracy_drop * population + 1e-6)
    may_err = population - ceil(budget.min_accuracy * population - 1e-6)
    return (reference.astype(np.float64) - own + 1) / 2, 1.0 - own, may_lose, may_err


def signs(energy: Array, budget: Budget, risk: float) -> list[int]:
    """For each output -1 where its noise is surely small enough, 1 where it surely is not."""
    if budget.least_sqnr_db <= -CEILING_DB:
        return [-1] * energy.shape[1]
    share = 10 ** (-budget.least_sqnr_db / 10)
    with np.errstate(invalid="ignore", over="ignore"):  # what is not finite is never sure
        return [sign_of_mean(noise - share * signal, risk) for signal, noise in np.moveaxis(energy, 0, 2)]
