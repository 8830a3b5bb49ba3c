"""How much of something may pass: a burst at once, and a rate for good. Pure: time is given, in seconds."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rate:
    """So many units at once, and so many a second after that."""

    burst: float
    per_s: float


class TokenBucket:
    """Full at first. A clock that is set back refills nothing and takes nothing away."""

    __slots__ = ("_at", "_tokens", "rate")

    def __init__(self, rate: Rate, now: float) -> None:
        self.rate, self._tokens, self._at = rate, rate.burst, now

    def level(self, now: float) -> float:
        """What may pass now; below 0 after something that was larger than what was left."""
        self._tokens = min(self.rate.burst, self._tokens + max(0.0, now - self._at) * self.rate.per_s)
        self._at = now
        return self._tokens

    def lets_one_pass(self, now: float) -> bool:
        """Whether one unit may pass; then it has passed."""
        passes = self.level(now) >= 1.0
        if passes:
            self.take(1.0)
        return passes

    def take(self, amount: float) -> None:
        """So much passes: ask `level` first."""
        self._tokens -= amount
