"""Tries to connect to the broker once, as this device, and says why that fails. For the command line.

Where an agent runs, only up to TLS: a second connection of the same id would push out the agent's.
"""

import socket
import ssl
import time
from typing import Any

from paho.mqtt.enums import MQTTErrorCode

from skerry_agent.config import BrokerAddress
from skerry_agent.supervisor import link_problems
from skerry_agent.supervisor.link_problems import LinkProblem
from skerry_agent.supervisor.paho_client import WatchedClient

PATIENCE_S = 5.0


def try_to_connect(
    address: BrokerAddress, device: str, ca_file: str | None = None, *, alone: bool = True
) -> LinkProblem | None:
    """What is wrong, None where nothing is. `alone`: no agent runs, so the broker may see this device."""
    try:
        context = ssl.create_default_context(cafile=ca_file) if address.scheme == "mqtts" else None
        if alone:
            return _connect(address, device, context)
        _greet(address, context)
    except OSError as error:
        return link_problems.of_error(error)
    return None


def _greet(address: BrokerAddress, context: ssl.SSLContext | None) -> None:
    with socket.create_connection((address.host, address.port), PATIENCE_S) as plain:
        if context is not None:
            context.wrap_socket(plain, server_hostname=address.host).close()


def _connect(address: BrokerAddress, device: str, context: ssl.SSLContext | None) -> LinkProblem | None:
    answers: list[Any] = []
    client = WatchedClient(device, lambda: PATIENCE_S)
    client.connect_timeout = PATIENCE_S
    if address.username:
        client.username_pw_set(address.username, address.password)
    if context is not None:
        client.tls_set_context(context)
    client.on_connect = lambda _client, _data, _flags, code, _properties: answers.append(code)
    client.connect(address.host, address.port)
    ends, result = time.monotonic() + PATIENCE_S, MQTTErrorCode.MQTT_ERR_SUCCESS
    while not answers and result == MQTTErrorCode.MQTT_ERR_SUCCESS and time.monotonic() < ends:
        result = client.loop(0.2)
    client.disconnect()
    if answers:
        return link_problems.of_answer(str(answers[0]), address.username) if answers[0].is_failure else None
    if result != MQTTErrorCode.MQTT_ERR_SUCCESS:
        return client.problem or link_problems.problem("closed", "the broker closes the connection before it was made")
    return link_problems.problem("timeout", "the broker takes the connection and does not answer")
