"""What `skerry serve` needs for a broker with identities: the broker on this home's certificates, and its keeper."""

import re
import socket
import time
from collections.abc import Mapping
from pathlib import Path

from skerry_agent.wire.broker_url import BrokerUrl
from skerry_host.home import Home
from skerry_host.identity.files import PlaneFiles, plane_files, plane_identity
from skerry_host.plane.access.exported import ExportedFolder, exported
from skerry_host.plane.access.keeper import Keeper
from skerry_host.plane.access.source import RuleSource
from skerry_host.plane.broker.broker import Broker
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
    broker.write(broker.content(rules))
    return broker


def certificates(home: Home, opened: Opening | None, now: float) -> PlaneFiles:
    """Those of the plane and its broker, renewed where that is due; the broker's has this machine's name in it."""
    name = socket.gethostname()
    names = [name] if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.-]{0,252}", name) else []
    return plane_identity(home.identity, [*names, *([opened.address] if opened else [])], now)


def own_files(home: Home, now: float) -> PlaneFiles:
    """The same without renewing any, for a command beside a running broker; they are made where there are none."""
    files = plane_files(home.identity / "plane")
    return files if files.canary_cert.exists() else certificates(home, None, now)


def doors(urls: Mapping[str, BrokerUrl], files: PlaneFiles) -> list[Door]:
    """The listeners at which a revocation has to be in force, by their kind; the canary comes to each."""
    canary = (files.ca, files.canary_cert, files.canary_key)
    return [Door(name, Connection(url, None, None, *canary)) for name, url in urls.items()]


def keeper_of(home: Home, registry: Registry, broker: Broker) -> Keeper | None:
    """Keeps a broker's rules those of the registry: of one with identities, or for which they were exported."""
    source, urls = RuleSource(registry, home.identity), listeners(broker)
    if isinstance(broker, Secured):
        return Keeper(source, broker, doors(urls, broker.files), verdict, state_file(home))
    export = exported(home)
    if export is None or not broker.connection.url.tls:
        return None
    files = certificates(home, None, time.time())
    return Keeper(source, ExportedFolder(export), doors(urls, files), verdict, state_file(home))


def listeners(broker: Broker) -> dict[str, BrokerUrl]:
    """Where the plane itself comes to operation and enrolment."""
    ways = {"operation": broker.connection, "enrolment": broker.enrolment}
    return {name: way.url for name, way in ways.items() if way}


def state_file(home: Home) -> Path:
    """Where the keeper notes which rules are in force."""
    return home.broker / STATE
