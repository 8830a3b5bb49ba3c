"""A model that lives and finds nothing: when that is said, and when nothing was there to be found."""

import random

import pytest

from skerry_agent.machine.positives import (
    FALSE_ALARM,
    KEPT_LOOKS,
    LOOK_S,
    Looks,
    Seen,
    find_alarm,
    judge_trial,
    scenes_needed,
)

HOUR, DAY = 360, KEPT_LOOKS
BUSY = Seen(1_000, 1_000, 360, 360, longest_silent_s=10.0)
BUSY_BY_DAY = Seen(DAY, 4_000, 360, 360, longest_silent_s=12 * 3600.0)
QUIET = Seen(DAY, 0, 360, 0, longest_silent_s=24 * 3600.0)
UNKNOWN = Seen()


def looked(*spans: tuple[int, bool], start: float = 0.0) -> Looks:
    """What a model has seen: so many looks of ten answers each, all positive or none."""
    looks, now = Looks(), start
    for count, positive in spans:
        for _ in range(count):
            looks.add(now, 10, 10 * positive)
            now += LOOK_S
    return looks


# What this release has seen (looks, whether positive), the baseline rate, what the release before saw: said or not.
ALARMS = {
    "blind from the start, where things were there just before": ([(HOUR + 1, False)], 0.9, BUSY, True),
    "an hour is not over": ([(HOUR - 1, False)], 0.9, BUSY, False),
    "nothing is known of the load: a day": ([(DAY - 2, False)], 0.9, UNKNOWN, False),
    "nothing is known of the load, a day is over": ([(DAY + 1, False)], 0.9, UNKNOWN, True),
    "closed for the night": ([(10 * HOUR, False)], 0.9, BUSY_BY_DAY, False),
    "longer than any night": ([(15 * HOUR, False)], 0.9, BUSY_BY_DAY, True),
    "the release before found nothing either": ([(DAY + 1, False)], 0.9, QUIET, False),
    "it has found something: no hour is enough": ([(1, True), (2 * HOUR, False)], 0.9, BUSY, False),
    "it has found something, a day ago": ([(HOUR, True), (DAY + 1, False)], 0.9, BUSY, True),
    "as quiet as before": ([(1, True), (DAY, False), (1, True), (DAY + 9, False)], 0.9, UNKNOWN, False),
    "found again": ([(DAY + 9, False), (1, True)], 0.9, UNKNOWN, False),
    "positives are rare": ([(DAY + 9, False)], 0.001, UNKNOWN, False),
    "the evaluation data had none": ([(2 * DAY, False)], 0.0, BUSY, False),
    "no baseline": ([(2 * DAY, False)], None, BUSY, False),
    "nobody asked": ([], 0.9, BUSY, False),
}


@pytest.mark.parametrize("case", ALARMS)
def test_finding_nothing_is_said_when_it_is_improbable(case):
    spans, rate, before, expected = ALARMS[case]
    said = find_alarm(looked(*spans), rate, before)
    assert bool(said) == expected
    if said:
        assert "where the baseline rate was 90%" in said


def test_the_number_of_scenes_follows_from_the_rate():
    for rate in (0.9, 0.5, 0.05):
        scenes = scenes_needed(rate)
        assert (1 - rate) ** scenes == pytest.approx(FALSE_ALARM)
    assert scenes_needed(1.0) == 1.0


def test_time_in_which_nobody_asked_is_not_silence():
    looks = Looks()
    for n in range(20):
        looks.add(n * 86_400.0, 1, 0)
    assert looks.silent_s == 19 * 10 * LOOK_S
    assert not find_alarm(looks, 0.9, BUSY)


# What a candidate has seen on probation, what the release before saw in the hours before.
TRIALS = {
    "found something": ([(6, True)], BUSY, "passed"),
    "nothing yet": ([(1, False)], BUSY, "undecided"),
    "nothing where every look had something for hours": ([(6, False)], BUSY, "failed"),
    "nothing, but it is night now and then": ([(6, False)], BUSY_BY_DAY, "passed"),
    "nothing, and one look in a thousand had nothing before": ([(6, False)], Seen(1_000, 999, 360, 360), "passed"),
    "nothing, and all is known of an hour only": ([(6, False)], Seen(360, 360, 360, 360), "passed"),
    "nothing, and nothing is known": ([(6, False)], UNKNOWN, "passed"),
    "nobody asked": ([], BUSY, "passed"),
}


@pytest.mark.parametrize("case", TRIALS)
def test_a_candidate_is_held_against_what_the_one_before_saw_of_the_same_load(case):
    spans, before, expected = TRIALS[case]
    assert judge_trial(looked(*spans), before) == expected


def test_a_look_is_positive_with_one_positive_answer_and_over_when_the_next_begins():
    looks = Looks()
    for now, positives in ((0.0, 0), (3.0, 1), (9.9, 0), (10.0, 0), (19.9, 0), (20.0, 5)):
        looks.add(now, 7, positives)
    assert looks.seen == Seen(2, 1, 2, 1, longest_silent_s=17.0)
    assert (looks.judged, looks.found) == (42, 6)


def day_of_a_shop(rng: random.Random, days: int) -> list[bool]:
    """Looks of a shop that is open for 12 hours: customers come every two minutes or so, and stay for one."""
    looks: list[bool] = []
    while len(looks) < days * DAY:
        there = len(looks) % 2 == 1
        looks += [there] * max(1, round(rng.lognormvariate(1.6 if there else 2.3, 1.0)))
        looks += [] if looks[-1] else [not there] * 1
    return [look and n % DAY < 12 * HOUR for n, look in enumerate(looks[: days * DAY])]


def test_a_working_model_in_a_shop_is_not_said_to_find_nothing_and_a_blind_one_is_within_a_day():
    rng = random.Random(3)
    for _ in range(5):
        looks = day_of_a_shop(rng, 2)
        before = looked(*((1, look) for look in looks[:DAY])).seen
        seen: list[tuple[int, bool]] = [(1, look) for look in looks[DAY:]]
        assert not find_alarm(looked(*seen), 0.9, before)
        assert not find_alarm(looked(*seen[: 18 * HOUR]), 0.9, before)
        assert find_alarm(looked((DAY + 1, False)), 0.9, before)
