"""Asks the host for an identity on the enrolment listener, with a claim or a birth certificate, until it gives one.

Every request may be sent again: the host gives the same key the same answer. What the host answers is checked by an
updater before it counts. Decides neither when to ask nor what becomes of the identity: the keeper does.
"""

from collections.abc import Callable
from pathlib import Path

from msgspec import Struct

from skerry_agent import __version__, log
from skerry_agent.identity.decisions import OF_TIME, is_doubtful, is_valid_at, pauses
from skerry_agent.identity.exchange import SILENCE_S, Exchange, Tools
from skerry_agent.identity.ports import Credentials, Events, IdentityState, SecureLink
from skerry_agent.ports.jobs import AcceptIdentity, MakeRequest, Refusal, RequestKind, RequestMade
from skerry_agent.state.disk import remove_folder
from skerry_agent.state.identity import IdentityStore
from skerry_agent.wire import codec, topics
from skerry_agent.wire.enrolment import EnrolmentAnswer, EnrolmentRequest, code_of
from skerry_agent.wire.errors import WireError
from skerry_agent.wire.plain_text import cleaned

PENDING_S = (2.0, 1.5, 60.0)
REFUSED_S = (60.0, 2.0, 3600.0)
"""Pauses while a person has to decide, and after a refusal: the first, their growth, the longest."""
MOST_UNANSWERED = 2
"""So often it asks in vain before it says so: the host may be busy with other boards."""

KEY_REVOKED = "key_revoked"
"""The host has taken this device's waiting key for it once, and another one since."""


class Way(Struct, frozen=True):
    """How to ask: as whom, for which state folder, and what the host is told of the board.

    `device` is who it has to be, empty where the host decides; `before` the folder of an identity with its birth key.
    """

    kind: RequestKind
    state: Path
    incarnation: str
    ca_file: Path
    cert_file: Path
    key_file: Path
    serial: str = ""
    board: str = ""
    device: str = ""
    before: str = ""
    claim: str = ""


