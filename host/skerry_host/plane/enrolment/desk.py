"""Answers requests for an identity: each is one transaction of the registry, in which a board becomes a device or not.

Killed at any point, nothing is half done: the board asks again, and what it holds the key of is given once more. What
is decided, and why, is `identity.decision`; this module looks up the facts, and does what was decided.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.orm import Session

from skerry_agent.wire import codec, topics
from skerry_agent.wire.enrolment import EnrolmentAnswer, EnrolmentRequest, code_of, device_of_birth
from skerry_agent.wire.names import BIRTH_PREFIX
from skerry_host.identity.csr import read_csr
from skerry_host.identity.decision import Again, Decision, Enrol, Keys, Refuse, Wait, decide, decide_return
from skerry_host.identity.errors import CsrError
from skerry_host.plane.broker.link import Outgoing
from skerry_host.plane.enrolment import facts
from skerry_host.plane.enrolment.certificates import Certificates
from skerry_host.plane.registry.database import Registry
from skerry_host.plane.registry.records import claims, events, identities
from skerry_host.plane.registry.records.events import Event
from skerry_host.plane.registry.tables import PendingRow
from skerry_host.plane.rollouts.director import Director
from skerry_host.text import cleaned


@dataclass(frozen=True, slots=True)
class Request:
    """A request as it came: the principal is the broker's word, by certificate; all else is the asker's."""

    principal: str
    key: str
    said: EnrolmentRequest


@dataclass(frozen=True, slots=True)
class Desk:
    """Works on one registry; `identity` is the folder of the authority, and the director signs orders and the time."""

    registry: Registry
    identity: Path
    director: Director
    clock: Callable[[], float]

    def answer(self, request: Request) -> Outgoing:
        """Decide and do it; where `IdentityError` or an error of the registry is raised, nothing was done."""
        return _message(request, self.decided(request))

    def decided(self, request: Request) -> EnrolmentAnswer:
        """The answer itself, for whoever sends it another way."""
        try:
            keys = _proven(request)
        except CsrError as error:
            return EnrolmentAnswer("refused", code=error.code, detail=error.message)
        with self.registry.write() as session:
            return self._carry_out(session, request, keys)

    def approved(self) -> list[Outgoing]:
        """Enrol the boards that people have approved since; the answers to the requests with which they wait."""
        with self.registry.read() as session:
            waiting = [_as_request(row) for row in claims.approved(session)]
        return [self.answer(request) for request in waiting]

    def _carry_out(self, session: Session, request: Request, keys: Keys) -> EnrolmentAnswer:
        now, said = self.clock(), request.said
        decision = self._decide(session, request, keys, now)
        match decision:
            case Enrol(device):
                self._enrol(session, request, keys, device)
                return self._identity_of(session, said, keys, device)
            case Again(device):
                return self._identity_of(session, said, keys, device)
            case Wait():
                self._wait(session, request, keys)
                return EnrolmentAnswer("pending", attest=self.director.attest("", said.nonce))
            case Refuse(code):
                self._undo_approval(session, request, keys, decision.detail)
                return EnrolmentAnswer("refused", code=code, detail=decision.detail)
        raise AssertionError(decision)

    def _decide(self, session: Session, request: Request, keys: Keys, now: float) -> Decision:
        if not request.principal.startswith(BIRTH_PREFIX):
            return decide(facts.asked(session, request.principal, keys, request.said.serial), now)
        device = device_of_birth(request.principal)
        proven = facts.is_proven(session, device, request.said)
        holder, owner = facts.holder(session, device), facts.owner(session, keys.key_sha256)
        past = facts.past(session, device, keys.key_sha256, now)
        return decide_return(holder, owner, keys, proven=proven, past=past)

    def _enrol(self, session: Session, request: Request, keys: Keys, device: str) -> None:
        now, claim = self.clock(), claims.find(session, request.principal)
        if claim is not None:
            claims.use(session, claim.number)
        identities.bind(session, device, keys, now)
        claims.forget(session, keys.key_sha256)
        self.director.resign(session, device)
        text = f"by {request.principal}, key {code_of(keys.key_sha256)}"
        events.add(session, Event(now, "identity", device, text))

    def _identity_of(self, session: Session, said: EnrolmentRequest, keys: Keys, device: str) -> EnrolmentAnswer:
        issuer = Certificates(self.identity, self.clock())
        birth = None
        if said.birth_csr is not None and keys.birth_key_sha256 is not None:
            birth = issuer.birth(session, device, keys.birth_key_sha256, said.birth_csr)
        certificate = issuer.device(session, device, keys.key_sha256, said.csr)
        return EnrolmentAnswer("approved", device, certificate, birth, attest=self.director.attest(device, said.nonce))

    def _wait(self, session: Session, request: Request, keys: Keys) -> None:
        """Keep the request; a board that a person approved and that cannot be enrolled after all waits again."""
        now, said = self.clock(), request.said
        before = claims.find_waiting(session, keys.key_sha256)
        row = PendingRow(
            key_sha256=keys.key_sha256,
            code=code_of(keys.key_sha256),
            claim=request.principal,
            serial=said.serial,
            board=said.board,
            agent=said.agent,
            incarnation=said.incarnation,
            nonce=said.nonce,
            csr=said.csr,
            birth_csr=said.birth_csr,
            first=now,
            last=now,
            replace=False,
        )
        claims.wait(session, row)
        if before is None:
            text = ", ".join(filter(None, (f"code {row.code}", said.board, said.serial and f"serial {said.serial}")))
            events.add(session, Event(now, "waiting_board", request.principal, text))
        else:
            self._undo_approval(session, request, keys, "it has another board: approve it with --replace")

    def _undo_approval(self, session: Session, request: Request, keys: Keys, why: str) -> None:
        """A board that a person has approved cannot be enrolled after all: it waits again, and that is said."""
        row = claims.find_waiting(session, keys.key_sha256)
        if row is None or row.approved is None:
            return
        text = f"board {row.code} cannot be {row.approved}: {why}"
        events.add(session, Event(self.clock(), "waiting_board", request.principal, text))
        row.approved, row.replace = None, False


def _proven(request: Request) -> Keys:
    """The keys that the asker holds. Raises `CsrError`."""
    said, csr = request.said, read_csr(request.said.csr)
    if not csr.key_sha256.startswith(request.key):
        raise CsrError(f"the topic names the key {request.key}, the CSR is of {csr.key_sha256[:16]}")
    birth = None
    if said.birth_csr is not None and not request.principal.startswith(BIRTH_PREFIX):
        birth = read_csr(said.birth_csr).key_sha256
    return Keys(csr.key_sha256, birth, said.incarnation)


def _as_request(row: PendingRow) -> Request:
    said = EnrolmentRequest(row.csr, row.nonce, row.incarnation, row.birth_csr, row.serial, row.board, row.agent)
    return Request(row.claim, row.key_sha256[:16], said)


def _message(request: Request, answer: EnrolmentAnswer) -> Outgoing:
    return Outgoing(topics.enroll_answer(request.principal, request.key), codec.encode(answer), retain=False)


def read_request(topic: str, payload: bytes) -> Request:
    """The request in a message, its texts clean. Raises `WireError`."""
    principal, key = topics.enrolment_of(topic)
    return Request(principal, key, cleaned(codec.decode(payload, EnrolmentRequest)))
