"""What every request for a certificate has in common: an updater makes it, and checks what the host answers.

The request is sent again until there is an answer; what hinders on this device is tried again, too. How it is sent, and
what is said of it, is its kind's: `asking`, `moving`, `renewal`.
"""

from collections.abc import Callable

from msgspec import Struct

from skerry_agent.identity.attest import HostTime
from skerry_agent.identity.decisions import pauses
from skerry_agent.identity.later import Later
from skerry_agent.identity.ports import Connections, HostClock
from skerry_agent.ports.interfaces import Processes
from skerry_agent.ports.jobs import AcceptIdentity, Answer, IdentityMade, MakeRequest, Refusal, RequestMade

SILENCE_S = (5.0, 2.0, 300.0)
"""Pauses where nothing answers: the first, their growth, the longest."""

LOCAL_S = (10.0, 2.0, 600.0)
"""Pauses where something on this device is wrong, such as a full disk."""


class Tools(Struct, frozen=True):
    """What asking works with."""

    clock: HostClock
    processes: Processes
    connections: Connections


class Exchange:
    """One request, from `begin` until `got` is called with the folder of an identity, or until `stop`."""

    def __init__(self, tools: Tools, got: Callable[[str], None]) -> None:
        self._clock, self._processes = tools.clock, tools.processes
        self._time = HostTime(tools.processes, tools.clock)
        self._got = got
        self._made: RequestMade | None = None
        self._later = Later(tools.clock)
        self._busy = self._over = False
        self._silence, self._local = pauses(*SILENCE_S), pauses(*LOCAL_S)

    def begin(self) -> None:
        """Have the request made, then ask."""
        self._processes.run_updater(self._job(), self._request_made)

    def stop(self) -> None:
        """Ask no more."""
        self._over = True
        self._later.cancel()

    # -- of each kind --------------------------------------------------------------------------------------------------

    def _job(self) -> MakeRequest:
        """What the updater is to make."""
        raise NotImplementedError

    def _send(self, made: RequestMade) -> None:
        """Send it, if there is a connection."""
        raise NotImplementedError

    def _say_failed(self, refusal: Refusal) -> None:
        """Something on this device hinders."""
        raise NotImplementedError

    def _begin_to_ask(self) -> None:
        """The request is there."""
        self._ask()

    # -- of all --------------------------------------------------------------------------------------------------------

    def _request_made(self, answer: Answer) -> None:
        if self._over:
            return
        if isinstance(answer, RequestMade):
            self._made = answer
            self._begin_to_ask()
        else:
            self._failed(answer, self.begin)

    def _ask(self) -> None:
        if self._over or self._busy or self._made is None:
            return
        self._send(self._made)
        self._later(next(self._silence), self._ask)

    def _have_checked(self, job: AcceptIdentity) -> None:
        self._busy = True
        self._processes.run_updater(job, self._accepted)

    def _accepted(self, answer: Answer) -> None:
        self._busy = False
        if self._over:
            return
        if isinstance(answer, IdentityMade):
            self.stop()
            self._got(answer.folder)
        else:
            self._failed(answer, self.begin)

    def _failed(self, answer: Answer, again: Callable[[], None]) -> None:
        no_answer = Refusal("failed", "no_answer", "the updater gave no answer")
        self._say_failed(answer if isinstance(answer, Refusal) else no_answer)
        self._later(next(self._local), again)
