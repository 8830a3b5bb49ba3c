"""An order that the journal could not take: tried again after pauses, each twice as long, until its deadline.

Without it such an order would be carried out only after a restart or with the next one. Does not know the disk: whoever
owns it says when the order was taken.
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

    def put_off(self, deployment: Deployment, left_s: float) -> None:
        """It could not be taken (again); `left_s` seconds are left until its deadline."""
        if self.deployment is None or self.deployment.id != deployment.id:
            self.forget()
            self.deployment = deployment
            self._timers["lapse"] = self._clock.after(left_s, self._lapse)
        self._timers["again"] = self._clock.after(self._pause_s, lambda: self._again(deployment))
        self._pause_s = min(LAST_PAUSE_S, 2 * self._pause_s)

    def forget(self) -> None:
        """It was taken, withdrawn or replaced."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        self.deployment, self._pause_s = None, FIRST_PAUSE_S

    def _lapse(self) -> None:
        deployment = self.deployment
        assert deployment is not None
        self.forget()
        self._lapsed(deployment)
