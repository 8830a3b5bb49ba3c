"""Serves chunks to devices that request them over MQTT, for blobs that the broker does not retain.

A piece is a chunk or the digest list of a blob. A device gets pieces only of what its own deployment in progress needs.
A request that is lost, refused or dropped is repeated by its device, and an answer changes nothing the second time, so
nothing is kept across a restart. Memory is bounded: a few queued pieces a session, some sessions a device, one batch of
bytes in flight. Sessions (`wire.asking`) take turns and have budgets of their own (`budgets`), so whoever asks in a
device's name without being it takes no more than a share.
"""

import logging
import queue
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from skerry_agent.wire import codec, topics
from skerry_agent.wire.asking import MAX_ASK_BYTES, MAX_PIECES, Ask, Piece, answer
from skerry_agent.wire.blobs import BlobRef, digest_list
from skerry_agent.wire.errors import SkerryError, WireError
from skerry_host.plane.broker.link import Incoming, Outgoing
from skerry_host.plane.delivery.budgets import MAX_EXTRA_BYTES, MAX_SENDS, MAX_SESSIONS, Budgets
from skerry_host.plane.delivery.required_blobs import Refs
from skerry_host.release.store import Store

BATCH = 32
"""How many pieces are read and in flight at once, whatever the number of devices."""

MAX_WAITING = 2 * MAX_PIECES
"""Queued pieces of one session; a device requests half as many at a time."""

MAX_DEVICES = 20_000
MAX_LOGGED = 1000
__all__ = ["BATCH", "MAX_EXTRA_BYTES", "MAX_SENDS", "MAX_WAITING", "Answers"]
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _PendingPiece:
    device: str
    session: str
    ref: BlobRef
    piece: Piece


_Wanted = dict[tuple[str, Piece], None]
"""Pieces of blobs, in the order in which they were asked for."""


