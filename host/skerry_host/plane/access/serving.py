"""What `skerry serve` needs for a broker with identities: the broker on this home's certificates, and its keeper."""

import re
import socket
import time
from pathlib import Path

from skerry_host.home import Home
from skerry_host.identity.files import PlaneFiles, plane_identity
from skerry_host.plane.access.keeper import Keeper
from skerry_host.plane.access.source import RuleSource
from skerry_host.plane.broker.canary import Door, verdict
from skerry_host.plane.broker.connection import Connection
from skerry_host.plane.broker.listening import Opening
from skerry_host.plane.broker.secured import Ports, Secured
from skerry_host.plane.registry.database import Registry

STATE = "access.json"


def secured_broker(home: Home, registry: Registry, program: str, ports: Ports, opened: Opening | None) -> Secured:
    """The broker, with the rules of this moment written; enter it. Raises `IdentityError`, or as `Secured` does."""
    now = time.time()
    rules = RuleSource(registry, home.identity).rules(now)
    broker = Secured(program, home.broker, certificates(home, opened, now), ports, opened)
    broker.write(rules.files())
    return broker


def certificates(home: Home, opened: Opening | None, now: float) -> PlaneFiles:
    """Those of the plane and its broker, renewed where that is due; the broker's has this machine's name in it."""
    name = socket.gethostname()
    names = [name] if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.-]{0,252}", name) else []
    return plane_identity(home.identity, [*names, *([opened.address] if opened else [])], now)


def doors(broker: Secured, files: PlaneFiles) -> list[Door]:
    """The listeners at which a revocation has to be in force."""
    canary = (files.ca, files.canary_cert, files.canary_key)
    ways = {"operation": broker.connection, "enrolment": broker.enrolment}
    return [Door(name, Connection(way.url, None, None, *canary)) for name, way in ways.items() if way]


def keeper_of(home: Home, registry: Registry, broker: Secured) -> Keeper:
    """Keeps the rules of a broker that this process has started those of the registry."""
    source = RuleSource(registry, home.identity)
    return Keeper(source, broker, doors(broker, broker.files), verdict, state_file(home))


def state_file(home: Home) -> Path:
    """Where the keeper notes which rules are in force."""
    return home.broker / STATE
