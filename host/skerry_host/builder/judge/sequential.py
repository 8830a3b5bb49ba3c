"""Whether the first samples of a random order already show what all of them would: tests that may be made at any time.

Pure arithmetic on what was measured of each sample; runs no model and knows no gate. Every test may be asked again
after each further sample, and is still wrong with at most the probability that it was given.
"""

import math
from collections.abc import Callable

import numpy as np

from skerry_agent.processing import Array

BETS = np.array([0.05, 0.1, 0.2, 0.35, 0.5, 0.7, 0.9])[:, np.newaxis]
"""Shares of the largest allowed bet: small ones are best where samples differ much, large ones where hardly any do."""
TUNED_FOR = 128
"""The asymptotic bound is tightest near so many samples."""
MIN_ASYMPTOTIC = 64
"""Of fewer samples a variance says too little."""
UNSEEN = 10
"""So many more samples as far to the other side as the farthest one must not change the sign of a mean: where a few
samples make most of it, both mean and variance are still too small before they come."""


def surely_below(values: Array, population: int, least: float, risk: float) -> bool:
    """Whether the mean of a finite population is below `least`, given its first `values` (n,), each within 0..1.

    They are drawn in random order without replacement. Wrong with a probability of at most `risk`, however often it is
    asked: wealth of bets against a mean of `least` or more is a nonnegative supermartingale, and exceeds 1 / risk with
    at most that probability (Ville). Bets: Waudby-Smith and Ramdas, "Estimating means of bounded random variables by
    betting", JRSS B 86(1), 2024, section 5; the mean of several bets' wealth is such a martingale, too.
    """
    before = np.cumsum(values) - values
    mean = (population * least - before) / (population - np.arange(len(values)))
    left = population - len(values)
    if population * least - values.sum() > left or (mean > 1).any():  # not even if all others were 1
        return True
    if (mean >= 1).any():
        return False
    factors = 1 + BETS / (1 - mean) * (mean - values)
    wealth = np.log(factors).sum(axis=1)
    return bool(np.logaddexp.reduce(wealth) - math.log(len(BETS)) >= -math.log(risk))


def sign_of_mean(values: Array, risk: float) -> int:
    """-1 or 1 where the mean of what `values` (n,) are drawn from is surely below or above 0, else 0.

    Asymptotic: its `risk` holds as samples grow, for values with a variance but without known bounds. Waudby-Smith,
    Arbour, Sinha, Kennedy and Ramdas, "Time-uniform central limit theory and asymptotic confidence sequences", Annals
    of Statistics 52(6), 2024, theorem 2.2.
    """
    n = len(values)
    if n < MIN_ASYMPTOTIC or not np.isfinite(values).all():
        return 0
    tuned = (-2 * math.log(risk) + math.log(-2 * math.log(risk) + 1)) / TUNED_FOR
    spread = n * tuned + 1
    half = float(values.std()) * math.sqrt(2 * spread / (n**2 * tuned) * math.log(math.sqrt(spread) / risk))
    mean = float(values.mean())
    farthest = float(values.max() if mean < 0 else values.min())
    sure = abs(mean) > half and mean * (values.sum() + UNSEEN * farthest) > 0
    return int(math.copysign(1, mean)) if sure else 0


def interval_at_any_time(right: int, samples: int, risk: float = 0.05) -> tuple[float, float]:
    """An interval of a proportion that holds although its samples were stopped for what they showed.

    All values against which the mean likelihood of uniformly spread others is less than 1 / risk (Robbins, "Statistical
    methods related to the law of the iterated logarithm", Annals of Mathematical Statistics 41(5), 1970): wider than
    one of a fixed number of samples.
    """
    wrong = samples - right
    mixture = math.lgamma(right + 1) + math.lgamma(wrong + 1) - math.lgamma(samples + 2) + math.log(risk)

    def holds(share: float) -> bool:
        return _log_likelihood(right, share) + _log_likelihood(wrong, 1 - share) > mixture

    centre = right / samples
    return _edge(holds, centre, 0.0), _edge(holds, centre, 1.0)


def _log_likelihood(count: int, share: float) -> float:
    return 0.0 if not count else count * math.log(share) if share > 0 else -math.inf


def _edge(holds: Callable[[float], bool], inside: float, outside: float) -> float:
    """The last value from `inside` towards `outside` that holds, by bisection."""
    if holds(outside):
        return outside
    for _ in range(50):
        middle = (inside + outside) / 2
        inside, outside = (middle, outside) if holds(middle) else (inside, middle)
    return inside
