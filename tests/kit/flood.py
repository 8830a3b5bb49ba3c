"""Whoever reaches a broker without access rules and floods it: so many messages a second, or all at once.

A thread of its own on a bare socket, because paho would be slower than what it is to flood. The broker's answers are
read and dropped. No tests here.
"""

import contextlib
import itertools
import secrets
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from tests.sim import mqtt

Forged = Callable[[int], tuple[str, bytes]]
"""The topic and the payload of the message with that number."""

STEP_S = 0.02


class Flood:
    """Publishes what `forge` makes; `sent` and `sent_bytes` count it. `bytes_most` ends it by itself."""

    def __init__(self, url: str, forge: Forged, *, per_s: float = 0.0, qos: int = 1, bytes_most: int = 0) -> None:
        parts = urlsplit(url)
        self._where = (parts.hostname or "", parts.port or 1883)
        self._forge, self._per_s, self._qos, self._bytes_most = forge, per_s, qos, bytes_most
        self._stopping = threading.Event()
        self.sent = self.sent_bytes = 0
        self.done = threading.Event()
        self.failure: OSError | None = None

    def run(self) -> None:
        """Until it is told to stop, or has sent enough."""
        try:
            with socket.create_connection(self._where) as wire:
                wire.sendall(_connect(f"flood-{secrets.token_hex(4)}"))
                draining = threading.Thread(target=_drain, args=(wire,), daemon=True)
                draining.start()
                self._pour(wire)
                wire.sendall(mqtt.DISCONNECT)
                draining.join(60)  # to close before the broker has would drop what it has not read yet
        except OSError as error:
            self.failure = error
        finally:
            self.done.set()

    def stop(self) -> None:
        """After the message under way."""
        self._stopping.set()

    def _pour(self, wire: socket.socket) -> None:
        began = time.monotonic()
        for number in itertools.count():
            if self._stopping.is_set() or (self._bytes_most and self.sent_bytes >= self._bytes_most):
                return
            while self._per_s and number > self._per_s * (time.monotonic() - began):
                if self._stopping.wait(STEP_S):
                    return
            topic, payload = self._forge(number)
            wire.sendall(mqtt.publish(topic, payload, 1 + number % 65535 if self._qos else 0))
            self.sent += 1
            self.sent_bytes += len(payload)


@contextmanager
def flooding(url: str, forge: Forged, **how: float) -> Iterator[Flood]:
    """A flood that ends with the block."""
    flood = Flood(url, forge, **how)  # type: ignore[arg-type]
    thread = threading.Thread(target=flood.run, name="flood")
    thread.start()
    try:
        yield flood
    finally:
        flood.stop()
        thread.join(90)
    assert flood.failure is None, flood.failure


def _connect(client_id: str) -> bytes:
    """A clean session without a will."""
    name = client_id.encode()
    body = b"\x00\x04MQTT\x04\x02" + struct.pack("!H", 600) + struct.pack("!H", len(name)) + name
    return b"\x10" + bytes([len(body)]) + body


def _drain(wire: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while wire.recv(1 << 16):
            pass
