"""One call that is due later: another takes its place."""

from collections.abc import Callable

from skerry_agent.ports.interfaces import Clock, Timer


class Later:
    """Holds at most one timer of a clock."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._timer: Timer | None = None

    def __call__(self, pause_s: float, call: Callable[[], None]) -> None:
        """Call it after the pause, and forget what was due before."""
        self.cancel()
        self._timer = self._clock.after(pause_s, call)

    def cancel(self) -> None:
        """Nothing is due any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
