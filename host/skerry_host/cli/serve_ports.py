"""At which ports `skerry serve` starts its broker: those that are asked for, but no fielded device is cut off by that.

Devices that were provisioned without an identity go on calling the port of their agent.toml, without TLS. A host that
was served there before, by a script that says so, goes on hearing them. Opens no port.
"""

from dataclasses import dataclass

from skerry_agent.wire import broker_url
from skerry_agent.wire.errors import WireError
from skerry_host.plane.broker.secured import Ports
from skerry_host.plane.errors import BrokerError
from skerry_host.plane.provision import Addresses

OPERATION_PORT = 8883
OLD_PORT = 1883


@dataclass(frozen=True, slots=True)
class Asked:
    """What the command line and the environment say; None: nothing."""

    operation: int | None
    enrolment: int
    old: int | None


def ports(asked: Asked, called: int | None, waiting: int) -> tuple[Ports, str]:
    """The ports, and a warning, or an empty one.

    `called` is the port at which so many (`waiting`) devices without an identity call. Raises `BrokerError` where they
    were asked to share it with devices that have one.
    """
    operation = OPERATION_PORT if asked.operation is None else asked.operation
    old = asked.old if asked.old is not None else called or OLD_PORT
    if operation != old or old == 0:
        return Ports(operation, asked.enrolment, old), ""
    if not waiting:
        return Ports(operation, asked.enrolment, 0), ""
    them = "1 device" if waiting == 1 else f"{waiting} devices"
    if asked.old is not None or operation == OPERATION_PORT:
        hint = "give TLS another one with --port"
        raise BrokerError(f"port {old} is to be that of {them} without an identity, and that of TLS", hint=hint)
    instead = f"say --port {OPERATION_PORT} --old-port {old} from now on"
    return (
        Ports(OPERATION_PORT, asked.enrolment, old),
        f"port {old} stays that of {them} without an identity; those with one call {OPERATION_PORT}: {instead}",
    )


def called_port(before: Addresses) -> int | None:
    """Where devices without an identity call, by what the last `serve` has noted; None where there was none of them."""
    if before.old_port is not None:
        return before.old_port
    try:
        url = broker_url.parse(before.broker)
    except WireError:
        return None
    return url.port if before.security == "plain" and not url.tls else None
