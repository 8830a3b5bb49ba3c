"""How far the making of a patch is, as a share from 0 to 1 that never goes back. Shows nothing itself."""

from collections.abc import Callable

Show = Callable[[float], None]


def silent(_share: float) -> None:
    """Show nothing."""


class Progress:
    """Reports one part of the work, from `low` to `high` of the whole."""

    def __init__(self, show: Show = silent, low: float = 0.0, high: float = 1.0) -> None:
        self._show, self._low, self._high = show, low, high
        self._told = -1.0

    def __call__(self, share: float) -> None:
        """Say that `share` of this part is done."""
        now = round(self._low + min(share, 1.0) * (self._high - self._low), 2)
        if now > self._told:
            self._told = now
            self._show(now)

    def part(self, low: float, high: float) -> "Progress":
        """A part of this part."""
        return Progress(self, low, high)


UNSEEN = Progress()
"""Of work that nobody watches."""
