"""Rules for nats-server, which needs an entry for each name: users by the subject of their certificate. Pure.

Two servers, operation and enrolment: one takes client certificates of one set of authorities only. NATS binds no client
id to a name: a device that uses another's id throws it out, though it reads and writes nothing of it (docs/broker.md).
A name that is denied has no entry, and a reload ends its connection; there is no revocation list.
"""

import json
from collections.abc import Iterable

from skerry_agent.wire.enrolment import CANARY_NAME, PLANE_NAME
from skerry_host.plane.broker.export.place import LABEL, Place, path_unit, service_unit
from skerry_host.plane.broker.rights import DEVICE, ENROLLING, PLANE, Rights, canary
from skerry_host.plane.broker.rules import Rules

OWN = ("$MQTT.sub.>", "$MQTT.deliver.pubrel.>")
"""Subjects that a client's own MQTT subscriptions of QoS 1 and 2 come by."""


def setup(place: Place) -> dict[str, str]:
    """What is written once: a configuration for each server, and units."""
    return {
        "nats.conf": _conf(place, place.operation, "operation", str(place.chain)),
        "nats-enrolment.conf": _conf(place, place.enrolment, "enrolment", str(place.enrolment_chain)),
        "skerry-nats.service": _broker_unit(place, "nats.conf", "operation"),
        "skerry-nats-enrolment.service": _broker_unit(place, "nats-enrolment.conf", "enrolment"),
        "skerry-rules.path": path_unit(place, "nats-server"),
        "skerry-rules.service": service_unit("nats-server", RELOAD),
    }


RELOAD = "/usr/bin/systemctl reload skerry-nats.service skerry-nats-enrolment.service"


def rules(rules: Rules, _place: Place) -> dict[str, bytes]:
    """The users of both servers."""
    allowed = sorted(rules.access.members - rules.access.revoked)
    devices = [name for name in allowed if not name.startswith("@")]
    others = [name for name in allowed if name.startswith("@")]
    label = rules.label
    return {
        "operation-users.conf": _users(label, ((name, DEVICE.of(name)) for name in devices)),
        "enrolment-users.conf": _users(label, ((name, ENROLLING.of(name)) for name in others)),
        LABEL: label.encode(),
    }


def subject(topic: str) -> str:
    """A topic filter as NATS has it."""
    return topic.replace("/", ".").replace("+", "*").replace("#", ">")


def _users(label: str, members: Iterable[tuple[str, Rights]]) -> bytes:
    everyone = [(PLANE_NAME, PLANE), (CANARY_NAME, canary(label)), *members]
    return "".join(("authorization { users: [\n", *(_entry(*each) for each in everyone), "] }\n")).encode()


def _entry(name: str, rights: Rights) -> str:
    publish = json.dumps([subject(topic) for topic in rights.write])
    subscribe = json.dumps([*map(subject, rights.read), *OWN])
    return f'{{user: "CN={name}", permissions: {{publish: {publish}, subscribe: {subscribe}}}}}\n'


def _conf(place: Place, port: int, name: str, chain: str) -> str:
    tls = f'cert_file: "{place.server}", key_file: "{place.server}", ca_file: "{chain}", verify_and_map: true'
    return (
        f"server_name: skerry-{name}\n"
        "listen: 127.0.0.1:-1\n"
        "max_payload: 2MB\n"
        f'jetstream {{ store_dir: "{place.folder / name}" }}\n'
        f"mqtt {{ listen: 0.0.0.0:{port}, tls: {{ {tls} }} }}\n"
        f'include "{name}-users.conf"\n'
    )


def _broker_unit(place: Place, conf: str, what: str) -> str:
    return (
        f"[Unit]\nDescription=NATS as the MQTT broker of a Skerry fleet, {what}\nAfter=network.target\n\n"
        f"[Service]\nUser=nats\nExecStart=/usr/bin/env nats-server -c {place.folder / conf}\n"
        "ExecReload=/bin/kill -HUP $MAINPID\nRestart=on-failure\nLimitNOFILE=65536\nNoNewPrivileges=yes\n"
        f"ProtectSystem=strict\nProtectHome=yes\nPrivateTmp=yes\nReadWritePaths={place.folder}\n\n"
        "[Install]\nWantedBy=multi-user.target\n"
    )
