"""Gives a device its certificates, and notes each in the registry; whoever asks again soon gets the same one."""

from collections.abc import Callable
from pathlib import Path

from sqlalchemy.orm import Session

from skerry_agent.wire.enrolment import birth_name
from skerry_host.identity.authority import Authority, Issued
from skerry_host.identity.profile import BIRTH_DAYS, DAY_S, DEVICE_DAYS
from skerry_host.plane.registry.records import identities
from skerry_host.plane.registry.records.identities import Certificate

MOST_LOOKED_AT = 64
"""Certificates of one principal that are looked at; no device is given so many that can be used."""

Issue = Callable[[bytes, str], Issued]


class Certificates:
    """Issues by the authority in a folder, as of one moment. Raises `IdentityError` where that cannot be used."""

    def __init__(self, folder: Path, now: float) -> None:
        self._authority = Authority.open(folder, now)
        self._now = now

    def device(self, session: Session, device: str, key_sha256: str, csr: bytes) -> bytes:
        """PEM of a device's certificate for this key: the one it has while more than half of its life is left."""
        return self._newest(session, device, key_sha256, DEVICE_DAYS) or self._issue(
            session, ("device", device, device), self._authority.device, csr
        )

    def birth(self, session: Session, device: str, key_sha256: str, csr: bytes) -> bytes:
        """PEM of a device's birth certificate, likewise."""
        name = birth_name(device)
        return self._newest(session, name, key_sha256, BIRTH_DAYS) or self._issue(
            session, ("birth", name, device), self._authority.birth, csr
        )

    def _newest(self, session: Session, principal: str, key_sha256: str, days: float) -> bytes | None:
        """One that is valid from the future on was given while this host's clock was ahead, and is of no use."""
        living = identities.living_certificates(session, principal, self._now, MOST_LOOKED_AT)
        found = (each for each in living if days / 2 <= (each.not_after - self._now) / DAY_S <= days)
        return next((each.pem for each in found if each.key_sha256 == key_sha256), None)

    def _issue(self, session: Session, names: tuple[str, str, str], issue: Issue, csr: bytes) -> bytes:
        kind, principal, device = names
        made = issue(csr, device)
        row = Certificate(made.serial, principal, kind, made.key_sha256, made.not_after, made.pem)
        identities.add_certificate(session, row)
        return made.pem
