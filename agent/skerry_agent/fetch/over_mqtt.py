"""Downloads blobs through the broker: retained chunks, or chunks on request where the broker does not retain them.

`Mqtt` combines the two: after a silence it tries the other one as well. Does not rely on a broker's queue: a request
that gets no answer is sent again.
"""

import contextlib
from collections.abc import Callable, Iterable
from functools import partial
from secrets import token_hex

from skerry_agent.fetch.sources import Deliver, Failed
from skerry_agent.ports.interfaces import Link
from skerry_agent.wire import codec, topics
from skerry_agent.wire.asking import MAX_PIECES, Ask, Piece, parse_answer
from skerry_agent.wire.blobs import BlobRef
from skerry_agent.wire.errors import WireError

TRY_BOTH_AFTER = 2
"""After this many repeated requests without an answer, both transports are tried."""


SESSION_BYTES = 8


def _new_session() -> str:
    return token_hex(SESSION_BYTES)


def _nobody(*_: object) -> None:
    """Ignores what comes after `close`."""


class _OverLink:
    """A source that counts as up whenever the link is, for whether the host is up cannot be known."""

    exact = False

    def __init__(self, link: Link) -> None:
        self._link = link
        self._deliver: Deliver = _nobody

    @property
    def up(self) -> bool:
        """The link is there."""
        return self._link.connected

    def open(self, deliver: Deliver, failed: Failed) -> None:  # noqa: ARG002 - it never fails for good
        """See `BlobSource`."""
        self._deliver = deliver

    def damage(self, ref: BlobRef) -> tuple[str, str]:
        """See `BlobSource`; here it may have been damaged on the way."""
        return f"what came of {ref.sha256[:12]} is damaged", "damaged_file"

    def renew(self) -> None:
        """A broker may hold messages back for good when what it sent before was lost."""
        self._link.renew()


class Retained(_OverLink):
    """Chunks retained by the broker, each on a topic of its own."""

    transport = "retained"

    def __init__(self, link: Link) -> None:
        super().__init__(link)
        self._asked: set[str] = set()

    def ask(self, ref: BlobRef, pieces: Iterable[Piece]) -> None:
        """Subscribe; unsubscribe first where already subscribed, so that the broker sends it again."""
        wanted = [_topic(ref.sha256, piece) for piece in pieces]
        self._link.unsubscribe([topic for topic in wanted if topic in self._asked])
        self._link.subscribe(wanted)
        self._asked.update(wanted)

    def cancel(self, ref: BlobRef, pieces: Iterable[Piece]) -> None:
        """Unsubscribe."""
        known = [topic for piece in pieces if (topic := _topic(ref.sha256, piece)) in self._asked]
        self._link.unsubscribe(known)
        self._asked.difference_update(known)

    def close(self) -> None:
        """See `BlobSource`."""
        self._link.unsubscribe(sorted(self._asked))
        self._asked.clear()
        self._deliver = _nobody

    def link_up(self) -> None:
        """The link is back, and the broker has forgotten what was subscribed."""
        self._link.subscribe(sorted(self._asked))

    def message(self, topic: str, payload: bytes) -> bool:
        """Take a message of the broker; False if it is not a retained piece of a blob."""
        head, _, name = topic.rpartition("/")
        root, _, sha256 = head.rpartition("/")
        if root != f"{topics.ROOT}/blob":
            return False
        if payload and (name == "digests" or name.isdecimal()):
            self._deliver(sha256, None if name == "digests" else int(name), payload)
        return True


def _topic(sha256: str, piece: Piece) -> str:
    return topics.digests(sha256) if piece is None else topics.chunk(sha256, piece)


