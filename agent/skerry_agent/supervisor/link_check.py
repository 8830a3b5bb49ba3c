"""Tries to connect to the broker once, as this device, and says why that fails. For the command line.

Where an agent runs, only up to TLS: a second connection of the same id would push out the agent's.
"""

import socket
import time
from typing import Any

from paho.mqtt.enums import MQTTErrorCode

from skerry_agent.supervisor import link_problems
from skerry_agent.supervisor.link_problems import LinkProblem
from skerry_agent.supervisor.link_security import NOTHING, LinkSecurity
from skerry_agent.supervisor.paho_client import WatchedClient
from skerry_agent.wire.broker_url import BrokerUrl

PATIENCE_S = 5.0
KEEPALIVE_S = 60


def try_to_connect(
    address: BrokerUrl, device: str, security: LinkSecurity = NOTHING, *, alone: bool = True
) -> LinkProblem | None:
    """What is wrong, None where nothing is. `alone`: no agent runs, so the broker may see this device."""
    if not alone:
        return _greet(address, security)
    client = WatchedClient(address, device, security, lambda: PATIENCE_S)
    client.connect_timeout = PATIENCE_S
    try:
        return _connect(client)
    except OSError as error:
        return client.problem or link_problems.of_error(error, time.time())


def _greet(address: BrokerUrl, security: LinkSecurity) -> LinkProblem | None:
    try:
        context = security.context() if address.tls else None
        with socket.create_connection((address.host, address.port), PATIENCE_S) as plain:
            if context is not None:
                context.wrap_socket(plain, server_hostname=address.host).close()
    except OSError as error:
        return link_problems.of_error(error, time.time(), "handshake" if address.tls else None)
    return None


def _connect(client: WatchedClient) -> LinkProblem | None:
    answers: list[Any] = []
    client.on_connect = lambda _client, _data, _flags, code, _properties: answers.append(code)
    client.aim(KEEPALIVE_S)
    client.reconnect()
    ends, result = time.monotonic() + PATIENCE_S, MQTTErrorCode.MQTT_ERR_SUCCESS
    while not answers and result == MQTTErrorCode.MQTT_ERR_SUCCESS and time.monotonic() < ends:
        result = client.loop(0.2)
    client.disconnect()
    if answers:
        return link_problems.of_answer(str(answers[0]), client.user) if answers[0].is_failure else None
    if result != MQTTErrorCode.MQTT_ERR_SUCCESS:
        return client.problem or link_problems.problem("closed", "the broker closes the connection before it was made")
    return link_problems.problem("timeout", "the broker takes the connection and does not answer")
