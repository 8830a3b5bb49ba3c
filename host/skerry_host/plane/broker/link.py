"""The plane's connection to the broker: MQTT 3.1.1 through paho, QoS 1. Carries bytes; knows no message format.

Reconnects by itself and subscribes anew each time. Incoming messages are acknowledged only when their consumer has
stored them, so that a killed plane gets them again. `epoch` counts the connections: after a new one, the broker may
have lost what it retained.
"""

import ssl
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from skerry_host.plane.broker.broker import address
from skerry_host.plane.errors import LinkError

QOS = 1
WINDOW = 64
KEEPALIVE_S = 30
ACK_S = 30.0
MAX_TOPICS = 8
"""Topics in one SUBSCRIBE: some brokers accept no more."""


@dataclass(frozen=True, slots=True)
class Incoming:
    """A message from a device; `mid` and `epoch` are for its acknowledgement."""

    topic: str
    payload: bytes
    mid: int = 0
    epoch: int = 0


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message, to be retained unless it says otherwise; an empty payload clears what was."""

    topic: str
    payload: bytes
    retain: bool = True


class Link:
    """One MQTT client; start it, publish, acknowledge, stop."""

    def __init__(
        self, url: str, client_id: str, subscriptions: Iterable[str], receive: Callable[[Incoming], None]
    ) -> None:
        self._parts = address(url)
        self._subscriptions = tuple(subscriptions)
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
        for message in messages:
            if message.epoch == self.epoch:
                self._client.ack(message.mid, QOS)

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

    def _make_client(self, client_id: str) -> mqtt.Client:
        client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id, clean_session=False, manual_ack=True)
        client.max_inflight_messages_set(WINDOW)
        client.reconnect_delay_set(1, 5)
        if self._parts.username:
            client.username_pw_set(unquote(self._parts.username), unquote(self._parts.password or ""))
        if self._parts.scheme == "mqtts":
            client.tls_set_context(ssl.create_default_context())
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
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
        self._connected.set()

    def _on_disconnect(self, *_: Any) -> None:
        self._connected.clear()

    def _on_message(self, client: mqtt.Client, _data: Any, message: mqtt.MQTTMessage) -> None:
        try:
            topic = message.topic
        except UnicodeDecodeError:  # no name of ours; an exception here would end paho's thread
            client.ack(message.mid, QOS)
            return
        probe = self._probes.get(topic)
        if probe is not None:
            probe.set()
            client.ack(message.mid, QOS)
            return
        self._receive(Incoming(topic, bytes(message.payload), message.mid, self.epoch))
