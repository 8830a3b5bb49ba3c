"""Sources of blobs: the protocol that all of them follow, and a folder. The others are `over_mqtt` and `over_http`.

A source carries bytes and checks nothing: the fetcher compares every piece with its digest. A source may deliver a
piece twice, damaged or not at all; it calls `failed` only when it cannot deliver anything more.
"""

import queue
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Protocol

from skerry_agent.ports.interfaces import Post
from skerry_agent.state.disk import open_regular, os_error_text
from skerry_agent.wire.asking import Piece
from skerry_agent.wire.blobs import BlobRef, digest_list
from skerry_agent.wire.plain_text import cleaned

Deliver = Callable[[str, Piece, bytes], None]
Failed = Callable[..., None]
"""Called with a detail, and with a reason where that is not that nothing can be reached."""


class BlobSource(Protocol):
    """Something that can be asked for pieces of blobs; `open` it once, then ask."""

    exact: bool
    """Whether a damaged piece means that the source itself is damaged, so that there is no point in asking again."""

    @property
    def transport(self) -> str:
        """The transport of the latest piece: retained, asked, http or folder."""

    @property
    def up(self) -> bool:
        """Whether an answer may be expected now: silence counts only then."""

    def open(self, deliver: Deliver, failed: Failed) -> None:
        """Set the callbacks: `deliver(sha256, piece, bytes)` and `failed(reason)`, in the supervisor's thread."""

    def ask(self, ref: BlobRef, pieces: Iterable[Piece]) -> None:
        """Ask for pieces, again if they were asked for."""

    def cancel(self, ref: BlobRef, pieces: Iterable[Piece]) -> None:
        """They are not wanted any more."""

    def damage(self, ref: BlobRef) -> tuple[str, str]:
        """(detail, reason) where what an exact source holds of a blob is damaged."""

    def renew(self) -> None:
        """Asking again has not helped: reconnect, where the source can."""

    def close(self) -> None:
        """Nothing is wanted any more; nothing is delivered after this."""


class ThreadedSource:
    """A source that a thread of its own reads piece by piece; subclasses implement `read`."""

    exact = True
    up = True
    transport = "folder"

    def __init__(self, post: Post) -> None:
        self._post = post
        self._wanted: queue.SimpleQueue[tuple[BlobRef, Piece] | None] = queue.SimpleQueue()
        self._closed = threading.Event()
        self._cancelled: set[tuple[str, Piece]] = set()

    def read(self, ref: BlobRef, piece: Piece) -> bytes:
        """The piece; raises `OSError` when it cannot be had."""
        raise NotImplementedError

    def end(self) -> None:
        """Give back what `read` has opened. Called once, in the thread that read."""

    def open(self, deliver: Deliver, failed: Failed) -> None:
        """See `BlobSource`."""
        self._deliver, self._failed = deliver, failed
        threading.Thread(target=self._work, name="source", daemon=True).start()

    def ask(self, ref: BlobRef, pieces: Iterable[Piece]) -> None:
        """See `BlobSource`."""
        for piece in pieces:
            self._cancelled.discard((ref.sha256, piece))
            self._wanted.put((ref, piece))

    def cancel(self, ref: BlobRef, pieces: Iterable[Piece]) -> None:
        """See `BlobSource`."""
        self._cancelled.update((ref.sha256, piece) for piece in pieces)

    def damage(self, ref: BlobRef) -> tuple[str, str]:
        """See `BlobSource`."""
        return f"what it holds of {ref.sha256[:12]} is damaged", "damaged_file"

    def failure(self, error: OSError) -> tuple[str, str]:
        """(detail, reason) of an error that `read` has raised."""
        return error.strerror or str(error), "unreachable"

    def renew(self) -> None:
        """Nothing: there is no connection that outlives a read."""

    def close(self) -> None:
        """See `BlobSource`."""
        self._closed.set()
        self._wanted.put(None)

    def _work(self) -> None:
        try:
            while (wanted := self._wanted.get()) is not None and not self._closed.is_set():
                ref, piece = wanted
                if (ref.sha256, piece) not in self._cancelled:
                    self._hand(ref.sha256, piece, self.read(ref, piece))
        except OSError as error:
            self._say(*self.failure(error))
        finally:
            self.end()

    def _hand(self, sha256: str, piece: Piece, data: bytes) -> None:
        self._post(lambda: None if self._closed.is_set() else self._deliver(sha256, piece, data))

    def _say(self, why: str, reason: str) -> None:
        why = cleaned(why)
        self._post(lambda: None if self._closed.is_set() else self._failed(why, reason))


class Folder(ThreadedSource):
    """Files named by their sha256, as `skerry release export` writes them."""

    def __init__(self, post: Post, folder: Path) -> None:
        super().__init__(post)
        self._folder = folder

    def damage(self, ref: BlobRef) -> tuple[str, str]:
        """See `BlobSource`; somebody has to know which file to copy again."""
        return cleaned(f"{self._folder / ref.sha256} is damaged: export the release again"), "damaged_file"

    def failure(self, error: OSError) -> tuple[str, str]:
        """See `ThreadedSource`."""
        detail = os_error_text(error)
        if isinstance(error, FileNotFoundError):
            return f"{detail}: export the release again, in full", "missing_file"
        return detail, "unreadable_file"

    def read(self, ref: BlobRef, piece: Piece) -> bytes:
        """See `ThreadedSource`; the digest list is made from the file, and is wrong when the file is."""
        with open_regular(self._folder / ref.sha256) as file:
            if piece is None:
                return digest_list(file.read(ref.size + 1), ref.chunk_bytes)
            file.seek(piece * ref.chunk_bytes)
            return file.read(ref.chunk_size(piece))
