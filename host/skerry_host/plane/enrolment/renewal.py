"""Renews the certificates of devices that have one, and tells them the host's time, over the operation listener.

The certificate of before stays valid until it expires, so that a device has one at every moment. Everything may be
asked again: a key that was certified lately is given the same certificate. Who is heard at all is the broker's matter,
and who is enrolled `desk`'s.
"""

import logging
import threading
from collections import Counter

from sqlalchemy.orm import Session

from skerry_agent.wire import codec, topics
from skerry_agent.wire.enrolment import EnrolmentRequest, RenewalAnswer, RenewalRequest, code_of
from skerry_agent.wire.errors import WireError
from skerry_host.identity.csr import Csr, read_csr
from skerry_host.identity.errors import CsrError
from skerry_host.identity.profile import DAY_S, DEVICE_DAYS
from skerry_host.identity.renewal import REFUSED, Asked, Held, decide
from skerry_host.plane.broker.link import Incoming, Outgoing
from skerry_host.plane.enrolment.certificates import MOST_LOOKED_AT, Certificates
from skerry_host.plane.enrolment.desk import Desk, Request
from skerry_host.plane.ingest.drop_log import DropLog
from skerry_host.plane.registry.records import events, identities, moves
from skerry_host.plane.registry.records.events import Event
from skerry_host.plane.registry.records.identities import Identity
from skerry_host.text import cleaned

MAX_WAITING = 5000
"""Devices whose request waits; one of each, the newest."""

MOST_AT_ONCE = 50
"""Requests of one call of `work`: each may be a signature and a transaction."""

MAX_REQUEST_BYTES = 8192

log = logging.getLogger(__name__)


class RenewalDesk:
    """Answers one request at a time, each in a transaction; whoever is to be enrolled first is `desk`'s."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._registry, self._director, self.clock = desk.registry, desk.director, desk.clock

    def answer(self, device: str, said: RenewalRequest) -> RenewalAnswer | None:
        """None for a device that has no identity, and is offered none. Raises `IdentityError` of the authority.

        Then, and where the registry cannot be written, nothing was done, and the device asks again.
        """
        if said.enrol is not None:
            return self._move(device, said.nonce, said.enrol)
        csr = None
        try:
            csr = read_csr(said.csr) if said.csr is not None else None
        except CsrError as error:
            return RenewalAnswer(said.nonce, code=error.code, detail=error.message)
        with self._registry.read() as session:
            found = identities.find(session, device)
        if found is None or found.key_sha256 is None:
            return None
        if found.is_denied:
            return RenewalAnswer(said.nonce, code="revoked", detail=REFUSED["revoked"])
        if csr is None:
            return RenewalAnswer(said.nonce, attest=self._director.attest(device, said.nonce))
        with self._registry.write() as session:
            return self._renew(session, device, said, csr)

    def _move(self, device: str, nonce: str, said: EnrolmentRequest) -> RenewalAnswer | None:
        """Of a device of the old way that is offered an identity; anybody there may have sent it in its name."""
        with self._registry.read() as session:
            claim = moves.claim(session, device)
        if claim is None:
            return None
        return RenewalAnswer(nonce, enrol=self._desk.decided(Request(claim, "", cleaned(said))))

    def _renew(self, session: Session, device: str, said: RenewalRequest, csr: Csr) -> RenewalAnswer:
        found = identities.find(session, device)  # again: it may have been revoked since
        if found is None or found.key_sha256 is None or found.is_denied:
            return RenewalAnswer(said.nonce, code="revoked", detail=REFUSED["revoked"])
        now, attest = self.clock(), self._director.attest(device, said.nonce)
        code = self._refusal(session, found, said, csr)
        if code:
            return RenewalAnswer(said.nonce, code=code, detail=REFUSED[code], attest=attest)
        assert said.csr is not None
        pem = Certificates(self._desk.identity, now).device(session, device, csr.key_sha256, said.csr)
        if csr.key_sha256 != found.key_sha256:
            identities.set_key(session, device, csr.key_sha256)
            events.add(session, Event(now, "identity", device, f"renewed, key {code_of(csr.key_sha256)}"))
            moves.end(session, device, now)  # only its own key signs for another, and it does so over TLS
        return RenewalAnswer(said.nonce, pem, attest=attest)

    def _refusal(self, session: Session, found: Identity, said: RenewalRequest, csr: Csr) -> str:
        now, current = self.clock(), found.key_sha256
        assert current is not None
        assert said.csr is not None
        living = identities.living_certificates(session, found.device, now, MOST_LOOKED_AT)
        held = [Held(each.key_sha256, each.not_after - DEVICE_DAYS * DAY_S, each.pem) for each in living]
        code = decide(Asked(csr.key_sha256, said.csr, said.proof), current, held, now)
        if code == "too_soon" and moves.claim(session, found.device) is not None:
            code = ""  # it shows at once that it has come with the one that it was given over the old way
        owner = identities.by_key(session, csr.key_sha256)
        return code or ("key_in_use" if owner is not None and owner.device != found.device else "")


def _read(payload: bytes) -> RenewalRequest:
    """Raises `WireError`; a text far above what a request needs is not parsed."""
    if len(payload) > MAX_REQUEST_BYTES:
        raise WireError("renewalrequest", [f"{len(payload)} bytes are over the limit of {MAX_REQUEST_BYTES}"])
    return codec.decode(payload, RenewalRequest)


class Renewals:
    """Requests that wait: put in by the link's thread, answered by `work`. `counts`: answered, malformed, dropped."""

    def __init__(self, desk: RenewalDesk) -> None:
        self._desk = desk
        self._lock = threading.Lock()
        self._waiting: dict[str, RenewalRequest] = {}
        self._dropped = DropLog(log, "too many devices ask for certificates", desk.clock)
        self._malformed = DropLog(log, "they are malformed", desk.clock)
        self._strangers = DropLog(log, "the device has no identity", desk.clock)
        self._failed = DropLog(log, "the host cannot answer now", desk.clock)
        self.counts: Counter[str] = Counter()

    def put(self, message: Incoming) -> None:
        """Keep a request, in place of an earlier one of the same device. Quick: nothing is looked up."""
        try:
            device, said = topics.device_of(message.topic), _read(message.payload)
        except WireError as error:
            self.counts["malformed"] += 1
            self._malformed.note(message.topic, str(error))
            return
        with self._lock:
            if device not in self._waiting and len(self._waiting) >= MAX_WAITING:
                self.counts["dropped"] += 1
                self._dropped.note(device)
                return
            self._waiting[device] = said

    def work(self) -> list[Outgoing]:
        """Answer some of what waits, oldest first; what cannot be answered now is asked again. Raises nothing of it."""
        answers = []
        for device, said in self._some():
            try:
                answer = self._desk.answer(device, said)
            except Exception as error:  # noqa: BLE001 - no request of a device may end the plane
                self.counts["failed"] += 1
                self._failed.note_error(device, error)
                continue
            if answer is None:
                self._strangers.note(device)
                continue
            self.counts["answered"] += 1
            answers.append(Outgoing(topics.renewal(device), codec.encode(answer), retain=False))
        return answers

    def _some(self) -> list[tuple[str, RenewalRequest]]:
        with self._lock:
            names = list(self._waiting)[:MOST_AT_ONCE]
            return [(name, self._waiting.pop(name)) for name in names]
