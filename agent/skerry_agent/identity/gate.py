"""Between a connection that was made without a look at dates and its use: the host's time, asked for until it is known.

Then the dates of the broker's certificate are looked at after all. Nothing else is sent on that connection before.
"""

from collections.abc import Callable

from skerry_agent.identity.attest import HostTime
from skerry_agent.identity.decisions import is_valid_at, pauses
from skerry_agent.identity.later import Later
from skerry_agent.identity.ports import HostClock, SecureLink
from skerry_agent.ports.interfaces import Processes
from skerry_agent.wire import codec, topics
from skerry_agent.wire.enrolment import RenewalAnswer, RenewalRequest

ATTEST_S = (5.0, 1.5, 60.0)
"""Pauses between two questions."""


class TimeGate:
    """`opened` is called once a time for each `begin`, with whether the broker's certificate is valid now."""

    def __init__(self, clock: HostClock, processes: Processes, opened: Callable[[bool], None]) -> None:
        self._clock, self._opened = clock, opened
        self._time = HostTime(processes, clock)
        self._link: SecureLink | None = None
        self._device = ""
        self._later = Later(clock)

    def begin(self, link: SecureLink, device: str) -> None:
        """There is a connection: ask on it."""
        self._link, self._device, self._pauses = link, device, pauses(*ATTEST_S)
        self._ask()

    def close(self) -> None:
        """Ask no more."""
        self._link = None
        self._later.cancel()

    def _ask(self) -> None:
        link = self._link
        if link is None or not link.connected:
            return
        link.subscribe([topics.renewal(self._device)])
        link.publish(topics.renew(self._device), codec.encode(RenewalRequest(self._time.ask())))
        self._later(next(self._pauses), self._ask)

    def answered(self, answer: RenewalAnswer) -> None:
        """An answer of the host, to this question or to another."""
        if self._link is not None and answer.nonce == self._time.nonce:
            self._time.answered(answer.attest, self._known)

    def _known(self, known: bool) -> None:
        link = self._link
        if link is None or not known:
            return
        dates = link.broker_dates()
        self.close()
        self._opened(dates is None or is_valid_at(self._clock.wall(), *dates))
