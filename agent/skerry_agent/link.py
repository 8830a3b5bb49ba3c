"""The way to the broker: an adapter over paho. Correctness rests on QoS 1, retained messages and the last will only.

paho's network thread hands everything to the supervisor's thread through `post`; nothing else happens in it. Messages
are not queued while offline: the supervisor publishes its state anew on every connect, the outbox keeps the reports.
"""

import ssl
from collections.abc import Callable
from typing import Any

from skerry_agent.config import BrokerAddress
from skerry_agent.lean import import_paho
from skerry_agent.ports import Post

import_paho()
import paho.mqtt.client as mqtt  # noqa: E402 - after the import that keeps it small
from paho.mqtt.enums import CallbackAPIVersion  # noqa: E402

RECONNECT_MIN_S, RECONNECT_MAX_S = 1, 30
KEEPALIVE_S = 30


class MqttLink:
    """A connection that comes back by itself."""

    def __init__(
        self, address: BrokerAddress, client_id: str, will: Callable[[int], tuple[str, bytes]], ca_file: str | None
    ) -> None:
        self.connected = False
        self.connection = 0
        self._address, self._will = address, will
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=client_id, clean_session=True)
        self._client.reconnect_delay_set(RECONNECT_MIN_S, RECONNECT_MAX_S)
        if address.username:
            self._client.username_pw_set(address.username, address.password)
        if address.scheme == "mqtts":
            self._client.tls_set(ca_certs=ca_file, tls_version=ssl.PROTOCOL_TLS_CLIENT)

    def start(
        self,
        post: Post,
        on_up: Callable[[], None],
        on_message: Callable[[str, bytes], None],
        on_acked: Callable[[int], None],
    ) -> None:
        """Begin to connect; the callbacks run in the supervisor's thread."""

        def connecting(_client: Any, _data: Any) -> None:
            self.connection += 1
            topic, death = self._will(self.connection)
            self._client.will_set(topic, death, qos=1, retain=True)

        def connected(_client: Any, _data: Any, _flags: Any, code: Any, _properties: Any) -> None:
            if not code.is_failure:
                self.connected = True
                post(on_up)

        def disconnected(*_arguments: Any) -> None:
            self.connected = False

        def received(_client: Any, _data: Any, message: mqtt.MQTTMessage) -> None:
            topic, payload = message.topic, bytes(message.payload)
            post(lambda: on_message(topic, payload))

        def acked(_client: Any, _data: Any, token: int, *_rest: Any) -> None:
            post(lambda: on_acked(token))

        self._client.on_pre_connect = connecting
        self._client.on_connect = connected
        self._client.on_disconnect = disconnected
        self._client.on_message = received
        self._client.on_publish = acked
        self._client.connect_async(self._address.host, self._address.port, keepalive=KEEPALIVE_S)
        self._client.loop_start()

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> int | None:
        """Publish with QoS 1; None while offline."""
        if not self.connected:
            return None
        return self._client.publish(topic, payload, qos=1, retain=retain).mid

    def subscribe(self, topics: list[str]) -> None:
        """Subscribe with QoS 1; at most 8 topics a packet, which every broker accepts."""
        for start in range(0, len(topics), 8):
            self._client.subscribe([(topic, 1) for topic in topics[start : start + 8]])

    def unsubscribe(self, topics: list[str]) -> None:
        """Stop receiving topics."""
        if topics:
            self._client.unsubscribe(topics)

    def stop(self) -> None:
        """Say goodbye; the broker then sends no last will, so publish the death first."""
        self._client.disconnect()
        self._client.loop_stop()
