"""Asks the broker for the orders that it retains for this device: when a connection is made, then again and again.

A message may be lost while the link stays up. The broker sends all of them each time, 1.7 kB in all, so pauses grow.
Reads no order.
"""

from skerry_agent.ports.interfaces import Clock, Link, Timer
from skerry_agent.wire import topics

FIRST_ASK_S, LAST_ASK_S, ASK_GROWTH = 5.0, 3600.0, 2.0
METERED_FIRST_ASK_S, METERED_LAST_ASK_S, METERED_ASK_GROWTH = 60.0, 6 * 3600.0, 16.0


class OrderRequest:
    """Subscribes to a device's orders anew after each pause, so that they come again."""

    def __init__(self, device: str, link: Link, clock: Clock, *, metered: bool) -> None:
        self.device, self._link, self._clock = device, link, clock
        self._next: Timer | None = None
        self.use(metered=metered)

    def use(self, *, metered: bool) -> None:
        """Pause as such a link allows, from the next connection on."""
        usual, sparing = (
            (FIRST_ASK_S, LAST_ASK_S, ASK_GROWTH),
            (METERED_FIRST_ASK_S, METERED_LAST_ASK_S, METERED_ASK_GROWTH),
        )
        self._first_s, self._last_s, self._growth = sparing if metered else usual

    def begin(self) -> None:
        """There is a new connection: ask now, and again after short pauses."""
        self._ask(self._first_s)

    def _ask(self, pause_s: float) -> None:
        if self._next is not None:
            self._next.cancel()
        longer_s = min(self._last_s, self._growth * pause_s)
        self._next = self._clock.after(pause_s, lambda: self._ask(longer_s))
        if self._link.connected:
            orders = [topics.desired(self.device), topics.command(self.device)]
            self._link.unsubscribe(orders)  # not every broker sends again what is subscribed already
            self._link.subscribe([*orders, topics.receipt(self.device)])
