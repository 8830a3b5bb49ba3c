"""Rules for RabbitMQ's MQTT plugin, which needs a user for each name. Pure.

Users without a password: they come in by the name in their certificate. One set of rights serves both listeners,
because none is by pattern. A client's queue has its client id in its name, and only the user of that name may use it.
The id itself is bound to nobody: a device that uses another's throws it out, though it reads and writes nothing of it
(docs/broker.md). A name that is denied has no user, and its connections are closed.
"""

import json
import re
from typing import Any

from skerry_agent.wire.enrolment import CANARY_NAME, PLANE_NAME
from skerry_host.plane.broker.export.place import LABEL, Place, path_unit, service_unit
from skerry_host.plane.broker.rights import DEVICE, ENROLLING, PLANE, Rights, canary
from skerry_host.plane.broker.rules import Rules

EXCHANGE = "amq.topic"


def setup(place: Place) -> dict[str, str]:
    """What is written once."""
    return {
        "rabbitmq.conf": _conf(place),
        "enabled_plugins": "[rabbitmq_mqtt].\n",
        "apply.sh": APPLY.format(folder=place.folder),
        "skerry-rules.path": path_unit(place, "RabbitMQ"),
        "skerry-rules.service": service_unit("RabbitMQ", f"/bin/sh {place.folder / 'apply.sh'}"),
    }


APPLY = """#!/bin/sh
# Brings the rules of this folder into force: first those who are denied go, then the rest is replaced.
# One call, since each takes seconds to start; the node reads the files itself, so its user must be able to.
exec rabbitmqctl -q eval '{{ok, ok}} = file:script("{folder}/rules.erl"), ok.'
"""


def rules(rules: Rules, place: Place) -> dict[str, bytes]:
    """Users with their rights, and an expression that takes those away who are denied."""
    allowed = sorted(rules.access.members - rules.access.revoked)
    members = [(name, (ENROLLING if name.startswith("@") else DEVICE).of(name)) for name in allowed]
    everyone = [(PLANE_NAME, PLANE), (CANARY_NAME, canary(rules.label)), *members]
    definitions = {
        "vhosts": [{"name": "/"}],
        "users": [_user(name) for name, _ in everyone],
        "permissions": [_permission(name) for name, _ in everyone],
        "topic_permissions": [_topic_permission(name, rights) for name, rights in everyone],
    }
    return {
        "definitions.json": json.dumps(definitions, indent=1).encode(),
        "rules.erl": _expression(rules.access.revoked, place).encode(),
        LABEL: rules.label.encode(),
    }


def _user(name: str) -> dict[str, Any]:
    algorithm = "rabbit_password_hashing_sha256"
    return {"name": name, "password_hash": "", "hashing_algorithm": algorithm, "tags": [], "limits": {}}


def _permission(name: str) -> dict[str, str]:
    own = r"mqtt-subscription-.*" if name == PLANE_NAME else rf"mqtt-subscription-{re.escape(name)}(-.*)?qos[01]"
    if name.startswith("@"):
        own = r"mqtt-subscription-.*qos[01]"  # boards with one claim choose their ids
    either = f"^({own}|{re.escape(EXCHANGE)})$"
    return {"user": name, "vhost": "/", "configure": f"^({own})$", "write": either, "read": either}


def _topic_permission(name: str, rights: Rights) -> dict[str, str]:
    write, read = _pattern(rights.write), _pattern(rights.read)
    return {"user": name, "vhost": "/", "exchange": EXCHANGE, "write": write, "read": read}


def _pattern(topics: tuple[str, ...]) -> str:
    """A filter as a regular expression over routing keys; a filter within it is one that it matches as a text."""
    words = {"/": r"\.", "+": r"[^.#]+", "#": ".*"}
    each = ("".join(words.get(letter, re.escape(letter)) for letter in topic) for topic in topics)
    return f"^({'|'.join(each)})$"


SHIPPED_USER = "guest"
"""May do everything, with a password that everybody knows, from where the broker takes a client for a local one."""


def _expression(names: frozenset[str], place: Place) -> str:
    """Users that are not there are none, and closing what is closed does nothing."""
    listed = ", ".join(f'<<"{name}">>' for name in (SHIPPED_USER, *sorted(names)))
    definitions = json.dumps(str(place.folder / "definitions.json"))
    return (
        f"Denied = [{listed}],\n"
        '[catch rabbit_auth_backend_internal:delete_user(U, <<"skerry">>) || U <- Denied],\n'
        '[catch rabbit_networking:close_connection(P, "revoked")\n'
        " || [{pid, P}, {user, U}] <- rabbit_networking:connection_info_all([pid, user]), lists:member(U, Denied)],\n"
        f"{{ok, Definitions}} = file:read_file({definitions}),\n"
        "rabbit_definitions:import_raw(Definitions).\n"
    )


def _conf(place: Place) -> str:
    lines = [
        "listeners.tcp = none",
        "mqtt.listeners.tcp = none",
        f"mqtt.listeners.ssl.1 = {place.operation}",
        f"mqtt.listeners.ssl.2 = {place.enrolment}",
        "mqtt.allow_anonymous = false",
        "mqtt.ssl_cert_login = true",
        "ssl_cert_login_from = common_name",
        f"ssl_options.cacertfile = {place.enrolment_chain}",
        f"ssl_options.certfile = {place.server}",
        f"ssl_options.keyfile = {place.server}",
        "ssl_options.verify = verify_peer",
        "ssl_options.fail_if_no_peer_cert = true",
        "ssl_options.depth = 2",
    ]
    return "".join(f"{line}\n" for line in lines)
