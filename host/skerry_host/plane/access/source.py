"""Reads the access rules out of the registry, with the revocation list of the same moment.

Where the list cannot be signed, because a key is missing or damaged, the rules come with the list of before: they alone
keep out whoever is revoked, and a revocation waits for nothing.
"""

from pathlib import Path

from sqlalchemy.orm import Session

from skerry_host.identity.authority import Authority, KeyPair
from skerry_host.identity.errors import IdentityError
from skerry_host.plane.broker.access import Access
from skerry_host.plane.broker.rules import Rules
from skerry_host.plane.registry.database import Registry
from skerry_host.plane.registry.records import identities


class RuleSource:
    """The rules as they are to be; the list is signed anew only when the registry has changed."""

    def __init__(self, registry: Registry, authority: Path) -> None:
        self._registry, self._authority = registry, authority
        self._list: bytes | None = None

    def version(self) -> int:
        """Changes whenever the rules may have."""
        with self._registry.read() as session:
            return identities.version(session)

    def rules(self, now: float) -> Rules:
        """As of now. Raises `IdentityError` where no list can be signed, nor could be before."""
        with self._registry.read() as session:
            access, serials = access_of(session), identities.revoked_serials(session)
        try:
            self._list = Authority.open(self._authority, now).revocation_list(serials)
        except IdentityError as error:
            if self._list is None:
                raise
            return Rules(access, self._list, str(error))
        return Rules(access, self._list)

    def stand_in(self, device: str, now: float) -> KeyPair:
        """What takes a device's place at the broker. Raises `IdentityError`."""
        return Authority.open(self._authority, now).stand_in(device)


def access_of(session: Session) -> Access:
    """Who is denied, who comes the old way, and who may come in."""
    revoked, version = identities.revoked(session), identities.version(session)
    return Access(revoked, identities.old_way(session), version, identities.members(session) - revoked)
