"""Sends the reports that wait in the outbox, a window at a time; one goes from the disk when the broker has taken it.

What is sent may be sent again after a crash or a lost connection: whoever ingests drops it by (device, boot, sequence).
"""

from collections import deque

from skerry_agent.outbox import Outbox
from skerry_agent.ports import Link

WINDOW = 20


class Postman:
    """Between the outbox and the link."""

    def __init__(self, outbox: Outbox, link: Link, topic: str) -> None:
        self._outbox, self._link, self._topic = outbox, link, topic
        self._waiting: deque[str] = deque()
        self._in_flight: dict[int, str] = {}

    @property
    def dropped(self) -> int:
        """Reports that were given up since the start."""
        return self._outbox.dropped

    @property
    def waiting(self) -> int:
        """Reports that no broker has acknowledged."""
        return len(self._outbox.pending())

    def link_up(self) -> None:
        """A new connection: nothing of the one before will be acknowledged."""
        self._in_flight.clear()
        self._waiting = deque(self._outbox.pending())
        self._send()

    def put(self, report: bytes) -> None:
        """Keep a report and send it when its turn comes."""
        try:
            self._waiting.append(self._outbox.put(report))
        except OSError:  # a full disk: this report is lost, and the next one that fits says so
            self._outbox.dropped += 1
        self._send()

    def acked(self, token: int) -> None:
        """The broker has taken a message, of ours or not."""
        name = self._in_flight.pop(token, None)
        if name is not None:
            self._outbox.remove(name)
            self._send()

    def _send(self) -> None:
        while self._waiting and len(self._in_flight) < WINDOW and self._link.connected:
            name = self._waiting.popleft()
            report = self._outbox.read(name)
            token = self._link.publish(self._topic, report) if report is not None else None
            if token is not None:
                self._in_flight[token] = name
