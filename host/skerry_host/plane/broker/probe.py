"""Finds out how large a message the broker passes on: some drop larger ones without a word, some end the connection.

A message of each size goes to a topic of the plane's own, which is subscribed to, and a small one after it: a broker
delivers them in order, so where the small one comes alone, the large one was dropped, however slow the link is. One
with which the connection is lost is tried again, for that may have had another reason. Nothing is retained. Where the
small one does not come back, for instance because the broker's rules do not let it, nothing is known, and nothing is
assumed: a limit that is not there would end rollouts.
"""

import threading
import time
from collections.abc import Callable
from itertools import count

from skerry_agent.wire.blobs import CHUNK_BYTES

EXTRA_BYTES = 128
"""What a message has beside a chunk: the index in an answer, and a longer topic, which some brokers count."""

SIZES = tuple(bytes_ + EXTRA_BYTES for bytes_ in (2 * CHUNK_BYTES, *(2**power for power in range(16, 9, -1))))
"""From the longest digest list down to the smallest chunk that the wire allows (1 kB)."""

NUMBER_BYTES = 8
SMALL_BYTES = 16
PATIENCE_S = 5.0
TRIES = 2


class Probe:
    """Sends messages to itself. `send` publishes one, and says whether the broker took it."""

    def __init__(self, topic: str, send: Callable[[str, bytes], bool], patience_s: float = PATIENCE_S) -> None:
        self.topic = topic
        self._send, self._patience_s = send, patience_s
        self._numbers = count(time.time_ns())  # what was sent before a restart may come back now
        self._awaited = b""
        self._sizes: set[int] = set()
        self._came = threading.Event()

    def heard(self, payload: bytes) -> None:
        """A message on the probe's topic; in any thread."""
        if payload[:NUMBER_BYTES] == self._awaited:
            self._sizes.add(len(payload))
            if len(payload) == SMALL_BYTES:
                self._came.set()

    def measure(self) -> int | None:
        """The largest chunk or digest list that passes, in bytes; None where nothing is in the way, or is known.

        Waits: a moment, where the broker passes on what it takes.
        """
        for size in SIZES:
            passes = self._passes(size)
            if passes or passes is None:
                return size - EXTRA_BYTES if passes and size != SIZES[0] else None
        return 0

    def _passes(self, size: int) -> bool | None:
        """None where that cannot be known."""
        for _ in range(TRIES):
            self._awaited = next(self._numbers).to_bytes(NUMBER_BYTES, "big")
            self._sizes.clear()
            self._came.clear()
            began = time.monotonic()
            taken = self._send(self.topic, self._awaited.ljust(size, b"\0"))
            took_s = time.monotonic() - began
            self._send(self.topic, self._awaited.ljust(SMALL_BYTES, b"\0"))
            if not self._came.wait(self._patience_s + 3 * took_s):
                return None
            if size in self._sizes:
                return True
            if taken:
                return False
        return False
