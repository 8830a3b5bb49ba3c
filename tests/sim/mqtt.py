"""The MQTT 3.1.1 that thousands of simulated devices need in one process: packets, and a connection on asyncio.

QoS 0 and 1 only, as a client only. Bounds nothing and checks little: it talks to brokers that other tests trust.
"""

import asyncio
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

CONNACK, PUBLISH, PUBACK, SUBACK, PINGRESP = 2, 3, 4, 9, 13
PINGREQ = b"\xc0\x00"
DISCONNECT = b"\xe0\x00"


def connect(client_id: str, will: tuple[str, bytes], keepalive_s: int) -> bytes:
    """A clean session with a retained last will of QoS 1."""
    topic, death = will
    body = b"".join((_text("MQTT"), b"\x04\x2e", struct.pack("!H", keepalive_s), _text(client_id), _text(topic)))
    return _packet(0x10, body + struct.pack("!H", len(death)) + death)


def publish(topic: str, payload: bytes, mid: int = 0, *, retain: bool = False) -> bytes:
    """With QoS 1 where there is a message id, else with QoS 0."""
    head = _text(topic) + (struct.pack("!H", mid) if mid else b"")
    return _packet(0x30 | (0x02 if mid else 0) | retain, head + payload)


def subscribe(mid: int, *topics: str) -> bytes:
    """With QoS 1."""
    return _packet(0x82, struct.pack("!H", mid) + b"".join(_text(topic) + b"\x01" for topic in topics))


def packets(buffer: bytearray) -> Iterator[tuple[int, int, bytes]]:
    """(type, flags, body) of each whole packet, which is taken out of the buffer."""
    start = 0
    while (found := _length(buffer, start)) is not None:
        begin, length = found
        if len(buffer) < begin + length:
            break
        yield buffer[start] >> 4, buffer[start] & 15, bytes(buffer[begin : begin + length])
        start = begin + length
    del buffer[:start]


def _length(buffer: bytearray, start: int) -> tuple[int, int] | None:
    """Where the body of the packet at `start` begins, and its length; None while that has not arrived."""
    length = shift = 0
    for at in range(start + 1, min(start + 5, len(buffer))):
        length |= (buffer[at] & 127) << shift
        if buffer[at] < 128:
            return at + 1, length
        shift += 7
    return None


def _packet(first: int, body: bytes) -> bytes:
    length, rest = bytearray(), len(body)
    while True:
        rest, digit = rest >> 7, rest & 127
        length.append(digit | (128 if rest else 0))
        if not rest:
            return bytes((first,)) + length + body


def _text(text: str) -> bytes:
    raw = text.encode()
    return struct.pack("!H", len(raw)) + raw


@dataclass(frozen=True, slots=True)
class Handlers:
    """What a connection calls: it was accepted, it has ended, a message came, the broker took a message of ours."""

    up: Callable[[], None]
    lost: Callable[[], None]
    heard: Callable[[str, bytes], None]
    acked: Callable[[int], None]


class Connection(asyncio.Protocol):
    """One client's connection; `sent_bytes` and `received_bytes` are those of MQTT, without TCP and TLS."""

    def __init__(self, hello: bytes, handlers: Handlers) -> None:
        self._hello, self._handlers = hello, handlers
        self._buffer = bytearray()
        self._transport: asyncio.Transport | None = None
        self._mid = 0
        self.sent_bytes = self.received_bytes = 0

    def publish(self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False) -> int:
        """Send; returns the message id, 0 with QoS 0."""
        mid = self._next_mid() if qos else 0
        self.write(publish(topic, payload, mid, retain=retain))
        return mid

    def subscribe(self, *topics: str) -> None:
        """Ask for messages on some topics."""
        self.write(subscribe(self._next_mid(), *topics))

    def ping(self) -> None:
        """Keep it alive."""
        self.write(PINGREQ)

    def cut(self) -> None:
        """End without a word: the broker speaks the will."""
        if self._transport is not None:
            self._transport.abort()

    def write(self, raw: bytes) -> None:
        """Send bytes, if the connection has not ended."""
        if self._transport is not None and not self._transport.is_closing():
            self.sent_bytes += len(raw)
            self._transport.write(raw)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self.write(self._hello)

    def data_received(self, data: bytes) -> None:
        self.received_bytes += len(data)
        self._buffer += data
        for kind, flags, body in packets(self._buffer):
            self._take(kind, flags, body)

    def connection_lost(self, _error: Exception | None) -> None:
        self._transport = None
        self._handlers.lost()

    def _take(self, kind: int, flags: int, body: bytes) -> None:
        if kind == PUBACK:
            self._handlers.acked(int.from_bytes(body[:2], "big"))
        elif kind == PUBLISH:
            self._message(flags, body)
        elif kind == CONNACK:
            if body[1]:
                self.cut()
            else:
                self._handlers.up()

    def _message(self, flags: int, body: bytes) -> None:
        end = 2 + int.from_bytes(body[:2], "big")
        begin = end
        if flags & 0x06:
            begin += 2
            self.write(b"\x40\x02" + body[end:begin])
        self._handlers.heard(body[2:end].decode(), body[begin:])

    def _next_mid(self) -> int:
        self._mid = self._mid % 65_535 + 1
        return self._mid
