"""What a device must show before it keeps settings: one proof for each thing that a change takes. Changes nothing.

Each proof is asked every second. It is `SHOWN`, or `OPEN`, or a `Failure`: then nothing is waited for any more. What is
open when the time is over has failed, for the reason that it gives itself.
"""

from collections.abc import Callable
from typing import Protocol

from msgspec import Struct

from skerry_agent.deployment.service import Service
from skerry_agent.deployment.unit import Unit
from skerry_agent.ports.interfaces import Clock, Link
from skerry_agent.wire import codec
from skerry_agent.wire.errors import WireError
from skerry_agent.wire.inputs import DirectorySource
from skerry_agent.wire.telemetry import Receipt

SETTLED_S = 3.0
"""So long a device must have worked under the new values; a runner likewise, from when it accepts requests on."""

REPORT_AGAIN_S = 10.0

TOLERATED_S = 10.0
"""So long a source may fail: a camera that the runner before still holds is free a moment later."""


class Failure(Struct, frozen=True):
    """Why a trial has failed."""

    code: str
    detail: str


class Shown(Struct, frozen=True):
    """There is nothing left to show."""


class Open(Struct, frozen=True):
    """It is not known yet; `why` it has failed if that stays so."""

    why: Failure


State = Shown | Open | Failure
SHOWN = Shown()


class Proof(Protocol):
    """One thing that must be shown."""

    def state(self) -> State:
        """How far it is."""


class Settled:
    """The agent itself goes on."""

    def __init__(self, clock: Clock) -> None:
        self._clock, self._since = clock, clock.monotonic()

    def state(self) -> State:
        """See `Proof`."""
        if self._clock.monotonic() - self._since >= SETTLED_S:
            return SHOWN
        return Open(Failure("agent_restarts", "the trial was too short"))


class HostHears:
    """There is a new connection, and the host has confirmed a report that went over it.

    That a broker takes what is sent shows nothing: it may be one that the host is not at. `report` makes a report now
    and says by what boot and sequence a receipt names it. Until the old connection is `left` nothing counts. While no
    receipt comes, another report is made now and then: any later receipt names the first one, too.
    """

    def __init__(
        self, link: Link, clock: Clock, report: Callable[[], tuple[str, int]], left: Callable[[], bool]
    ) -> None:
        self._link, self._clock, self._report, self._left = link, clock, report, left
        self._sent: tuple[str, int] | None = None
        self._reported_at = 0.0
        self._confirmed = False

    def link_up(self) -> None:
        """There is a connection."""
        if self._left():
            self._sent = self._sent or self._reported()

    def _reported(self) -> tuple[str, int]:
        self._reported_at = self._clock.monotonic()
        return self._report()

    def receipt(self, payload: bytes) -> None:
        """The host has stored reports."""
        if self._sent is None:
            return
        try:
            self._confirmed |= codec.decode(payload, Receipt).names(*self._sent)
        except WireError:
            return  # nobody's receipt

    def state(self) -> State:
        """See `Proof`."""
        if self._confirmed:
            return SHOWN
        if self._sent is None or not self._link.connected:
            why = self._link.why_offline or "nothing answers there"
            return Open(Failure("no_connection", why))
        if self._clock.monotonic() - self._reported_at >= REPORT_AGAIN_S:
            self._reported()
        return Open(Failure("not_confirmed", "the broker is there, and this device's host is not heard over it"))


class Serves:
    """A model serves under the new values, its sources can be used, and what must come of them has come.

    What its sources lacked before is not held against the new values, unless those `feed` it otherwise.
    """

    def __init__(self, unit: Unit, clock: Clock, *, feeds: bool) -> None:
        self._unit, self._clock = unit, clock
        self._served = unit.current is not None and unit.current.accepting
        self._failures = unit.failures
        self._known = frozenset(unit.current.source_issues) if unit.current is not None else frozenset()
        self._must_answer = feeds or not self._known
        self._fails_since: float | None = None
        self._good: tuple[Service, float] | None = None

    def state(self) -> State:
        """See `Proof`."""
        unit, service = self._unit, self._unit.current
        if unit.exchange.failure is not None:
            return Failure(*unit.exchange.failure)
        if unit.record.slots.current is None:
            return SHOWN
        if self._served and unit.failures > self._failures:
            return Failure(*unit.failure)
        if service is None or not service.accepting or unit.exchange.under_way:
            return Open(Failure("not_serving", unit.trouble or f"{unit.model} does not serve"))
        return self._judged(service)

    def _judged(self, service: Service) -> State:
        now = self._clock.monotonic()
        line = next((each for each in service.source_issues if each not in self._known), None)
        if line is not None:
            self._good = None
            self._fails_since = now if self._fails_since is None else self._fails_since
            code, _, detail = line.partition(": ")
            failure = Failure(code, f"{self._unit.model}: {detail}")
            return failure if now - self._fails_since >= TOLERATED_S else Open(failure)
        self._fails_since = None
        if self._good is None or self._good[0] is not service:
            self._good = service, now
        if now - self._good[1] < SETTLED_S:
            return Open(Failure("not_serving", f"{self._unit.model} served for less than {SETTLED_S:g} s"))
        if self._must_answer and _brings_samples(service) and not service.answered:
            return Open(Failure("no_samples", f"{self._unit.model}: nothing of its sources could be answered"))
        return SHOWN


def _brings_samples(service: Service) -> bool:
    """A folder may stay empty; from a camera or a file something comes."""
    return any(not isinstance(each, DirectorySource) for each in service.job.sources)
