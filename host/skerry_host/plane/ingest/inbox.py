"""Messages that wait to be written to the registry: bounded, so that no flood fills the memory.

When it is full, the link stops reading: what has QoS 1 is then not acknowledged and waits at the broker. What has QoS 0
is dropped and counted before that, since nobody was promised it. Looks into no message.
"""

import logging
import threading
import time
from collections import deque

from skerry_host.plane.broker.link import Incoming
from skerry_host.plane.every import Every

MAX_MESSAGES = 10_000
MAX_BYTES = 32 * 1024 * 1024
NEARLY_FULL = 0.75
"""From here on what has QoS 0 is dropped."""

LOG_EVERY_S = 60.0
log = logging.getLogger(__name__)


class Inbox:
    """Filled by the link's thread, emptied by the one that writes. `dropped` counts messages with QoS 0."""

    def __init__(self, max_messages: int = MAX_MESSAGES, max_bytes: int = MAX_BYTES) -> None:
        self._max_messages, self._max_bytes = max_messages, max_bytes
        self._changed = threading.Condition()
        self._messages: deque[Incoming] = deque()
        self._bytes = 0
        self._closed = False
        self._saying = Every(LOG_EVERY_S)
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._messages)

    def put(self, message: Incoming) -> None:
        """Never waits, and takes whatever has QoS 1: whoever reads asks `has_room` first."""
        with self._changed:
            if message.qos == 0 and self._filled() >= NEARLY_FULL:
                self.dropped += 1
                return
            self._messages.append(message)
            self._bytes += len(message.payload)
            self._changed.notify_all()

    def has_room(self, timeout_s: float = 0.0) -> bool:
        """Whether more should be read; waits so long until there is room."""
        with self._changed:
            if self._filled() >= 1.0:
                self._say()
                self._changed.wait_for(lambda: self._closed or self._filled() < 1.0, timeout_s)
            return self._filled() < 1.0

    def take(self, most: int, most_bytes: int = MAX_BYTES) -> list[Incoming]:
        """The oldest messages, as soon as there are any; none once it is closed, though some may still wait.

        The one that brings them above `most_bytes` is the last.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._messages)
            if self._closed:
                return []
            taken: list[Incoming] = []
            size = 0
            while self._messages and len(taken) < most and size < most_bytes:
                taken.append(self._messages.popleft())
                size += len(taken[-1].payload)
            self._bytes -= size
            self._changed.notify_all()
            return taken

    def close(self) -> None:
        """Wake whoever waits; what was not taken is not acknowledged, so the broker delivers it again."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _filled(self) -> float:
        return max(len(self._messages) / self._max_messages, self._bytes / self._max_bytes)

    def _say(self) -> None:
        if self._saying.is_due(time.monotonic()):
            log.warning("%d messages wait to be written: further ones wait at the broker", len(self._messages))