class Asking(Exchange):
    """One way of asking, from `begin` until `got` is called with the folder of an identity, or until `stop`."""

    def __init__(self, way: Way, tools: Tools, got: Callable[[str], None], changed: Callable[[], None]) -> None:
        super().__init__(tools, got)
        self.way = way
        self.state: IdentityState = "asking"
        self.detail = ""
        self.code = ""
        self._connections, self._changed = tools.connections, changed
        self._link: SecureLink | None = None
        self._check_time = True
        self._time_failed = False
        self._unanswered = 0
        self._pending, self._refused = pauses(*PENDING_S), pauses(*REFUSED_S)

    # -- life ----------------------------------------------------------------------------------------------------------

    def _job(self) -> MakeRequest:
        way = self.way
        files = {"ca_file": str(way.ca_file), "cert_file": str(way.cert_file), "key_file": str(way.key_file)}
        return MakeRequest(str(way.state), way.kind, way.incarnation, **files)

    def stop(self) -> None:
        """Ask no more, and leave the enrolment listener."""
        super().stop()
        if self._link is not None:
            self._link.stop()

    @property
    def is_in_vain(self) -> bool:
        """Whether the host has refused, or what it would be asked with cannot be used."""
        return self.state == "refused" or (self._made is None and bool(self.detail))

    def _begin_to_ask(self) -> None:
        assert self._made is not None
        self.code = code_of(self._made.key_sha256)
        self._say("asking", "")
        self._connect()

    def _say_failed(self, refusal: Refusal) -> None:
        hint = _NO_RETURN if self.way.kind == "birth" and refusal.kind == "rejected" else ""
        self._say(self.state, f"{refusal.detail}; it is tried again{hint}")

    def _say(self, state: IdentityState, detail: str) -> None:
        if (state, detail) == (self.state, self.detail):
            return
        self.state, self.detail = state, cleaned(detail)
        log.say("warning" if detail else "info", f"enrolment: {state}", code=self.code or None, detail=detail or None)
        self._changed()

    # -- the connection ------------------------------------------------------------------------------------------------

    def _connect(self) -> None:
        if self._link is not None:
            self._link.stop()
            self._link = None
        made = self._made
        if self._over or made is None:
            return
        wall = self._clock.system_wall()
        self._check_time = not (self._time_failed or is_doubtful(wall, made.not_before, made.not_after))
        # The broker makes up a client id: with one that can be guessed, whoever has the claim could throw this one out.
        credentials = Credentials("", self.way.cert_file, self.way.key_file, check_time=self._check_time)
        self._link = self._connections.enrol(credentials, Events(self._up, self._message, self._down))

    def _down(self, kind: str, detail: str) -> None:
        """No connection: the link tries again by itself."""
        if kind in OF_TIME and not self._time_failed:
            self._time_failed = True
            self._later(1.0, self._connect)
        state, why = _REFUSALS.get((self.way.kind, kind), (self.state, detail))
        if self.state != "pending":  # that somebody has to approve it, is worth more than why one connection broke
            self._say(state, why)

    def _up(self) -> None:
        """A broker that was away may be there a moment before its host: that is no reason to wait long."""
        self._silence = pauses(*SILENCE_S)
        self._ask()

    def _send(self, made: RequestMade) -> None:
        link = self._link
        if link is None:
            return
        link.check()
        if link.connected:
            key = made.key_sha256[:16]
            link.subscribe([topics.enroll_answer(made.principal, key)])
            link.publish(topics.enroll_request(made.principal, key), codec.encode(self._request(made)))
            self._unanswered += 1
            if self._unanswered > MOST_UNANSWERED and self.state == "asking":
                self._say("asking", "the enrolment listener takes what is asked, and the host does not answer")

    def _request(self, made: RequestMade) -> EnrolmentRequest:
        return EnrolmentRequest(
            made.csr,
            self._time.ask(),
            made.incarnation,
            made.birth_csr,
            self.way.serial[:128],
            self.way.board[:64],
            f"skerry-agent {__version__}"[:64],
            made.proof,
        )

    # -- the answer ----------------------------------------------------------------------------------------------------

    def _message(self, topic: str, payload: bytes) -> None:
        made = self._made
        if self._over or self._busy or made is None:
            return
        if topic != topics.enroll_answer(made.principal, made.key_sha256[:16]):
            return
        try:
            answer = codec.decode(payload, EnrolmentAnswer)
        except WireError as error:
            log.warning("an answer to the request for an identity was ignored", detail=str(error))
            return
        self._take(answer)

    def _take(self, answer: EnrolmentAnswer) -> None:
        self._busy = True
        self._unanswered = 0
        self._later.cancel()
        self._time.answered(answer.attest, lambda known: self._answered(answer, known=known))

    def _answered(self, answer: EnrolmentAnswer, *, known: bool) -> None:
        self._busy = False
        if self._over or (known and self._broker_is_out_of_date()):
            return
        if answer.status == "approved" and answer.certificate is not None:
            self._accept(answer, known=known)
        elif answer.status == "refused":
            self._say("refused", "; ".join(filter(None, (answer.detail or answer.code, _HINTS.get(answer.code)))))
            self._later(next(self._refused), self._begin_anew if answer.code == KEY_REVOKED else self._ask)
        else:
            hint = f"`skerry device approve {self.code} --as {self.way.device or 'NAME'}` on the host lets it in"
            self._say("pending", f"waits for approval as {self.code}: {hint}")
            self._later(next(self._pending), self._ask)

    def _begin_anew(self) -> None:
        """With another key: the one that waits is of no use any more."""
        try:
            remove_folder(IdentityStore(self.way.state).request(self.way.kind))
        except OSError as error:
            self._failed(
                Refusal("failed", "disk", f"the keys of the request cannot be removed: {error.strerror}"),
                self._begin_anew,
            )
        else:
            self.begin()

    def _broker_is_out_of_date(self) -> bool:
        """Whether the broker's certificate is not valid by the host's time, where TLS has not looked at its dates."""
        dates = self._link.broker_dates() if self._link is not None and not self._check_time else None
        if dates is None or is_valid_at(self._clock.wall(), *dates):
            return False
        self._say(self.state, "the certificate of the enrolment listener is not valid now, by the host's own time")
        self._later(next(self._refused), self._connect)
        return True

    def _accept(self, answer: EnrolmentAnswer, *, known: bool) -> None:
        way, sure = self.way, known or self._check_time
        job = AcceptIdentity(
            str(way.state),
            way.kind,
            str(way.ca_file),
            answer.certificate or b"",
            answer.birth_certificate,
            way.before,
            way.device,
            self._clock.wall() if sure else None,
            way.claim,
        )
        self._have_checked(job)


_REFUSALS: dict[tuple[str, str], tuple[IdentityState, str]] = {
    ("claim", "own_certificate_expired"): (
        "refused",
        "the claim has expired, by the host's clock; `skerry device claim` there makes another, or `provision`",
    ),
    ("claim", "own_certificate_revoked"): (
        "refused",
        "the host has closed this claim; `skerry device claim` there makes another, or `provision`",
    ),
    ("birth", "own_certificate_revoked"): (
        "refused",
        "the host has revoked this device; `skerry device provision NAME --replace` there makes it another claim",
    ),
    ("birth", "own_certificate_expired"): (
        "refused",
        "its birth certificate has expired, too; `skerry device provision NAME --replace` there makes it another claim",
    ),
}
"""How the enrolment listener says no, by the way of asking and the kind of problem; what it is then called."""

_NO_RETURN = "; `skerry device provision` on the host makes it another claim"

_HINTS = {
    "revoked": "the host has revoked this device",
    "claim_closed": "make a new one: `skerry device claim` on the host",
}
"""What to do about the refusals that a person at the device can do something about."""
