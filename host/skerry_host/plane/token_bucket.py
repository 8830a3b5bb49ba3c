"""How much of something may pass: a burst at once, and a rate for good. Pure: time is given, in seconds."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rate:
    """So many units at once, and so many a second after that."""

    burst: float
    per_s: float


class TokenBucket:
    """Full at first. A clock that is set back refills nothing and takes nothing away."""

    __slots__ = ("_at", "_tokens")

    def __init__(self, rate: Rate, now: float) -> None:
        self._tokens, self._at = rate.burst, now

    def level(self, rate: Rate, now: float) -> float:
        """What may pass now; below 0 after something that was larger than what was left."""
        self._tokens = min(rate.burst, self._tokens + max(0.0, now - self._at) * rate.per_s)
        self._at = now
        return self._tokens

    def take(self, amount: float) -> None:
        """So much passes: ask `level` first."""
        self._tokens -= amount
