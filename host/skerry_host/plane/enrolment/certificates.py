"""Gives a device its certificates, and notes each in the registry; whoever asks again soon gets the same one."""

from collections.abc import Callable
from pathlib import Path

from sqlalchemy.orm import Session

from skerry_agent.wire.enrolment import birth_name
from skerry_host.identity.authority import Authority, Issued
from skerry_host.identity.profile import BIRTH_DAYS, DAY_S, DEVICE_DAYS
from skerry_host.plane.registry.records import identities
from skerry_host.plane.registry.records.identities import Certificate

Issue = Callable[[bytes, str], Issued]


class Certificates:
    """Issues by the authority in a folder, as of one moment. Raises `IdentityError` where that cannot be used."""

    def __init__(self, folder: Path, now: float) -> None:
        self._authority = Authority.open(folder, now)
        self._now = now

    def device(self, session: Session, device: str, key_sha256: str, csr: bytes) -> bytes:
        """PEM of a device's certificate for this key: the one it has while more than half of its life is left."""
        least = self._now + DEVICE_DAYS * DAY_S / 2
        return self._newest(session, device, key_sha256, least) or self._issue(
            session, ("device", device, device), self._authority.device, csr
        )

    def birth(self, session: Session, device: str, key_sha256: str, csr: bytes) -> bytes:
        """PEM of a device's birth certificate, likewise."""
        least = self._now + BIRTH_DAYS * DAY_S / 2
        name = birth_name(device)
        return self._newest(session, name, key_sha256, least) or self._issue(
            session, ("birth", name, device), self._authority.birth, csr
        )

    def _newest(self, session: Session, principal: str, key_sha256: str, least: float) -> bytes | None:
        known = identities.newest_certificate(session, principal, key_sha256)
        return known.pem if known is not None and known.not_after >= least else None

    def _issue(self, session: Session, names: tuple[str, str, str], issue: Issue, csr: bytes) -> bytes:
        kind, principal, device = names
        made = issue(csr, device)
        row = Certificate(made.serial, principal, kind, made.key_sha256, made.not_after, made.pem)
        identities.add_certificate(session, row)
        return made.pem
