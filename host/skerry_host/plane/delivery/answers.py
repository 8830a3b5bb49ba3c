"""Answers devices that ask for pieces of blobs, where the broker does not retain them. Decides who may have what.

A device gets pieces of what its own deployment under way needs, and of nothing else. Asking is cheap to refuse and
answers are idempotent: a question that was lost, refused or dropped here is asked again by its device, so nothing is
kept across a restart. Memory is bounded: a few names of pieces a device, and one batch of bytes on its way at a time.
"""

import logging
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from skerry_agent.wire import codec, topics
from skerry_agent.wire.asking import MAX_ASK_BYTES, MAX_PIECES, Ask, Piece, answer
from skerry_agent.wire.blobs import BlobRef, digest_list
from skerry_agent.wire.errors import SkerryError, WireError
from skerry_host.plane.broker.link import Incoming, Outgoing
from skerry_host.plane.delivery.needs import Refs
from skerry_host.release.store import Store

BATCH = 32
"""So many pieces are read and on their way at once, whatever the number of devices that ask."""

MOST_WAITING = 2 * MAX_PIECES
"""Of one device; it awaits half as many."""

MOST_DEVICES = 20_000
MOST_TIMES, MOST_MORE_BYTES = 4, 1024 * 1024
"""A device gets a blob so many times and so many bytes more; a good one gives up before."""

MOST_NOTED = 1000
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Wish:
    device: str
    ref: BlobRef
    piece: Piece


class Answers:
    """Takes questions in any thread and answers them in `run`'s, the devices by turns.

    `send` publishes a batch and waits until the broker has taken it. `counts` holds, since the start, how many pieces
    were answered, and how many questions or pieces were malformed, not_needed, too_many or unreadable.
    """

    def __init__(self, store: Store, send: Callable[[Sequence[Outgoing]], bool]) -> None:
        self.counts: Counter[str] = Counter()
        self._store, self._send = store, send
        self._needs: dict[str, Refs] | None = None
        self._waiting: dict[str, dict[tuple[str, Piece], None]] = {}
        self._sent: Counter[tuple[str, str]] = Counter()
        self._noted: set[tuple[str, str]] = set()
        self._changed = threading.Condition()
        self._stopped = False
        self._digests = lru_cache(maxsize=64)(lambda sha256, chunk_bytes: digest_list(store.get(sha256), chunk_bytes))

    def allow(self, needs: dict[str, Refs]) -> None:
        """From now on devices get pieces of these blobs. Before the first call questions wait."""
        with self._changed:
            self._needs = needs
            self._sent = Counter({key: n for key, n in self._sent.items() if key[1] in needs.get(key[0], ())})
            self._changed.notify()

    def take(self, message: Incoming) -> None:
        """A device asks. Quick: nothing is read here."""
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
            messages = [message for wish in batch if (message := self._message(wish))]
            if messages and self._send(messages):
                self.counts["answered"] += len(messages)

    def stop(self) -> None:
        """Make `run` return; what was asked is asked again when there is a plane again."""
        with self._changed:
            self._stopped = True
            self._changed.notify()

    def _queue(self, ask: Ask) -> str:
        """Why not, or nothing."""
        if self._needs is not None and ask.sha256 not in self._needs.get(ask.device, ()):
            return "not_needed"
        if ask.device not in self._waiting and len(self._waiting) >= MOST_DEVICES:
            return "too_many"
        mine = self._waiting.setdefault(ask.device, {})
        mine.update(dict.fromkeys((ask.sha256, piece) for piece in ask.pieces))
        over = len(mine) - MOST_WAITING
        for key in list(mine)[: max(0, over)]:  # the oldest, of which it knows nothing any more
            del mine[key]
        return "too_many" if over > 0 else ""

    def _next(self) -> list[_Wish]:
        """The next pieces that may be sent, one of each device in turn; empty when there will be none."""
        batch: list[_Wish] = []
        with self._changed:
            while not batch and not self._stopped:
                self._changed.wait_for(lambda: self._stopped or (self._waiting and self._needs is not None))
                while self._waiting and len(batch) < BATCH and not self._stopped:
                    batch += self._of_the_next_device()
        return batch

    def _of_the_next_device(self) -> list[_Wish]:
        device = next(iter(self._waiting))
        mine = self._waiting.pop(device)
        sha256, piece = next(iter(mine))
        del mine[sha256, piece]
        if mine:
            self._waiting[device] = mine  # behind all others
        ref = self._needs.get(device, {}).get(sha256) if self._needs is not None else None
        return [_Wish(device, ref, piece)] if ref else []  # it may have ended meanwhile

    def _message(self, wish: _Wish) -> Outgoing | None:
        device, ref, piece = wish.device, wish.ref, wish.piece
        if piece is not None and piece >= ref.chunks:
            self._refuse("malformed", device, f"{ref.sha256[:12]} has no chunk {piece}")
            return None
        if self._sent[device, ref.sha256] > MOST_TIMES * ref.size + MOST_MORE_BYTES:
            self._refuse("too_many", device, f"{ref.sha256[:12]} was sent {MOST_TIMES} times")
            return None
        try:
            data = self._read(ref, piece)
        except (SkerryError, OSError) as error:
            self._refuse("unreadable", device, str(error))
            return None
        self._sent[device, ref.sha256] += len(data)
        return Outgoing(topics.piece(device, ref.sha256), answer(piece, data), retain=False)

    def _read(self, ref: BlobRef, piece: Piece) -> bytes:
        """Unchecked, as over HTTP: the device knows the digest."""
        if piece is None:
            return self._digests(ref.sha256, ref.chunk_bytes)
        with self._store.path(ref.sha256).open("rb") as file:
            file.seek(piece * ref.chunk_bytes)
            return file.read(ref.chunk_size(piece))

    def _refuse(self, reason: str, who: str, what: str) -> None:
        """Counted; said once of each device and reason, so that none can fill the log."""
        with self._changed:
            self.counts[reason] += 1
        if (who, reason) not in self._noted and len(self._noted) < MOST_NOTED:
            self._noted.add((who, reason))
            log.warning("a question is not answered (%s): %s: %s", reason, who, what)


def _parse(message: Incoming) -> Ask:
    if len(message.payload) > MAX_ASK_BYTES:
        raise WireError("ask", [f"{len(message.payload)} B are over the limit of {MAX_ASK_BYTES} B"])
    ask = codec.decode(message.payload, Ask)
    if topics.device_of(message.topic) != ask.device:
        raise WireError("ask", [f"device: is {ask.device!r} on {message.topic}"])
    return ask
