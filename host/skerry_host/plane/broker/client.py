"""paho's client as the plane uses it: reads in large pieces, and only with room; TLS from files; knows why it failed.

Knows no topic and no message.
"""

import contextlib
import time
from collections.abc import Callable, Iterable

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode

from skerry_agent import tls
from skerry_host.plane.broker import reasons
from skerry_host.plane.broker.connection import Connection
from skerry_host.plane.errors import LinkError

QOS = 1
KEEPALIVE_S = 30
READ_BYTES = 64 * 1024
"""What is read from the socket at once: paho reads byte by byte."""

PAUSE_S = 0.05
"""How long reading waits for room at a time; acknowledgements and pings are sent in between."""

MAX_PAUSE_S = KEEPALIVE_S / 2
"""After so long a packet is read all the same: one that hears nothing takes the broker for dead."""


class PlaneClient(mqtt.Client):
    """paho's client, which reads in large pieces and not at all without room, and acknowledges many at once.

    Without a client id the broker makes one up and keeps nothing of it for later.
    `problem` is what was seen of why a connection ends, or is not made: paho forgets the error.
    """

    def __init__(self, where: Connection, client_id: str, has_room: Callable[[float], bool]) -> None:
        super().__init__(CallbackAPIVersion.VERSION2, client_id, clean_session=not client_id, manual_ack=True)
        self._where, self._heard = where, False
        self.problem: LinkError | None = None
        self._has_room = has_room
        self._received = memoryview(b"")
        self._read_at = 0.0

    def acknowledge(self, mids: Iterable[int]) -> None:
        """PUBACK of each, in one write."""
        packets = b"".join(b"\x40\x02" + mid.to_bytes(2, "big") for mid in mids)
        if packets:
            self._packet_queue(mqtt.PUBACK, packets, 0, QOS)

    def reconnect(self) -> MQTTErrorCode:
        """What was received of the last connection ends with it; the answer to the next is read at once."""
        self._received, self._read_at = memoryview(b""), 0.0
        self.problem, self._heard = None, False
        try:
            self._secure()
            return super().reconnect()
        except OSError as error:
            self._note(error, "handshake")
            raise

    def _secure(self) -> None:
        """With the files as they are now, which may have been renewed; paho takes a context once."""
        if self._where.url.tls:
            self._ssl_context = None
            self.tls_set_context(tls.context(self._where.files))

    def _note(self, error: OSError, phase: tls.Phase) -> None:
        if self.problem is None:
            self.problem = reasons.of_error(error, self._where.url, time.time(), phase)

    @property
    def _phase(self) -> tls.Phase:
        return "session" if self._heard else "greeting"

    def _look_at(self, first: bytes) -> None:
        """What comes first, if it is no answer to what was sent."""
        url = self._where.url
        if not self._heard and url.tls and not first:
            kind, detail = tls.of_close("greeting")
            self.problem = self.problem or reasons.problem(kind, url, detail)
        elif not self._heard and not url.tls and tls.is_alert(first):
            self.problem = reasons.problem("tls_wanted", url, "it answers in TLS to what was sent without")
        self._heard = self._heard or bool(first)

    def _sock_send(self, buf: bytes | bytearray) -> int:
        try:
            return super()._sock_send(buf)
        except BlockingIOError:
            raise
        except OSError as error:
            self._hear_last_words()
            self._note(error, self._phase)
            raise

    def _hear_last_words(self) -> None:
        """What the broker had said before it closed: of TLS why, where that is why nothing can be sent."""
        with contextlib.suppress(OSError):
            super()._sock_recv(1)

    def loop_read(self, max_packets: int = 1) -> MQTTErrorCode:
        """Read what there is, as far as there is room for it."""
        if not self._has_room(PAUSE_S) and time.monotonic() - self._read_at < MAX_PAUSE_S:
            return MQTTErrorCode.MQTT_ERR_SUCCESS
        self._read_at = time.monotonic()
        result = super().loop_read(max_packets)
        while result == MQTTErrorCode.MQTT_ERR_SUCCESS and self._received and self._has_room(0.0):
            result = super().loop_read(max_packets)
        return result

    def loop_misc(self) -> MQTTErrorCode:
        """Go on with what was received before there was no room: the socket need not say again that it has it."""
        result = self.loop_read() if self._received else MQTTErrorCode.MQTT_ERR_SUCCESS
        return result or super().loop_misc()

    def _sock_recv(self, bufsize: int) -> bytes:
        if not self._received:
            if bufsize >= READ_BYTES:
                return self._receive(bufsize)
            self._received = memoryview(self._receive())
        taken, self._received = self._received[:bufsize], self._received[bufsize:]
        return bytes(taken)

    def _receive(self, bufsize: int = READ_BYTES) -> bytes:
        try:
            received = super()._sock_recv(bufsize)
        except BlockingIOError:
            raise
        except OSError as error:
            self._note(error, self._phase)
            raise
        self._look_at(received)
        return received
