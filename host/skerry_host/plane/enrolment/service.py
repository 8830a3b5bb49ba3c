"""The enrolment service: hears requests on a connection of its own and publishes the answers, while the plane serves.

One thread answers, one request at a time. What people approve, in any process, is answered at the next tick. A claim
that asks without end is closed: whoever has it would otherwise hold up the boards that are in earnest.
"""

import logging
import threading
from collections import Counter
from collections.abc import Callable
from typing import Protocol, Self

from skerry_agent.wire.errors import SkerryError
from skerry_host.plane.broker.link import Incoming, Outgoing
from skerry_host.plane.enrolment import moving
from skerry_host.plane.enrolment.desk import Desk, read_request
from skerry_host.plane.enrolment.requests import Requests
from skerry_host.plane.every import Every
from skerry_host.plane.ingest.drop_log import DropLog
from skerry_host.plane.registry.records import changes, claims, events, identities
from skerry_host.plane.registry.records.events import Event

CHECK_EVERY_S = 2.0
FLOOD, MOST_FLOOD = 1000, 5000
"""So many dropped requests in that time close a claim: for a large one ten for each of its boards, up to the second.

A broker takes some 900 new connections a second, so boards in earnest do not come to that, however many they are.
"""

FORGET_AFTER_S = 7 * 86_400.0
"""A board that has not asked for so long waits no longer; it is listed again when it asks again."""

KEEP_EXPIRED_S = 30 * 86_400.0
PRUNE_EVERY_S = 3600.0

log = logging.getLogger(__name__)


class Sender(Protocol):
    """What the service needs of its connection."""

    def start(self) -> None:
        """Connect; raises `LinkError`."""

    def stop(self) -> None:
        """Disconnect."""

    def publish(self, messages: list[Outgoing]) -> bool:
        """False when the connection was lost."""

    def acknowledge(self, messages: list[Incoming]) -> None:
        """They need not come again."""


Connect = Callable[[Callable[[Incoming], None], Callable[[float], bool]], Sender]
"""Makes the connection, of what it hands messages to and what it asks for room."""


class EnrolmentService:
    """Enter it to serve. `counts` holds answered, failed, malformed and dropped since the start."""

    def __init__(self, desk: Desk, connect: Connect) -> None:
        self._desk = desk
        self._registry, self._clock = desk.registry, desk.clock
        self._requests = Requests(desk.clock)
        self._link = connect(self._receive, self._requests.has_room)
        self._thread = threading.Thread(target=self._run, name="enrolment")
        self._malformed = DropLog(log, "they are malformed", desk.clock)
        self._failed = DropLog(log, "the host cannot answer now", desk.clock)
        self._seen = self._offers_seen = -1
        self._checking = Every(CHECK_EVERY_S, last=desk.clock())
        self._pruning = Every(PRUNE_EVERY_S, last=desk.clock())
        self.counts: Counter[str] = Counter()

    def tick(self) -> None:
        """Answer what people have approved; close what floods; forget what is long gone. Called at every tick."""
        now = self._clock()
        self._sign_offers(now)
        self._answer_approved()
        if self._checking.is_due(now):
            self._close_floods(now)
        if self._pruning.is_due(now):
            with self._registry.write() as session:
                claims.forget_silent(session, now - FORGET_AFTER_S)
                identities.prune_certificates(session, now - KEEP_EXPIRED_S)

    def _sign_offers(self, now: float) -> None:
        with self._registry.read() as session:
            seen = changes.now(session).identities
        if seen != self._offers_seen and moving.sign_offers(self._registry, self._desk.director, now):
            self._offers_seen = seen

    def _answer_approved(self) -> None:
        with self._registry.read() as session:
            seen = changes.now(session).pending
        if seen == self._seen:
            return
        answers = self._desk.approved()
        self.counts["answered"] += len(answers)
        self._seen = seen  # not before: what could not be done is tried again
        if answers:
            self._link.publish(answers)

    def _close_floods(self, now: float) -> None:
        dropped = self._requests.take_dropped()
        self.counts["dropped"] += dropped.total()
        for principal, count in dropped.items():
            if count >= FLOOD:
                self._close_flood(principal, count, now)

    def _close_flood(self, principal: str, count: int, now: float) -> None:
        """Of a birth certificate it is only said: whether its device is revoked is for people to decide."""
        with self._registry.write() as session:
            claim = claims.find(session, principal)
            if claim is not None and (claim.closed is not None or count < min(10 * claim.count, MOST_FLOOD)):
                return
            text = f"{count} requests in {CHECK_EVERY_S:g} s were dropped"
            if claim is not None:
                claims.close(session, claim.number, now)
                text = f"closed: {text}"
            events.add(session, Event(now, "claim_flood", principal or "enrolment", text))
            log.warning("%s: %s", principal or "enrolment", text)

    def _receive(self, message: Incoming) -> None:
        """In the connection's thread. Acknowledged at once: whoever gets no answer asks again."""
        self._requests.put(message)
        self._link.acknowledge([message])

    def _run(self) -> None:
        while (message := self._requests.take()) is not None:
            self._answer(message)

    def _answer(self, message: Incoming) -> None:
        try:
            request = read_request(message.topic, message.payload)
        except SkerryError as error:
            self.counts["malformed"] += 1
            self._malformed.note(message.topic, str(error))
            return
        try:
            answer = self._desk.answer(request)
        except Exception as error:  # noqa: BLE001 - what comes of one request must not end enrolment for all others
            self.counts["failed"] += 1
            self._failed.note_error(request.principal, error)
            return
        self.counts["answered"] += 1
        self._link.publish([answer])

    def __enter__(self) -> Self:
        self._link.start()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._requests.close()
        self._thread.join()
        self._link.stop()
