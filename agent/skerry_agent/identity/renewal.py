"""Asks for a new certificate over the operation listener, with a new key, and has an updater check it.

When that is due, and when the new identity is used, the keeper decides.
"""

from collections.abc import Callable
from pathlib import Path

from skerry_agent import log
from skerry_agent.identity.asking import LOCAL_S, SILENCE_S, Tools
from skerry_agent.identity.attest import HostTime
from skerry_agent.identity.decisions import pauses
from skerry_agent.identity.later import Later
from skerry_agent.identity.ports import SecureLink
from skerry_agent.ports.jobs import AcceptIdentity, Answer, IdentityMade, MakeRequest, Refusal, RequestMade
from skerry_agent.state.identity import DEVICE_KEY, MOVED, StoredIdentity
from skerry_agent.wire import codec, topics
from skerry_agent.wire.enrolment import RenewalAnswer, RenewalRequest
from skerry_agent.wire.plain_text import cleaned

FIRST_PAUSE_S, GROWTH, LAST_PAUSE_S = 60.0, 2.0, 6 * 3600.0
"""Between attempts of which nothing came; a third of a certificate's life is left for them."""


class Renewal:
    """One renewal, until `got` is called with the folder of the new identity, or until `stop`.

    Publishes on the link that there is; whoever owns it hands in the answers.
    """

    def __init__(
        self,
        stored: StoredIdentity,
        ca_file: Path,
        tools: Tools,
        link: Callable[[], SecureLink | None],
        got: Callable[[str], None],
    ) -> None:
        self.issue: str | None = None
        self._stored, self._ca_file, self._link, self._got = stored, ca_file, link, got
        self._clock, self._processes = tools.clock, tools.processes
        self._time = HostTime(tools.processes, tools.clock)
        self._made: RequestMade | None = None
        self._later = Later(tools.clock)
        self._pauses, self._silence = pauses(FIRST_PAUSE_S, GROWTH, LAST_PAUSE_S), pauses(*SILENCE_S)
        self._local = pauses(*LOCAL_S)
        self._over = self._busy = False

    def begin(self) -> None:
        """Have the key made, then ask."""
        state = self._stored.folder.parent.parent
        key = str(self._stored.folder / DEVICE_KEY)
        job = MakeRequest(str(state), "renewal", self._stored.identity.incarnation, key_file=key)
        self._processes.run_updater(job, self._request_made)

    def stop(self) -> None:
        """Ask no more."""
        self._over = True
        self._later.cancel()

    def _request_made(self, answer: Answer) -> None:
        if self._over:
            return
        if isinstance(answer, RequestMade):
            self._made = answer
            self._ask()
        else:
            self._failed(answer, self.begin)

    def _failed(self, answer: Answer, again: Callable[[], None]) -> None:
        said = answer.detail if isinstance(answer, Refusal) else "the updater gave no answer"
        self._say(f"{said}; the certificate in use stays, and it is tried again")
        self._later(next(self._local), again)

    def _say(self, detail: str) -> None:
        self.issue = cleaned(f"the certificate could not be renewed: {detail}")
        log.warning("the certificate could not be renewed", detail=detail)

    def _ask(self) -> None:
        link, made = self._link(), self._made
        if self._over or self._busy or made is None:
            return
        if link is not None and link.connected:
            request = RenewalRequest(self._time.ask(), made.csr, made.proof)
            link.publish(topics.renew(self._stored.identity.device), codec.encode(request))
        self._later(next(self._silence), self._ask)

    def answered(self, answer: RenewalAnswer) -> None:
        """An answer of the host, to this question or to another."""
        if self._over or self._busy or answer.nonce != self._time.nonce:
            return
        if answer.certificate is None:
            self._say(answer.detail or answer.code or "the host gives none")
            self._later(next(self._pauses), self._ask)
            return
        certificate = answer.certificate
        self._busy = True
        self._later.cancel()
        self._time.answered(answer.attest, lambda _known: self._accept(certificate))

    def _accept(self, certificate: bytes) -> None:
        """Its dates are looked at by the host's time, where that is known: this device's clock may be days off."""
        stored, state = self._stored, self._stored.folder.parent.parent
        job = AcceptIdentity(
            str(state),
            "renewal",
            str(self._ca_file),
            certificate,
            None,
            str(stored.folder),
            stored.identity.device,
            self._clock.wall(),
            "" if stored.identity.claim == MOVED else stored.identity.claim,
        )
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
