"""When something that is done now and then is due again. Pure: time is given, in seconds."""


class Every:
    """Due once in a period, the first time at once, or a period after `last`.

    A clock that is set back makes it due, too: else it would be waited for until that time has come again.
    """

    __slots__ = ("_last", "_period_s")

    def __init__(self, period_s: float, last: float | None = None) -> None:
        self._period_s, self._last = period_s, last

    def is_due(self, now: float) -> bool:
        """Whether it is to be done now; then it counts as done."""
        if self._last is not None and abs(now - self._last) < self._period_s:
            return False
        self._last = now
        return True
