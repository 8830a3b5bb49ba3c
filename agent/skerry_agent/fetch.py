"""Fetching blobs over the broker: a window of exact topics slides over the chunks that a device still lacks.

Every chunk is checked before it is written; a wrong or duplicate one is dropped. Nothing here waits: it reacts to
messages and to the link coming back. Deadlines are the caller's.
"""

from collections.abc import Callable

from skerry_agent.blobs import BlobStore, Part
from skerry_agent.disk import DiskError
from skerry_agent.ports import Link
from skerry_agent.wire import topics
from skerry_agent.wire.blobs import BlobRef, parse_digests, sole_digest
from skerry_agent.wire.errors import WireError

WINDOW = 8


class Fetcher:
    """Fetches some blobs one after the other. Exactly one of `on_done` and `on_failed` is called, once."""

    def __init__(
        self,
        link: Link,
        store: BlobStore,
        refs: list[BlobRef],
        on_done: Callable[[], None],
        on_failed: Callable[[str, str], None],
    ) -> None:
        self._link, self._store = link, store
        self._queue = [ref for ref in refs if not store.has(ref)]
        self._on_done, self._on_failed = on_done, on_failed
        self._part: Part | None = None
        self._window: dict[str, int | None] = {}
        self._wrong = 0
        self.expected = sum(ref.size for ref in refs)
        self.received = 0

    def start(self) -> None:
        """Begin with the first blob that is not there."""
        self._guard(self._next)

    def resume(self) -> None:
        """The link is back: subscribe again to what is awaited."""
        self._link.subscribe(list(self._window))

    def stop(self) -> None:
        """Give up; what was written stays for the next attempt."""
        self._link.unsubscribe(list(self._window))
        self._window = {}
        if self._part is not None:
            self._part.close()
            self._part = None

    def message(self, topic: str, payload: bytes) -> bool:
        """Take a message; False if it is none of ours."""
        if topic not in self._window:
            return False
        if payload:
            self._guard(lambda: self._take(topic, payload))
        return True

    def _guard(self, work: Callable[[], None]) -> None:
        """Turn what the disk says into the one failure that the caller hears."""
        try:
            work()
        except DiskError as error:
            self._fail(error.code, str(error))
        except OSError as error:
            self._fail("disk", error.strerror or str(error))

    def _fail(self, reason: str, detail: str) -> None:
        self.stop()
        self._on_failed(reason, detail)

    def _next(self) -> None:
        if not self._queue:
            self._on_done()
            return
        ref = self._queue[0]
        if ref.chunks == 1:
            self._open(sole_digest(ref))
            return
        kept = self._store.digests(ref.sha256)
        if kept is not None:
            self._open(parse_digests(ref, kept))
        else:
            self._await({topics.digests(ref.sha256): None})

    def _await(self, wanted: dict[str, int | None]) -> None:
        self._window |= wanted
        self._link.subscribe(list(wanted))

    def _open(self, digests: tuple[bytes, ...]) -> None:
        ref = self._queue[0]
        self._part = self._store.open_part(ref, digests)
        self.received += ref.size - sum(ref.chunk_size(i) for i in self._part.missing)
        if self._part.missing:
            self._await({topics.chunk(ref.sha256, i): i for i in self._part.missing[:WINDOW]})
        else:
            self._finish()

    def _take(self, topic: str, payload: bytes) -> None:
        index = self._window[topic]
        if index is None:
            self._take_digests(topic, payload)
        elif self._part is not None and self._part.fits(index, payload):
            self._take_chunk(topic, index, payload)
        else:
            self._wrong += 1

    def _take_digests(self, topic: str, payload: bytes) -> None:
        ref = self._queue[0]
        try:
            digests = parse_digests(ref, payload)
        except WireError:
            self._wrong += 1
            return
        self._store.keep_digests(ref.sha256, payload)
        self._forget(topic)
        self._open(digests)

    def _take_chunk(self, topic: str, index: int, payload: bytes) -> None:
        assert self._part is not None
        self._part.write(index, payload)
        self.received += len(payload)
        self._forget(topic)
        following = [i for i in self._part.missing if topics.chunk(self._part.ref.sha256, i) not in self._window]
        if following:
            self._await({topics.chunk(self._part.ref.sha256, following[0]): following[0]})
        elif not self._part.missing:
            self._finish()

    def _forget(self, topic: str) -> None:
        del self._window[topic]
        self._link.unsubscribe([topic])

    def _finish(self) -> None:
        assert self._part is not None
        ref = self._queue.pop(0)
        self._part.finish(self._store.path(ref.sha256))
        self._part = None
        self._next()