class Answers:
    """Queues requests in any thread and answers them in the thread of `run`, round robin over the devices.

    `send` publishes a batch and waits until the broker has taken it. `counts` holds, since the start, how many pieces
    were answered, and how many requests or pieces were malformed, not_needed, too_many or unreadable.
    """

    def __init__(
        self,
        store: Store,
        send: Callable[[Sequence[Outgoing]], bool],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.counts: Counter[str] = Counter()
        self.unreadable: queue.SimpleQueue[str] = queue.SimpleQueue()
        """Blobs that the store could not give."""
        self._store, self._send = store, send
        self._required: dict[str, Refs] | None = None
        self._waiting: dict[str, dict[str, _Wanted]] = {}
        self._budgets = Budgets(clock)
        self._noted: set[tuple[str, str]] = set()
        self._changed = threading.Condition()
        self._stopped = False
        self._digests = lru_cache(maxsize=64)(lambda sha256, chunk_bytes: digest_list(store.get(sha256), chunk_bytes))

    def allow(self, required: dict[str, Refs]) -> None:
        """From now on devices get pieces of these blobs. Requests wait for the first call."""
        with self._changed:
            self._required = required
            self._budgets.keep(required)
            self._changed.notify()

    def take(self, message: Incoming) -> None:
        """Queue a device's request. Quick: nothing is read here."""
        try:
            ask = _parse(message)
        except WireError as error:
            self._refuse("malformed", message.topic, str(error))
            return
        with self._changed:
            refused = self._queue(ask)
            self._changed.notify()
        if refused:
            self._refuse(refused, ask.device, f"blob {ask.sha256[:12]}")

    def run(self) -> None:
        """Answer until `stop`."""
        while batch := self._next():
            messages = [message for pending in batch if (message := self._message(pending))]
            if messages and self._send(messages):
                self.counts["answered"] += len(messages)

    def stop(self) -> None:
        """Make `run` return; devices repeat their requests when the plane is back."""
        with self._changed:
            self._stopped = True
            self._changed.notify()

    def _queue(self, ask: Ask) -> str:
        """Why the request is refused; empty when it is not."""
        if self._required is not None and ask.sha256 not in self._required.get(ask.device, ()):
            return "not_needed"
        if ask.device not in self._waiting and len(self._waiting) >= MAX_DEVICES:
            return "too_many"
        sessions = self._waiting.setdefault(ask.device, {})
        if ask.session not in sessions and len(sessions) >= MAX_SESSIONS:
            return "too_many"
        mine = sessions.setdefault(ask.session, {})
        mine.update(dict.fromkeys((ask.sha256, piece) for piece in ask.pieces))
        over = len(mine) - MAX_WAITING
        for key in list(mine)[: max(0, over)]:  # the oldest, which the device has given up on
            del mine[key]
        return "too_many" if over > 0 else ""

    def _next(self) -> list[_PendingPiece]:
        """The next pieces to send, one of each device in turn; empty after `stop`."""
        batch: list[_PendingPiece] = []
        with self._changed:
            while not batch and not self._stopped:
                self._changed.wait_for(lambda: self._stopped or (self._waiting and self._required is not None))
                while self._waiting and len(batch) < BATCH and not self._stopped:
                    batch += self._of_the_next_device()
        return batch

    def _of_the_next_device(self) -> list[_PendingPiece]:
        device = next(iter(self._waiting))
        sessions = self._waiting.pop(device)
        session = next(iter(sessions))
        mine = sessions.pop(session)
        sha256, piece = next(iter(mine))
        del mine[sha256, piece]
        if mine:
            sessions[session] = mine  # behind all others, and so is the device
        if sessions:
            self._waiting[device] = sessions
        ref = self._required.get(device, {}).get(sha256) if self._required is not None else None
        return [_PendingPiece(device, session, ref, piece)] if ref else []  # it may have ended meanwhile

    def _message(self, pending: _PendingPiece) -> Outgoing | None:
        device, ref, piece = pending.device, pending.ref, pending.piece
        if piece is not None and piece >= ref.chunks:
            self._refuse("malformed", device, f"{ref.sha256[:12]} has no chunk {piece}")
            return None
        with self._changed:
            allowed = self._budgets.allows(device, pending.session, ref)
        if not allowed:
            self._refuse("too_many", device, f"{ref.sha256[:12]} was sent {MAX_SENDS} times")
            return None
        try:
            data = self._read(ref, piece)
        except (SkerryError, OSError) as error:
            self._refuse("unreadable", device, str(error))
            self.unreadable.put(ref.sha256)
            return None
        with self._changed:
            self._budgets.spend(device, pending.session, ref, len(data))
        return Outgoing(topics.piece(device, ref.sha256), answer(piece, data), retain=False)

    def _read(self, ref: BlobRef, piece: Piece) -> bytes:
        """Unchecked, as over HTTP: the device checks the digest."""
        if piece is None:
            return self._digests(ref.sha256, ref.chunk_bytes)
        with self._store.path(ref.sha256).open("rb") as file:
            file.seek(piece * ref.chunk_bytes)
            return file.read(ref.chunk_size(piece))

    def _refuse(self, reason: str, who: str, what: str) -> None:
        """Count it; logged once for each device and reason, so that no device can fill the log."""
        with self._changed:
            self.counts[reason] += 1
        if (who, reason) not in self._noted and len(self._noted) < MAX_LOGGED:
            self._noted.add((who, reason))
            log.warning("a chunk request is refused (%s): %s: %s", reason, who, what)


def _parse(message: Incoming) -> Ask:
    if len(message.payload) > MAX_ASK_BYTES:
        raise WireError("ask", [f"{len(message.payload)} B are over the limit of {MAX_ASK_BYTES} B"])
    ask = codec.decode(message.payload, Ask)
    if topics.device_of(message.topic) != ask.device:
        raise WireError("ask", [f"device: is {ask.device!r} on {message.topic}"])
    return ask