class Asked(_OverLink):
    """Pieces that the host sends because they were asked for, on one topic a blob."""

    transport = "asked"

    def __init__(self, link: Link, device: str, new_session: Callable[[], str] = _new_session) -> None:
        super().__init__(link)
        self._device = device
        self._new_session = new_session
        self._session = new_session()
        self._awaited: dict[str, dict[Piece, None]] = {}

    def ask(self, ref: BlobRef, pieces: Iterable[Piece]) -> None:
        """Ask the host; subscribe before, also where it is asked again: the broker may have forgotten."""
        wanted = dict.fromkeys(pieces)
        awaited = self._awaited.get(ref.sha256)
        if awaited is None or awaited.keys() & wanted:
            self._subscribe(ref.sha256)
        self._awaited.setdefault(ref.sha256, {}).update(wanted)
        self._send(ref.sha256, list(wanted))

    def cancel(self, ref: BlobRef, pieces: Iterable[Piece]) -> None:
        """Await them no more; an answer that is under way is ignored."""
        for piece in pieces:
            self._awaited.get(ref.sha256, {}).pop(piece, None)

    def close(self) -> None:
        """See `BlobSource`."""
        self._link.unsubscribe([topics.piece(self._device, sha256) for sha256 in self._awaited])
        self._awaited.clear()
        self._deliver = _nobody

    def begin(self) -> None:
        """Ask in a new session from now on: the host may have been asked too much in the one before."""
        self._session = self._new_session()

    def link_up(self) -> None:
        """The link is back: what was awaited will not come by itself."""
        self.begin()
        for sha256, awaited in self._awaited.items():
            self._subscribe(sha256)
            self._send(sha256, list(awaited))

    def message(self, topic: str, payload: bytes) -> bool:
        """Take a message of the broker; False if it is not an answer."""
        sha256 = topic.rpartition("/")[2]
        if topic != topics.piece(self._device, sha256):
            return False
        with contextlib.suppress(WireError):  # too short to bring anything: it is asked for again
            self._deliver(sha256, *parse_answer(payload))
        return True

    def _subscribe(self, sha256: str) -> None:
        self._link.subscribe([topics.piece(self._device, sha256)])

    def _send(self, sha256: str, pieces: list[Piece]) -> None:
        for start in range(0, len(pieces), MAX_PIECES):
            question = Ask(self._device, sha256, tuple(pieces[start : start + MAX_PIECES]), self._session)
            self._link.publish(topics.ask(self._device), codec.encode(question))


class Mqtt:
    """Both transports: the one that answered last, and after a silence the other one, too.

    What was asked for over one transport stays asked for: it may still come, for instance because the host is back.
    """

    exact = False

    def __init__(self, link: Link, device: str, *, asked: bool = False) -> None:
        self.transport = ""
        self._link = link
        self._asked = Asked(link, device)
        self._transports: dict[str, Retained | Asked] = {t.transport: t for t in (Retained(link), self._asked)}
        self._best = Asked.transport if asked else Retained.transport
        self._unanswered: set[tuple[str, Piece]] = set()
        self._repeats = 0

    @property
    def up(self) -> bool:
        """The link is there."""
        return self._link.connected

    def open(self, deliver: Deliver, failed: Failed) -> None:
        """See `BlobSource`."""
        for name, transport in self._transports.items():
            transport.open(partial(self._came, name, deliver), failed)

    def ask(self, ref: BlobRef, pieces: Iterable[Piece]) -> None:
        """Ask over the transport that answered last, or over both."""
        wanted = list(pieces)
        keys = {(ref.sha256, piece) for piece in wanted}
        if keys & self._unanswered:
            self._repeats += 1
            self._asked.begin()
        self._unanswered |= keys
        for name, transport in self._transports.items():
            if name == self._best or self._repeats >= TRY_BOTH_AFTER:
                transport.ask(ref, wanted)

    def cancel(self, ref: BlobRef, pieces: Iterable[Piece]) -> None:
        """See `BlobSource`."""
        cancelled = list(pieces)
        self._unanswered -= {(ref.sha256, piece) for piece in cancelled}
        for transport in self._transports.values():
            transport.cancel(ref, cancelled)

    def damage(self, ref: BlobRef) -> tuple[str, str]:
        """See `BlobSource`; here it may have been damaged on the way."""
        return f"what came of {ref.sha256[:12]} is damaged", "damaged_file"

    def renew(self) -> None:
        """See `BlobSource`."""
        self._link.renew()

    def close(self) -> None:
        """See `BlobSource`."""
        self._unanswered.clear()
        self._repeats = 0
        for transport in self._transports.values():
            transport.close()

    def link_up(self) -> None:
        """The link is back: what is awaited is asked for anew."""
        for transport in self._transports.values():
            transport.link_up()

    def message(self, topic: str, payload: bytes) -> bool:
        """Take a message of the broker; False if it is not a piece of a blob."""
        return any(transport.message(topic, payload) for transport in self._transports.values())

    def _came(self, name: str, deliver: Deliver, sha256: str, piece: Piece, data: bytes) -> None:
        if (sha256, piece) in self._unanswered:
            self._unanswered.discard((sha256, piece))  # it may be damaged: asking for it again is then no silence
            self.transport = self._best = name
            self._repeats = 0
        deliver(sha256, piece, data)
