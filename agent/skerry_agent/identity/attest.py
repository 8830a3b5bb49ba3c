"""The host's time: asked with a nonce that was just made, believed when the director key has signed the answer.

Sends nothing: the nonce goes out with a request, the answer comes in with its answer.
"""

import os
from collections.abc import Callable

from skerry_agent import log
from skerry_agent.identity.ports import HostClock
from skerry_agent.ports.interfaces import Processes
from skerry_agent.ports.jobs import Answer, Payload, VerifyMessage
from skerry_agent.wire import codec, envelope
from skerry_agent.wire.enrolment import Attest
from skerry_agent.wire.errors import WireError


class HostTime:
    """One question for the time after the other; only an answer to the newest counts."""

    def __init__(self, processes: Processes, clock: HostClock) -> None:
        self._processes, self._clock = processes, clock
        self.nonce = ""

    def ask(self) -> str:
        """A new nonce, for a request."""
        self.nonce = os.urandom(16).hex()
        return self.nonce

    def answered(self, attest: bytes | None, then: Callable[[bool], None]) -> None:
        """Have an answer verified; `then` is called once, with whether the host's time is known from it.

        The time is that of when the message came: verifying it may take seconds on a small board.
        """
        if attest is None or not self.nonce:
            then(False)
            return
        came, nonce = self._clock.monotonic(), self.nonce

        def verified(answer: Answer) -> None:
            then(self._learn(answer, nonce, came))

        self._processes.run_updater(VerifyMessage(attest, envelope.ATTEST, "director"), verified)

    def _learn(self, answer: Answer, nonce: str, came: float) -> bool:
        if not isinstance(answer, Payload):
            log.warning("the host's time was not believed", detail=getattr(answer, "detail", ""))
            return False
        try:
            attest = codec.decode(answer.payload, Attest)
        except WireError as error:
            log.warning("the host's time was not believed", detail=str(error))
            return False
        if attest.nonce != nonce:
            log.warning("the host's time was not believed: it answers another question")
            return False
        self._clock.host_says(attest.time + self._clock.monotonic() - came)
        return True
