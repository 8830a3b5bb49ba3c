"""Asks for a new certificate over the operation listener, with a new key, and has an updater check it.

When that is due, and when the new identity is used, the keeper decides.
"""

from collections.abc import Callable
from pathlib import Path

from skerry_agent import log
from skerry_agent.identity.decisions import pauses
from skerry_agent.identity.exchange import Exchange, Tools
from skerry_agent.identity.ports import SecureLink
from skerry_agent.ports.jobs import AcceptIdentity, MakeRequest, Refusal, RequestMade
from skerry_agent.state.identity import DEVICE_KEY, MOVED, StoredIdentity
from skerry_agent.wire import codec, topics
from skerry_agent.wire.enrolment import RenewalAnswer, RenewalRequest
from skerry_agent.wire.plain_text import cleaned

FIRST_PAUSE_S, GROWTH, LAST_PAUSE_S = 60.0, 2.0, 6 * 3600.0
"""Between attempts of which nothing came; a third of a certificate's life is left for them."""


class Renewal(Exchange):
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
        super().__init__(tools, got)
        self.issue: str | None = None
        self._stored, self._ca_file, self._link = stored, ca_file, link
        self._state = str(stored.folder.parent.parent)
        self._pauses = pauses(FIRST_PAUSE_S, GROWTH, LAST_PAUSE_S)

    def _job(self) -> MakeRequest:
        key = str(self._stored.folder / DEVICE_KEY)
        return MakeRequest(self._state, "renewal", self._stored.identity.incarnation, key_file=key)

    def _say_failed(self, refusal: Refusal) -> None:
        self._say(f"{refusal.detail}; the certificate in use stays, and it is tried again")

    def _say(self, detail: str) -> None:
        self.issue = cleaned(f"the certificate could not be renewed: {detail}")
        log.warning("the certificate could not be renewed", detail=detail)

    def _send(self, made: RequestMade) -> None:
        link = self._link()
        if link is not None and link.connected:
            request = RenewalRequest(self._time.ask(), made.csr, made.proof)
            link.publish(topics.renew(self._stored.identity.device), codec.encode(request))

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
        stored = self._stored
        job = AcceptIdentity(
            self._state,
            "renewal",
            str(self._ca_file),
            certificate,
            None,
            str(stored.folder),
            stored.identity.device,
            self._clock.wall(),
            "" if stored.identity.claim == MOVED else stored.identity.claim,
        )
        self._have_checked(job)
