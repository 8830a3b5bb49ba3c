"""A host's half of enrolment, in memory: a fleet's authority, claims, records and the director's key. No tests here.

It gives the same key the same device, counts each once, and signs its time, as the enrolment service does; it decides
by `records` (serial to id) and by what a test approves.
"""

import base64
import json
import time
from dataclasses import dataclass, field
from pathlib import Path

from skerry_agent.wire import codec, envelope
from skerry_agent.wire.enrolment import (
    Attest,
    EnrolmentAnswer,
    EnrolmentRequest,
    RenewalAnswer,
    RenewalRequest,
    code_of,
    device_of_birth,
)
from skerry_agent.wire.errors import WireError
from skerry_host.identity.authority import Authority
from skerry_host.identity.csr import read_csr
from tests.kit.updater import Signer

CLAIM = "@claim-7"


@dataclass
class FleetHost:
    """`records`: hardware serial to device. `owners`: key to device. `used`: how often the claim was counted."""

    folder: Path
    now: float = field(default_factory=time.time)
    records: dict[str, str] = field(default_factory=dict)
    approved: dict[str, str] = field(default_factory=dict)
    owners: dict[str, str] = field(default_factory=dict)
    revoked: set[str] = field(default_factory=set)
    replaced: set[str] = field(default_factory=set)
    asked: list[EnrolmentRequest] = field(default_factory=list)
    renewals: list[RenewalRequest] = field(default_factory=list)
    used: int = 0
    attests: bool = True

    def __post_init__(self):
        self.director = Signer()

    @property
    def authority(self) -> Authority:
        return Authority.open(self.folder / "authority", self.now)

    def provision(self, folder: Path, days: float = 7.0) -> Path:
        """What `skerry device claim` puts into an image, but agent.toml."""
        folder.mkdir(parents=True, exist_ok=True)
        pair = self.authority.claim(CLAIM, days)
        (folder / "fleet-ca.pem").write_bytes(self.authority.root_pem)
        (folder / "claim.pem").write_bytes(pair.pem)
        (folder / "claim.key").write_bytes(pair.key_pem)
        (folder / "claim.key").chmod(0o600)
        keys = {
            role: [base64.b64encode(self.director.public.public_bytes_raw()).decode()]
            for role in ("release", "director")
        }
        (folder / "trust.json").write_text(json.dumps(keys))
        return folder

    def attest(self, device: str, nonce: str) -> bytes | None:
        statement = codec.encode(Attest(device, nonce, self.now))
        return self.director.envelope(envelope.ATTEST, statement) if self.attests else None

    def answer(self, principal: str, request: EnrolmentRequest) -> EnrolmentAnswer:
        """What the enrolment service would answer."""
        self.asked.append(request)
        key = read_csr(request.csr).key_sha256
        device = self._device_of(principal, key, request)
        attest = self.attest(device or "", request.nonce)
        if device in self.revoked:
            return EnrolmentAnswer("refused", code="revoked", detail="this device was revoked", attest=attest)
        if key in self.replaced:
            return EnrolmentAnswer("refused", code="key_revoked", detail="this key was replaced", attest=attest)
        if device is None:
            return EnrolmentAnswer("pending", attest=attest)
        if key not in self.owners:
            self.owners[key] = device
            self.used += principal == CLAIM
        birth = self.authority.birth(request.birth_csr, device).pem if request.birth_csr is not None else None
        return EnrolmentAnswer("approved", device, self.authority.device(request.csr, device).pem, birth, attest=attest)

    def _device_of(self, principal: str, key: str, request: EnrolmentRequest) -> str | None:
        try:
            return device_of_birth(principal)
        except WireError:
            return self.owners.get(key) or self.records.get(request.serial) or self.approved.get(code_of(key))

    def renew(self, device: str, request: RenewalRequest) -> RenewalAnswer:
        """What the renewal service would answer."""
        self.renewals.append(request)
        attest = self.attest(device, request.nonce)
        if request.csr is not None and request.proof is None:
            return RenewalAnswer(request.nonce, code="proof", detail="no key that is known has signed for it")
        certificate = self.authority.device(request.csr, device).pem if request.csr is not None else None
        return RenewalAnswer(request.nonce, certificate, attest=attest)
