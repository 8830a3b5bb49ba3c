"""The plane's connection to the broker: MQTT 3.1.1 through paho, QoS 1. Carries bytes; knows no message format.

Reconnects by itself and subscribes anew each time. Incoming messages are acknowledged only when their consumer has
stored them, so that a killed plane gets them again; none is read while the consumer has no room. `epoch` counts the
connections: after a new one, the broker may have lost what it retained.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import paho.mqtt.client as mqtt

from skerry_host.plane.broker import reasons
from skerry_host.plane.broker.client import KEEPALIVE_S, QOS, PlaneClient
from skerry_host.plane.broker.connection import Connection
from skerry_host.plane.errors import LinkError

NOBODYS_ID = ""
"""The broker makes up an id that nobody else can take, and so throw this client out; it keeps nothing for it."""

WINDOW = 64
ACK_S = 30.0
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


class Link:
    """One MQTT client; start it, publish, acknowledge, stop. `has_room` waits so long for room and says if there is."""

    def __init__(
        self,
        where: Connection | str,
        client_id: str,
        subscriptions: Iterable[str],
        receive: Callable[[Incoming], None],
        has_room: Callable[[float], bool] = _always,
    ) -> None:
        self._has_room = has_room
        self._where = where if isinstance(where, Connection) else Connection.of(where)
        self._subscriptions = tuple(subscriptions)
        self._watched: tuple[str, ...] = ()
        self._receive = receive
        self._connected = threading.Event()
        self._probes: dict[str, threading.Event] = {}
        self._problem: LinkError | None = None
        self._starting = True
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
        url = self._where.url
        self._client.connect_async(url.host, url.port, keepalive=KEEPALIVE_S)
        self._client.loop_start()
        deadline = time.monotonic() + patience_s
        while not self._connected.wait(0.05):
            problem = self._problem
            lasting = problem is not None and (problem.code == "refused" or problem.code in reasons.LASTING)
            if lasting or time.monotonic() > deadline:
                self.stop()
                raise problem or reasons.silent(url)
        self._starting = False

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

    def _make_client(self, client_id: str) -> PlaneClient:
        client = PlaneClient(self._where, client_id, self._has_room)
        client.max_inflight_messages_set(WINDOW)
        client.reconnect_delay_set(1, 5)
        if self._where.username:
            client.username_pw_set(self._where.username, self._where.password)
        client.on_connect = self._on_connect
        client.on_connect_fail = self._on_connect_fail
        client.on_disconnect = self._on_disconnect
        client.on_subscribe = _on_subscribe
        client.on_message = self._on_message
        return client

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
            self._say(reasons.of_answer(str(reason), self._where.url))
            return
        self._problem = None
        # Whoever published them was told that they are lost, and one that a broker refuses would end every connection.
        client.drop_out_messages()
        self.epoch += 1
        for topic in self._subscriptions:
            client.subscribe(topic, QOS)
        for topic in self._watched:
            client.subscribe(topic, 0)
        self._connected.set()

    def _on_connect_fail(self, _client: mqtt.Client, _data: Any) -> None:
        self._say(self._client.problem or reasons.silent(self._where.url))

    def _on_disconnect(self, _client: mqtt.Client, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        was = self._connected.is_set()
        self._connected.clear()
        if reason.is_failure and was:
            log.warning("the connection to the broker was lost: %s", self._client.problem or reason)
        elif reason.is_failure and self._client.problem is not None:
            self._say(self._client.problem)

    def _say(self, problem: LinkError) -> None:
        """Why there is no connection, once for each reason: it is tried every few seconds. `start` says it itself."""
        if not self._starting and (self._problem is None or self._problem.code != problem.code):
            log.warning("%s", problem)
        self._problem = problem

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
