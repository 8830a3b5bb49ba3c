"""The plane's connection to the broker: MQTT 3.1.1 through paho, QoS 1. Carries bytes; knows no message format.

Reconnects by itself and subscribes anew each time. Incoming messages are acknowledged only when their consumer has
stored them, so that a killed plane gets them again; none is read while the consumer has no room. `epoch` counts the
connections: after a new one, the broker may have lost what it retained.
"""

import logging
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode

from skerry_host.plane.broker.broker import address
from skerry_host.plane.errors import LinkError

QOS = 1
WINDOW = 64
KEEPALIVE_S = 30
ACK_S = 30.0
READ_BYTES = 64 * 1024
"""What is read from the socket at once: paho reads byte by byte."""

PAUSE_S = 0.05
"""How long reading waits for room at a time; acknowledgements and pings are sent in between."""

MAX_PAUSE_S = KEEPALIVE_S / 2
"""After so long a packet is read all the same: one that hears nothing takes the broker for dead."""

MAX_TOPICS = 8
"""Topics in one SUBSCRIBE: some brokers accept no more."""


log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Incoming:
    """A message from a device; `mid` and `epoch` are for its acknowledgement, which QoS 0 has none of.

    One that the broker had `retained` when it was subscribed to may be of long ago.
    """

    topic: str
    payload: bytes
    mid: int = 0
    epoch: int = 0
    qos: int = QOS
    retained: bool = False


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message, to be retained unless it says otherwise; an empty payload clears what was."""

    topic: str
    payload: bytes
    retain: bool = True


def _always(_timeout_s: float) -> bool:
    return True


class _Client(mqtt.Client):
    """paho's client, which reads in large pieces and not at all without room, and acknowledges many at once."""

    def __init__(self, client_id: str, has_room: Callable[[float], bool]) -> None:
        super().__init__(CallbackAPIVersion.VERSION2, client_id, clean_session=False, manual_ack=True)
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
        return super().reconnect()

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
                return super()._sock_recv(bufsize)
            self._received = memoryview(super()._sock_recv(READ_BYTES))
        taken, self._received = self._received[:bufsize], self._received[bufsize:]
        return bytes(taken)


