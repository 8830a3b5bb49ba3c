"""What `skerry broker status` says: tried out by the canary now, not remembered. Changes nothing."""

import time
from typing import Literal

from msgspec import Struct
from sqlalchemy.orm import Session

from skerry_agent.wire.broker_url import parse
from skerry_agent.wire.names import CLAIM_PREFIX
from skerry_host.home import Home
from skerry_host.plane.access.exported import exported
from skerry_host.plane.access.keeper import State, read_state
from skerry_host.plane.access.serving import doors, own_files, state_file
from skerry_host.plane.access.source import access_of
from skerry_host.plane.broker.canary import Verdict, verdict
from skerry_host.plane.registry.database import Registry
from skerry_host.plane.registry.records import claims, identities
from skerry_host.plane.registry.records.identities import RETIRED
from skerry_host.plane.views.words import ago

PATIENCE_S = 2.0
AWAIT_S = 8.0
"""Longer than a broker takes that is well."""


class Listener(Struct, frozen=True):
    """One of the broker's, and whether the newest rules are in force there."""

    name: str
    url: str
    verdict: Verdict


class Denied(Struct, frozen=True):
    """A name that is not heard any more; `since` in seconds since 1970."""

    name: str
    since: float | None
    reason: str


class Status(Struct, frozen=True):
    """`wanted` and `former` are labels of rules; `since` when the newest came into force, if they have."""

    security: Literal["mtls", "plain", "external"]
    line: str
    holds: bool
    wanted: str
    former: str
    since: float | None
    listeners: list[Listener]
    denied: list[Denied]
    old_way: list[str]


class Where(Struct, frozen=True):
    """The serving broker: how it was started, and the URL of each listener that the canary is to come to."""

    security: Literal["mtls", "plain", "external"]
    urls: dict[str, str]


def look(home: Home, registry: Registry, where: Where) -> Status:
    """Connects to each listener."""
    with registry.read() as session:
        access, denied = access_of(session), _denied(session)
    noted = read_state(state_file(home)) or State("")
    ours = where.security == "mtls" or (where.security == "external" and exported(home) is not None)
    found = _tried(home, where, access.label) if ours else []
    holds = bool(found) and all(each.verdict == "in_force" for each in found)
    newest = holds and noted.in_force == access.label
    since = noted.since if newest else None
    line = _line(where, access.label, found, since)
    if newest and noted.problem:
        line += f", but without the revocation list: {noted.problem}"
    old_way = sorted(access.old_way)
    return Status(where.security, line, holds, access.label, noted.in_force, since, found, denied, old_way)


def brought_in(home: Home, registry: Registry, security: str, patience_s: float = AWAIT_S) -> str:
    """What to say after somebody was denied, of a plane that runs: whether the broker does it by now."""
    if security == "plain":
        return "the broker was started with --plain and denies nobody: only the plane does"
    if security == "external" and exported(home) is None:
        return "the broker's access rules are not Skerry's: deny the same there"
    ends = time.monotonic() + patience_s
    while True:
        with registry.read() as session:
            label = access_of(session).label
        noted = read_state(state_file(home))
        if noted is not None and noted.in_force == label:
            return "in force at the broker"
        if time.monotonic() > ends:
            return "not yet in force at the broker: see `skerry broker status`"
        time.sleep(0.1)


def _tried(home: Home, where: Where, label: str) -> list[Listener]:
    each = doors({name: parse(url) for name, url in where.urls.items()}, own_files(home, time.time()))
    return [Listener(door.name, str(door.connection.url), verdict(door, label, PATIENCE_S)) for door in each]


def _line(where: Where, label: str, found: list[Listener], since: float | None) -> str:
    if where.security == "plain":
        return "the broker was started with --plain: it knows nobody, and denies nobody"
    if not found:
        return "the broker's access rules are not Skerry's: `skerry broker export` writes some"
    if all(each.verdict == "in_force" for each in found):
        return f"access rules {label} are in force" + (f", brought in {ago(since)}" if since else "")
    if all(each.verdict == "unreachable" for each in found):
        return "no listener lets the canary in: is `skerry serve` running?"
    missing = ", ".join(each.name for each in found if each.verdict != "in_force")
    return f"access rules {label} are not yet in force ({missing})"


def _denied(session: Session) -> list[Denied]:
    """Devices, and claims that were closed; a device's birth certificate goes without saying."""
    rows = []
    for name in sorted(identities.revoked(session)):
        if name.startswith(CLAIM_PREFIX):
            claim = claims.find(session, name)
            rows.append(Denied(name, claim.closed if claim else None, "claim closed"))
        elif not name.startswith("@"):
            known = identities.find(session, name)
            since = (known.revoked or known.retired) if known else None
            rows.append(Denied(name, since, (known.reason or known.word) if known else RETIRED))
    return rows
