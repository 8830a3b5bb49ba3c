"""What the first samples show: sure when it can be, seldom wrong however often it is asked."""

import numpy as np
import pytest

from skerry_host.builder.judge.intervals import wilson
from skerry_host.builder.judge.sequential import interval_at_any_time, sign_of_mean, surely_below
from skerry_host.builder.judge.stopping import RISK, is_kept, is_missed
from skerry_host.builder.recipe.recipe import Budget

POPULATION = 1000
BUDGET = Budget(max_accuracy_drop=0.02, min_accuracy=0.5, min_sqnr_db=15.0)
LOOKS = range(128, POPULATION, 48)


def shuffled(ones: int, seed: int, population: int = POPULATION) -> np.ndarray:
    return np.random.default_rng(seed).permutation(np.arange(population) < ones).astype(float)


def test_a_mean_at_the_limit_is_seldom_called_below_it_however_often_it_is_asked():
    wrong = 0
    for seed in range(200):
        values = shuffled(20, seed)
        wrong += any(surely_below(values[:count], POPULATION, 0.02, RISK) for count in LOOKS)
    assert wrong / 200 <= RISK


def test_a_mean_that_is_clearly_below_is_seen_early():
    asked = [next(n for n in LOOKS if surely_below(shuffled(5, s)[:n], POPULATION, 0.05, RISK)) for s in range(20)]
    assert np.mean(asked) < POPULATION / 4


def test_what_the_rest_cannot_change_is_sure():
    assert surely_below(np.zeros(990), POPULATION, 0.011, 1e-9)
    assert not surely_below(np.zeros(20), POPULATION, 0.011, RISK)
    assert surely_below(np.zeros(0), POPULATION, 1.001, RISK)
    assert not surely_below(np.ones(500), POPULATION, 0.5, RISK)


def test_the_sign_of_a_mean():
    values = np.random.default_rng(1).normal(1, 2, 300)
    assert (sign_of_mean(values, RISK), sign_of_mean(-values, RISK)) == (1, -1)
    assert sign_of_mean(values - values.mean(), RISK) == sign_of_mean(values[:20], RISK) == 0
    assert sign_of_mean(np.append(values, np.inf), RISK) == 0


def test_a_mean_of_zero_has_seldom_a_sign():
    noise = np.random.default_rng(2).normal(0, 1, (200, POPULATION))
    assert np.mean([any(sign_of_mean(row[:n], RISK) for n in LOOKS) for row in noise]) <= RISK


def test_where_few_samples_make_most_of_a_mean_its_sign_is_seldom_wrong():
    """Of lognormal values whose mean is 0 the first hundreds look as if it were below."""
    values = np.exp(2 * np.random.default_rng(4).normal(0, 1, (200, POPULATION)))
    values -= values.mean(axis=1, keepdims=True)
    assert np.mean([any(sign_of_mean(row[:n], RISK) for n in LOOKS) for row in values]) <= 2 * RISK


@pytest.mark.parametrize(("right", "samples"), [(0, 10), (700, 800), (800, 800)])
def test_an_interval_for_samples_that_were_stopped_is_the_wider_one(right: int, samples: int):
    low, high = interval_at_any_time(right, samples)
    fixed = wilson(right, samples)
    assert 0 <= low <= fixed[0] <= right / samples <= fixed[1] <= high <= 1


def test_the_interval_holds_wherever_one_stops():
    random = np.random.default_rng(3)
    missed = 0
    for _ in range(100):
        right = np.cumsum(random.random(500) < 0.9)
        intervals = [interval_at_any_time(int(right[n - 1]), n) for n in range(20, 500, 40)]
        missed += any(not low <= 0.9 <= high for low, high in intervals)
    assert missed / 100 <= 0.05


CASES = {
    "as the float model": (0, 0.9, 20.0, True),
    "more lost than the budget": (120, 0.9, 20.0, True),
    "about as much lost as the budget": (20, 0.9, 20.0, False),
    "too few right": (0, 0.2, 20.0, True),
    "too much noise": (0, 0.9, 10.0, True),
    "about as much noise as the budget": (0, 0.9, 15.0, False),
}


@pytest.mark.parametrize("case", CASES)
def test_sure_of_a_budget_that_is_kept_or_missed_clearly(case: str):
    lost, share, decibels, sure = CASES[case]
    random = np.random.default_rng(4)
    reference = random.random(POPULATION) < share
    own = reference & ~shuffled(round(lost / max(share, 0.1)), 5).astype(bool)
    signal = random.uniform(1, 3, POPULATION)
    noise = signal * 10 ** (-decibels / 10) * random.uniform(0.8, 1.2, POPULATION)
    energy = np.stack([signal, noise], axis=1)[:, np.newaxis]
    count = 600
    seen = (reference[:count], own[:count]), energy[:count], BUDGET, POPULATION
    assert (is_kept(*seen) or is_missed(*seen)) == sure