class Link:
    """One MQTT client; start it, publish, acknowledge, stop. `has_room` waits so long for room and says if there is."""

    def __init__(
        self,
        url: str,
        client_id: str,
        subscriptions: Iterable[str],
        receive: Callable[[Incoming], None],
        has_room: Callable[[float], bool] = _always,
    ) -> None:
        self._has_room = has_room
        self._parts = address(url)
        self._subscriptions = tuple(subscriptions)
        self._watched: tuple[str, ...] = ()
        self._receive = receive
        self._connected = threading.Event()
        self._probes: dict[str, threading.Event] = {}
        self._refusal = ""
        self.epoch = 0
        self.published_bytes = 0
        self._client = self._make_client(client_id)

    @property
    def connected(self) -> bool:
        """Whether there is a connection now."""
        return self._connected.is_set()

    def watch(self, topics: Iterable[str]) -> None:
        """Receive these topics, too, from the next connection on; what comes while there is none, does not wait."""
        self._watched = tuple(topics)

    def start(self, patience_s: float = 5.0) -> None:
        """Connect; raises `LinkError` when the broker cannot be reached or refuses within `patience_s`."""
        self._client.connect_async(self._parts.hostname or "", self._port(), keepalive=KEEPALIVE_S)
        self._client.loop_start()
        deadline = time.monotonic() + patience_s
        while not self._connected.wait(0.05):
            if self._refusal or time.monotonic() > deadline:
                self.stop()
                raise self._unreachable()

    def stop(self) -> None:
        """Disconnect and end the network thread."""
        self._client.disconnect()
        self._client.loop_stop()
        self._connected.clear()

    def publish(self, messages: Iterable[Outgoing]) -> bool:
        """Publish all, in order, with a bounded window; False when the connection was lost before all were accepted."""
        epoch, window = self.epoch, deque[mqtt.MQTTMessageInfo]()
        for message in messages:
            if not self._still(epoch):
                return False
            window.append(self._client.publish(message.topic, message.payload, QOS, retain=message.retain))
            self.published_bytes += len(message.topic) + len(message.payload)
            if len(window) >= WINDOW and not self._await(window.popleft(), epoch):
                return False
        return all(self._await(info, epoch) for info in window)

    def acknowledge(self, messages: Iterable[Incoming]) -> None:
        """Acknowledge stored messages; those of an earlier connection are left out: the broker sends them again."""
        self._client.acknowledge(message.mid for message in messages if message.epoch == self.epoch and message.qos)

    def retained(self, topics: Iterable[str], grace_s: float = 0.5) -> set[str]:
        """Which of some exact topics the broker holds a message for; waits `grace_s` for those that are silent."""
        probes = {topic: threading.Event() for topic in topics}
        self._probes = probes
        for topic in probes:
            self._client.subscribe(topic, QOS)
        deadline = time.monotonic() + grace_s
        found = {topic for topic, seen in probes.items() if seen.wait(max(0.0, deadline - time.monotonic()))}
        for topic in probes:
            self._client.unsubscribe(topic)
        self._probes = {}
        return found

    def recall(self, topics: Sequence[str]) -> None:
        """Have what the broker retains on exact topics delivered: not every broker does that for a wildcard."""
        for start in range(0, len(topics), MAX_TOPICS):
            some = list(topics[start : start + MAX_TOPICS])
            self._client.subscribe([(topic, QOS) for topic in some])
            self._client.unsubscribe(some)

    def _make_client(self, client_id: str) -> _Client:
        client = _Client(client_id, self._has_room)
        client.max_inflight_messages_set(WINDOW)
        client.reconnect_delay_set(1, 5)
        if self._parts.username:
            client.username_pw_set(unquote(self._parts.username), unquote(self._parts.password or ""))
        if self._parts.scheme == "mqtts":
            client.tls_set_context(ssl.create_default_context())
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_subscribe = _on_subscribe
        client.on_message = self._on_message
        return client

    def _port(self) -> int:
        return self._parts.port or (8883 if self._parts.scheme == "mqtts" else 1883)

    def _unreachable(self) -> LinkError:
        where = f"{self._parts.hostname}:{self._port()}"
        if self._refusal:
            hint = "check user and password in --broker mqtt://USER:PASSWORD@HOST:PORT"
            return LinkError(f"the broker at {where} refuses: {self._refusal}", hint=hint, code="refused")
        return LinkError(f"no broker answers at {where}", hint="start it, or check --broker", code="unreachable")

    def _await(self, info: mqtt.MQTTMessageInfo, epoch: int) -> bool:
        deadline = time.monotonic() + ACK_S
        if info.rc > mqtt.MQTT_ERR_SUCCESS:  # the connection had just ended: `is_published` would raise
            return False
        while not info.is_published():
            if not self._still(epoch) or time.monotonic() > deadline:
                return False
            info.wait_for_publish(0.2)
        return True

    def _still(self, epoch: int) -> bool:
        return self.connected and self.epoch == epoch

    def _on_connect(self, client: mqtt.Client, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        if reason.is_failure:
            self._refusal = str(reason)
            return
        self._refusal = ""
        # Whoever published them was told that they are lost, and one that a broker refuses would end every connection.
        client.drop_out_messages()
        self.epoch += 1
        for topic in self._subscriptions:
            client.subscribe(topic, QOS)
        for topic in self._watched:
            client.subscribe(topic, 0)
        self._connected.set()

    def _on_disconnect(self, _client: mqtt.Client, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        self._connected.clear()
        if reason.is_failure:
            log.warning("the connection to the broker was lost: %s", reason)

    def _on_message(self, client: mqtt.Client, _data: Any, message: mqtt.MQTTMessage) -> None:
        try:
            topic = message.topic
        except UnicodeDecodeError:  # no name of ours; an exception here would end paho's thread
            client.ack(message.mid, message.qos)
            return
        probe = self._probes.get(topic)
        if probe is not None:
            probe.set()
            client.ack(message.mid, message.qos)
            return
        payload, retained = bytes(message.payload), bool(message.retain)
        self._receive(Incoming(topic, payload, message.mid, self.epoch, message.qos, retained))


def _on_subscribe(_client: mqtt.Client, _data: Any, _mid: int, reasons: Sequence[Any], _properties: Any) -> None:
    """A plane that may not read what devices say would take all of them for silent."""
    if any(reason.is_failure for reason in reasons):
        log.error("the broker refuses a subscription of the plane: check its access rules for the plane's user")
