"""Whether a model that lives also answers: how often its answers are positive, on this device. Pure: no clock.

Frames of one scene are alike, so what counts is not inferences but *looks*: spans of `LOOK_S` in which something was
judged, positive if one answer was. Whether nothing was found because nothing was there, no count can tell: a shelf at
night is empty. So the load itself is the measure: what the release before saw of it, or this one.
"""

import math
from collections import deque
from typing import Literal

from msgspec import Struct

LOOK_S = 10.0
SCENE_S = 60.0
"""Looks this near each other count as one where the baseline rate, of unrelated samples, is the measure."""
KEPT_LOOKS = 8_640
"""A day of them."""
FALSE_ALARM = 1e-6
"""The largest probability, by the baseline rate, that a working model is said to find nothing."""
FALSE_BLAME = 1e-3
"""The same for failing a candidate, by what the release before saw of the load."""
KNOWN_LOAD_S, UNKNOWN_LOAD_S = 3600.0, 24 * 3600.0
"""How long nothing must be found: where things were there just before, and where nothing is known of the load."""
SILENCE_MARGIN = 1.2
RECENT_LOOKS = 360
"""An hour: what was seen within it was there just before."""
MAX_STEP_S = 10 * LOOK_S
"""A longer time without judged answers is not counted as time in which something could have been found."""


class Seen(Struct, frozen=True):
    """What was seen of the load up to some moment: looks, and those that were positive; also of the last hour alone.

    `longest_silent_s`: the longest time without a positive answer.
    """

    looks: int = 0
    positive: int = 0
    recent_looks: int = 0
    recent_positive: int = 0
    longest_silent_s: float = 0.0

    @property
    def rate(self) -> float:
        """The share of positive looks, at most; 1 where less than an hour was seen."""
        return (self.positive + 1) / (self.looks + 1) if self.looks >= RECENT_LOOKS else 1.0

    @property
    def recent_rate(self) -> float:
        """The share of positive looks in the last hour, 0 where there were none."""
        return self.recent_positive / self.recent_looks if self.recent_looks else 0.0

    def empty_probability(self) -> float:
        """At most this probable is a look without a positive: (empty + 1) / (looks + 1), a rank among equal looks."""
        return (self.looks - self.positive + 1) / (self.looks + 1)


class Looks:
    """The looks of one release on this device, the newest `KEPT_LOOKS`; `judged` and `found` are counts of answers.

    `rate_before_silence`: the share of positive looks up to the newest positive one, 1 where there is none yet.
    """

    def __init__(self) -> None:
        self.judged = self.found = 0
        self.silent_s = self.longest_silent_s = 0.0
        self._silent_judged = self._all_looks = self._positive_looks = 0
        self.rate_before_silence = 1.0
        self._looks: deque[bool] = deque(maxlen=KEPT_LOOKS)
        self._began = self._last = -math.inf
        self._positive = False

    def add(self, now: float, judged: int, positives: int) -> None:
        """Answers since the last call: how many were judged, and how many of them were positive."""
        if not judged:
            return
        if now - self._began >= LOOK_S:
            self._close()
            self._began = now
        self._positive = self._positive or positives > 0
        self._count_silence(now, judged, positives)
        self.judged += judged
        self.found += positives

    def _count_silence(self, now: float, judged: int, positives: int) -> None:
        step = now - self._last if self._last > -math.inf else 0.0
        self._last = now
        self.silent_s += min(step, MAX_STEP_S)
        self._silent_judged += judged
        if positives:
            self.longest_silent_s = max(self.longest_silent_s, self.silent_s)
            self.silent_s, self._silent_judged = 0.0, 0

    def _close(self) -> None:
        if self._began > -math.inf:
            self._looks.append(self._positive)
            self._all_looks += 1
            self._positive_looks += self._positive
            if self._positive:
                self.rate_before_silence = self._positive_looks / self._all_looks
        self._positive = False

    @property
    def silent_judged(self) -> int:
        """How many answers in a row were negative, up to now."""
        return self._silent_judged

    @property
    def seen(self) -> Seen:
        """Of the looks that are over."""
        looks = list(self._looks)
        recent = looks[-RECENT_LOOKS:]
        return Seen(len(looks), sum(looks), len(recent), sum(recent), max(self.longest_silent_s, self.silent_s))


def find_alarm(looks: Looks, rate: float | None, before: Seen) -> str:
    """Why a committed model is said to find nothing, empty if it is not. `rate`: the baseline's; `before`: see `Seen`.

    Nothing was found for a day, and in N scenes where (1 - p)^N < `FALSE_ALARM`. p is the baseline rate, or what this
    release or the one before has found of this load, if that is less: a scene that is always quiet is no alarm.
    Where this release has found something before, also for twice as long as ever: it is not blind.

    An hour is enough for a release that never found anything, where the one before found something in its last hour
    and never was silent for that long, and N suffices by its rate then.
    """
    if not rate or looks.silent_s < KNOWN_LOAD_S:
        return ""
    scenes = min(looks.silent_s / SCENE_S, float(looks.silent_judged))
    there = 0.0 if looks.found else min(rate, before.recent_rate)
    soon_s = max(KNOWN_LOAD_S, SILENCE_MARGIN * before.longest_silent_s)
    soon = there > 0 and looks.silent_s >= soon_s and scenes >= scenes_needed(there)
    usual = min(rate, before.rate, looks.rate_before_silence)
    late_s = max(UNKNOWN_LOAD_S, 2 * looks.longest_silent_s)
    late = looks.silent_s >= late_s and scenes >= scenes_needed(usual)
    if not soon and not late:
        return ""
    hours = looks.silent_s / 3600
    answers = f"{looks.silent_judged} inferences in {hours:.1f} h"
    return f"no positive output for {answers}, where the baseline rate was {rate:.0%}"


def scenes_needed(rate: float) -> float:
    """The N with (1 - rate)^N = `FALSE_ALARM`."""
    return 1.0 if rate >= 1 else math.log(FALSE_ALARM) / math.log1p(-rate)


def judge_trial(looks: Looks, before: Seen) -> Literal["passed", "undecided", "failed"]:
    """Whether a candidate finds what the release before found in the hours before.

    `failed` is for the end of a probation: nothing was found in at least one whole look, where a look without a
    positive is at most as probable as `FALSE_BLAME`; that takes three hours in which every look had one. Before that it
    is `undecided`, and worth waiting for. Where the load was quieter, or is not known, nothing follows from silence: it
    has `passed`, and the alarm after the commit goes on looking.
    """
    if looks.found or not looks.judged or before.empty_probability() > FALSE_BLAME:
        return "passed"
    return "failed" if looks.silent_s >= LOOK_S else "undecided"
