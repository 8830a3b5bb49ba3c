"""How long to wait before reconnecting: exponential backoff with jitter, reset after a connection that lasted.

Without jitter, all devices of a fleet would reconnect at the same instant after their broker restarts. Pure.
"""

from collections.abc import Callable
from random import uniform


class Backoff:
    """Counts failures; seconds throughout."""

    def __init__(
        self,
        shortest_s: float = 1.0,
        longest_s: float = 60.0,
        lasting_s: float = 30.0,
        spread: Callable[[float, float], float] = uniform,
    ) -> None:
        self._shortest_s, self._longest_s, self._lasting_s = shortest_s, longest_s, lasting_s
        self._spread = spread
        self._failures = 0

    def next_s(self, lasted_s: float) -> float:
        """The wait after a connection that lasted so long, or 0 for one that never was."""
        self._failures = 0 if lasted_s >= self._lasting_s else self._failures + 1
        ceiling = min(self._longest_s, self._shortest_s * 2.0 ** min(self._failures, 32))
        return self._spread(ceiling / 2, ceiling)
