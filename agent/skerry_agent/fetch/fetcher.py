"""Downloads blobs piece by piece: a window slides over the chunks that are still missing, from any source.

Every chunk is checked before it is written; a damaged or duplicate one is dropped, but counted. A piece that does not
arrive is requested again, with exponential backoff; where one source fails, the next one is used. Ends in exactly one
call of `done` or `failed`. Knows no deadline and does not interpret failures: the caller does.
"""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from random import uniform

from msgspec import Struct

from skerry_agent import log
from skerry_agent.fetch.sources import BlobSource
from skerry_agent.ports.interfaces import Clock, Timer
from skerry_agent.state.blobs import BlobStore, Part
from skerry_agent.state.disk import DiskError, os_error_text
from skerry_agent.wire.asking import Piece
from skerry_agent.wire.blobs import BlobRef, parse_digests, sole_digest
from skerry_agent.wire.errors import WireError

WINDOW = 8
FIRST_WINDOW = 2
MAX_WINDOW_S = 4.0
"""A window that takes longer than this to fill is too large: answers would queue behind it."""

RETRY_AFTER_S = 5.0
MAX_RETRY_AFTER_S = 60.0
REPEATS_UNTIL_RENEWAL = 3
MAX_DAMAGED = 20
"""Damaged pieces in a row after which a fetch fails: the retained message itself is damaged, not the transfer."""

OVERRUN_FACTOR, OVERRUN_BYTES = 3, 1024 * 1024
"""How much may be received beyond the expected bytes: this factor, and this many bytes."""

TRANSFER_OVERRUN = "too_much_in_vain"
"""The reason of a fetch that received far more than it asked for; on the wire it keeps its first spelling."""


class Limits(Struct, frozen=True):
    """When to give up: bytes that may still be received, and seconds of silence while the source is up.

    `retry_after_s` is how long a piece may take on a quick link before it is asked for again.
    """

    bytes_left: int | None = None
    silence_s: float | None = None
    retry_after_s: float = RETRY_AFTER_S


