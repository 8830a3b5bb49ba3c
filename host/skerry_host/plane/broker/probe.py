"""Finds out how large a message the broker passes on: some drop larger ones without a word, some end the connection.

A message of each size goes to a topic of the plane's own, which is subscribed to, until one comes back. Nothing is
retained. Where not even a small one comes back, for instance because the broker's rules know no such topic, nothing is
known, and nothing is assumed.
"""

import threading
from collections.abc import Callable

from skerry_agent.wire.blobs import CHUNK_BYTES

EXTRA_BYTES = 128
"""What a message has beside a chunk: the index in an answer, and a longer topic, which some brokers count."""

SIZES = tuple(bytes_ + EXTRA_BYTES for bytes_ in (2 * CHUNK_BYTES, *(2**power for power in range(16, 9, -1))))
"""From the longest digest list down to the smallest chunk that the wire allows (1 kB)."""

SMALL_BYTES = 16
PATIENCE_S = 2.0


class Probe:
    """Sends messages to itself. `send` publishes one, and says whether the broker took it."""

    def __init__(self, topic: str, send: Callable[[str, bytes], bool], patience_s: float = PATIENCE_S) -> None:
        self.topic = topic
        self._send, self._patience_s = send, patience_s
        self._awaited, self._came = 0, threading.Event()

    def heard(self, payload: bytes) -> None:
        """A message on the probe's topic; in any thread."""
        if len(payload) == self._awaited:
            self._came.set()

    def measure(self) -> int | None:
        """The largest chunk or digest list that passes, in bytes; None where nothing is in the way, or is known.

        Waits, where one does not come back.
        """
        if self._passes(SIZES[0]) or not self._passes(SMALL_BYTES):
            return None
        return next((size - EXTRA_BYTES for size in SIZES[1:] if self._passes(size)), 0)

    def _passes(self, size: int) -> bool:
        self._came.clear()
        self._awaited = size
        self._send(self.topic, bytes(size))  # refused or not: what counts is whether it comes back
        return self._came.wait(self._patience_s)
