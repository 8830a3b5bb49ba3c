"""Readings of a sensor that shows only the moment: their mean, and how uncertain it is. Pure.

A mean is no better than the sensor's step (an INA219 on the usual shunt counts in 20 mW) lets it be, nor than the
spread of what was read. The step is that of the readings themselves, for no driver tells it.
"""

from itertools import pairwise

MOST = 1000
"""Of so many readings at most: over half an hour of polls every two seconds."""

STEPS = 64
"""So many values that differ are remembered to find the step."""


class Readings:
    """Collects readings until they are taken."""

    def __init__(self, least_step: float = 0.0) -> None:
        self._least_step = least_step
        self._values: list[float] = []
        self._known: set[float] = set()

    def add(self, value: float) -> None:
        """One reading."""
        self._values = [*self._values[-MOST + 1 :], value]
        if len(self._known) < STEPS:
            self._known.add(value)

    def take(self) -> tuple[float, float] | None:
        """(mean, its uncertainty without the sensor's accuracy) of the readings since; None without any."""
        values, self._values = self._values, []
        if not values:
            return None
        count, mean = len(values), sum(values) / len(values)
        squares = sum((value - mean) ** 2 for value in values)
        spread = (squares / (count - 1) / count) ** 0.5 if count > 1 else 0.0
        return mean, self._step() / 2 + spread

    def _step(self) -> float:
        """The least difference between two readings so far: at least the sensor's step."""
        known = sorted(self._known)
        return max(self._least_step, min((b - a for a, b in pairwise(known)), default=0.0))
