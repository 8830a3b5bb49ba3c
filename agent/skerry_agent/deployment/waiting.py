"""Retries an order that could not be written to the journal, with exponential backoff, until its deadline.

Without this, such an order would be carried out only after a restart or with the next one. Does no I/O: its owner says
when the order has been written.
"""

from collections.abc import Callable

from skerry_agent.machine.records import Deployment
from skerry_agent.ports.interfaces import Clock, Timer

FIRST_PAUSE_S, LAST_PAUSE_S = 1.0, 60.0


class WaitingOrder:
    """At most one order, the newest."""

    def __init__(self, clock: Clock, again: Callable[[Deployment], None], lapsed: Callable[[Deployment], None]) -> None:
        self.deployment: Deployment | None = None
        self._clock, self._again, self._lapsed = clock, again, lapsed
        self._timers: dict[str, Timer] = {}
        self._pause_s = FIRST_PAUSE_S

    def retry_later(self, deployment: Deployment, seconds_left: float) -> None:
        """Retry after a pause: it could not be written (again), and has `seconds_left` until its deadline."""
        if self.deployment is None or self.deployment.id != deployment.id:
            self.forget()
            self.deployment = deployment
            self._timers["lapse"] = self._clock.after(seconds_left, self._lapse)
        self._timers["again"] = self._clock.after(self._pause_s, lambda: self._again(deployment))
        self._pause_s = min(LAST_PAUSE_S, 2 * self._pause_s)

    def forget(self) -> None:
        """Stop retrying: it was written, withdrawn or replaced."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        self.deployment, self._pause_s = None, FIRST_PAUSE_S

    def _lapse(self) -> None:
        deployment = self.deployment
        assert deployment is not None
        self.forget()
        self._lapsed(deployment)
