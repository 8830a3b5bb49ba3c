"""Reads the access rules out of the registry, with the revocation list of the same moment."""

from pathlib import Path

from sqlalchemy.orm import Session

from skerry_host.identity.authority import Authority, KeyPair
from skerry_host.plane.broker.access import Access
from skerry_host.plane.broker.rules import Rules
from skerry_host.plane.registry.database import Registry
from skerry_host.plane.registry.records import identities


class RuleSource:
    """The rules as they are to be; the list is signed anew only when the registry has changed."""

    def __init__(self, registry: Registry, authority: Path) -> None:
        self._registry, self._authority = registry, authority

    def version(self) -> int:
        """Changes whenever the rules may have."""
        with self._registry.read() as session:
            return identities.version(session)

    def rules(self, now: float) -> Rules:
        """As of now. Raises `IdentityError` where no list can be signed."""
        with self._registry.read() as session:
            access, serials = access_of(session), identities.revoked_serials(session)
        return Rules(access, Authority.open(self._authority, now).revocation_list(serials))

    def stand_in(self, device: str, now: float) -> KeyPair:
        """What takes a device's place at the broker. Raises `IdentityError`."""
        return Authority.open(self._authority, now).stand_in(device)


def access_of(session: Session) -> Access:
    """Who is denied, who comes the old way, and who may come in."""
    revoked, version = identities.revoked(session), identities.version(session)
    return Access(revoked, identities.old_way(session), version, identities.members(session) - revoked)