class Fetcher:
    """Fetches some blobs one after the other, from the first of some sources that is of use."""

    def __init__(
        self,
        clock: Clock,
        store: BlobStore,
        refs: Sequence[BlobRef],
        limits: Limits,
        done: Callable[[], None],
        failed: Callable[[str, str], None],
    ) -> None:
        self._clock, self._store, self._limits = clock, store, limits
        self._queue = [ref for ref in refs if not store.has(ref)]
        self._done, self._failed = done, failed
        self._sources: deque[BlobSource] = deque()
        self._part: Part | None = None
        self._window: dict[Piece, float] = {}
        self._width = FIRST_WINDOW
        self._timer: Timer | None = None
        self._running = False
        self._heard_at = clock.monotonic()
        self._slowest_s = 0.0
        self._repeats = 0
        self._silent_s = 0.0
        self._damaged = 0
        self.expected = sum(ref.size for ref in refs)
        self.received = sum(ref.size for ref in refs if ref not in self._queue)
        self.transferred = 0
        """Every byte received, also damaged and repeated ones."""
        self.transports: dict[str, None] = {}
        """The transports that have brought pieces, in the order of their first use."""

    # -- life ----------------------------------------------------------------------------------------------------------

    def start(self, sources: Sequence[BlobSource]) -> None:
        """Begin with the first blob that is not there. The sources are closed when the fetch is over."""
        self._sources = deque(sources)
        self._running = True
        for source in sources:
            source.open(self._delivered, partial(self._source_failed, source))
        self._guard(self._next)
        if self._running:
            self._watch()

    def resume(self) -> None:
        """The link is back and everything was asked for anew: silence counts from now."""
        self._ask_at_once(self._window)

    def stop(self) -> None:
        """Give up; what was written stays for the next attempt."""
        self._running = False
        self._window.clear()
        while self._sources:
            self._sources.popleft().close()
        if self._timer is not None:
            self._timer.cancel()
        if self._part is not None:
            self._part.close()
            self._part = None

    def _guard(self, work: Callable[[], None]) -> None:
        """Turn an error of the disk into the one call of `failed`."""
        if not self._running:
            return
        try:
            work()
        except DiskError as error:
            self._fail(error.code, str(error))
        except OSError as error:
            self._fail("disk", os_error_text(error))

    def _fail(self, reason: str, detail: str) -> None:
        self.stop()
        self._failed(reason, detail)

    # -- one blob after the other --------------------------------------------------------------------------------------

    def _next(self) -> None:
        if not self._queue:
            self.stop()
            self._done()
            return
        ref = self._queue[0]
        kept = self._store.digests(ref)
        if ref.chunks == 1:
            self._open(sole_digest(ref))
        elif kept is not None:
            self._open(kept)
        else:
            self._await([None])

    def _open(self, digests: tuple[bytes, ...]) -> None:
        ref = self._queue[0]
        self._part = self._store.open_part(ref, digests)
        self.received += ref.size - sum(ref.chunk_size(i) for i in self._part.missing)
        if self._part.missing:
            self._fill()
        else:
            self._finish()

    def _finish(self) -> None:
        assert self._part is not None
        ref = self._queue.pop(0)
        self._part.finish(self._store.path(ref.sha256))
        self._part = None
        self._next()

    def _fill(self) -> None:
        """Ask for as much as the window has room for."""
        assert self._part is not None
        room = self._width - len(self._window)
        following = [i for i in self._part.missing[: self._width + len(self._window)] if i not in self._window]
        if room > 0 and following:
            self._await(following[:room])

    def _await(self, pieces: Sequence[Piece]) -> None:
        self._ask_at_once(pieces)
        self._sources[0].ask(self._queue[0], pieces)

    def _ask_at_once(self, pieces: Iterable[Piece]) -> None:
        self._window.update(dict.fromkeys(list(pieces), self._clock.monotonic()))

    # -- what comes ----------------------------------------------------------------------------------------------------

    def _delivered(self, sha256: str, piece: Piece, data: bytes) -> None:
        if self._running and sha256 == self._queue[0].sha256:
            self._guard(lambda: self._take(piece, data))

    def _take(self, piece: Piece, data: bytes) -> None:
        self.transferred += len(data)
        limit = self._limits.bytes_left
        if limit is not None and self.transferred > limit:
            self._fail("over_byte_budget", f"{self.transferred} B were received, only {limit} B were left")
        elif self.transferred > (1 + OVERRUN_FACTOR) * self.expected + OVERRUN_BYTES:
            self._fail(TRANSFER_OVERRUN, f"{self.transferred} B were received, {self.expected} B were expected")
        elif piece in self._window:
            self._take_wanted(piece, data)

    def _take_wanted(self, piece: Piece, data: bytes) -> None:
        if piece is None:
            self._take_digests(data)
        elif self._part is not None and self._part.fits(piece, data):
            self._take_chunk(piece, data)
        else:
            self._take_damaged(piece)

    def _take_damaged(self, piece: Piece) -> None:
        """It is asked for again at once, unless its source can only say the same again."""
        self._damaged += 1
        if self._sources[0].exact:
            self._source_failed(self._sources[0], *self._sources[0].damage(self._queue[0]))
        elif self._damaged > MAX_DAMAGED:
            name = self._queue[0].sha256[:12]
            self._fail(TRANSFER_OVERRUN, f"{self._damaged} damaged pieces of {name} in a row")
        else:
            self._await([piece])

    def _take_digests(self, data: bytes) -> None:
        ref = self._queue[0]
        try:
            digests = parse_digests(ref, data)
        except WireError:
            self._take_damaged(None)
            return
        self._heard(None)
        self._store.keep_digests(ref.sha256, data)
        self._open(digests)

    def _take_chunk(self, piece: int, data: bytes) -> None:
        assert self._part is not None
        self._part.write(piece, data)
        self.received += len(data)
        self._heard(piece)
        if self._part.missing:
            self._fill()
        else:
            self._finish()

    def _heard(self, piece: Piece) -> None:
        """A piece is done with: the source answers, and how quickly says how wide the window may be."""
        asked_at = self._window.pop(piece)
        self.transports[self._sources[0].transport] = None
        self._sources[0].cancel(self._queue[0], [piece])
        now = self._clock.monotonic()
        gap_s = now - max(self._heard_at, asked_at)
        self._heard_at = now
        self._silent_s, self._damaged = 0.0, 0
        if self._repeats:
            self._repeats = 0
            self._watch()
        self._slowest_s = max(gap_s, 0.8 * self._slowest_s)
        if self._slowest_s * self._width > MAX_WINDOW_S:
            self._width = max(1, self._width - 1)
        elif self._width < WINDOW:
            self._width += 1

    # -- what does not come --------------------------------------------------------------------------------------------

    def _retry_after_s(self) -> float:
        """How long silence is normal here: longer on a slow link, and longer after each time of asking again."""
        usual = max(self._limits.retry_after_s, 3 * self._slowest_s * self._width)
        return float(min(MAX_RETRY_AFTER_S, usual * 2**self._repeats))

    def _watch(self) -> None:
        """Look again after a while that is normal now; what was thought normal before does not count any more."""
        if self._timer is not None:
            self._timer.cancel()
        wait_s = self._retry_after_s() * uniform(0.5, 1.0)  # noqa: S311 - spreads a fleet that was cut off together
        self._timer = self._clock.after(wait_s, lambda: self._guard(lambda: self._look(wait_s)))

    def _look(self, waited_s: float) -> None:
        """Ask again for what is overdue."""
        now = self._clock.monotonic()
        if self._sources[0].up and now - self._heard_at >= waited_s:
            self._silent_s += waited_s
        if self._limits.silence_s is not None and self._silent_s >= self._limits.silence_s:
            self._fail("stalled", f"{self._queue[0].sha256[:12]} did not arrive within {self._silent_s:.0f} s")
            return
        overdue = [piece for piece, asked_at in self._window.items() if now - asked_at >= waited_s]
        if self._sources[0].up and overdue:
            self._repeats += 1
            self._await(overdue)
            if self._repeats % REPEATS_UNTIL_RENEWAL == 0:
                self._sources[0].renew()
        self._watch()

    def _source_failed(self, source: BlobSource, why: str, reason: str = "unreachable") -> None:
        """Go on with the next source, if there is one."""
        if not self._running:
            return
        if len(self._sources) == 1:
            self._fail(reason, why)
            return
        log.warning("a source of blobs failed, the next one is used", transport=source.transport, detail=why)
        source.close()
        was_first = source is self._sources[0]
        self._sources.remove(source)
        if was_first and self._window:
            self._await(list(self._window))
