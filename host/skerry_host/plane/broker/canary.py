"""Tries out whether a broker has taken certain access rules: the canary may use a topic that only these rules name.

Each try is a connection of its own, so it also shows that clients still come in after a reload. Changes nothing.
"""

import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from skerry_agent.wire.enrolment import CANARY_NAME
from skerry_host.plane.broker.connection import Connection
from skerry_host.plane.broker.rights import canary_topic

Verdict = Literal["in_force", "not_in_force", "unreachable"]
TRY_S = 1.0
"""How long a broker may take to bring one message back; it is tried again while there is time."""
CONNECT_S = 3.0
KEEPALIVE_S = 3
"""paho waits so long for the TLS of a listener that says nothing, and a revocation waits for that."""
PAUSE_S = 0.05


@dataclass(frozen=True, slots=True)
class Door:
    """A listener that the canary comes to, and what it is for."""

    name: str
    connection: Connection


def verdict(door: Door, label: str, patience_s: float) -> Verdict:
    """Whether the rules of `label` are in force at a listener, within `patience_s`; `unreachable` if none came in."""
    deadline = time.monotonic() + patience_s
    found: Verdict = "unreachable"
    while True:
        found = _try(door.connection, canary_topic(label)) or found
        if found == "in_force" or time.monotonic() > deadline:
            return found
        time.sleep(PAUSE_S)


def comes_in(connection: Connection) -> bool:
    """Whether a broker lets somebody in, by these files. He leaves at once, and nothing is kept for him."""
    return _visit(connection, lambda _client: True) is not None


def _try(door: Connection, topic: str) -> Verdict | None:
    """One connection: subscribe, send to itself, wait; None where it was not let in."""

    def comes_back(client: mqtt.Client) -> bool:
        came = threading.Event()

        def subscribed(*_: Any) -> None:
            client.publish(topic, b"?", 1)

        client.on_subscribe = subscribed
        client.on_message = lambda *_: came.set()
        client.subscribe(topic, 1)
        return came.wait(TRY_S)

    found = _visit(door, comes_back)
    return None if found is None else "in_force" if found else "not_in_force"


def _visit(door: Connection, do: Callable[[mqtt.Client], bool]) -> bool | None:
    """What somebody finds who comes in, and goes again; None where he was not let in."""
    client, let_in = _client(door), threading.Event()

    def connected(_client: mqtt.Client, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        if not reason.is_failure:
            let_in.set()

    client.on_connect = connected
    try:
        client.connect(door.url.host, door.url.port, KEEPALIVE_S)
    except (OSError, ValueError):  # ValueError: paho's for a certificate that it cannot use
        return None
    client.loop_start()
    try:
        return do(client) if let_in.wait(CONNECT_S) else None
    finally:
        client.disconnect()
        client.loop_stop()


def _client(door: Connection) -> mqtt.Client:
    client = mqtt.Client(CallbackAPIVersion.VERSION2, CANARY_NAME, clean_session=True, reconnect_on_failure=False)
    client.connect_timeout = CONNECT_S
    if door.username:
        client.username_pw_set(door.username, door.password)
    if door.url.scheme == "mqtts":
        context = ssl.create_default_context(cafile=str(door.ca) if door.ca else None)
        if door.cert:
            context.load_cert_chain(door.cert, door.key)
        client.tls_set_context(context)
    return client
