"""Rows of devices that enrol: claims, identities and a board that waits. No tests here."""

from skerry_host.fleet.device import Device
from skerry_host.identity.decision import Keys
from skerry_host.plane.registry.records import claims, devices, identities
from skerry_host.plane.registry.records.identities import Certificate
from skerry_host.plane.registry.tables import PendingRow

KEY, BIRTH, NEXT = "a" * 64, "b" * 64, "c" * 64
KEYS = Keys(KEY, BIRTH, "0" * 32)


def waiting_board(key="b" * 64):
    said = {"serial": "s", "board": "b", "agent": "0.1", "incarnation": "0" * 32, "nonce": "1" * 32, "csr": b"csr"}
    row = PendingRow(key_sha256=key, code="AAAA-AAAA", claim="@claim-1", **said, first=1.0, last=1.0)
    row.replace = False
    return row


def fill(session):
    """An old device, one that has enrolled, and one whose board has not come; both of claim 1."""
    for name in ("old-1", "new-1", "wait-1"):
        devices.add(session, Device(name, "generic-x86", targets=("cpu",)), 1.0)
    claim = claims.add(session, claims.Wanted("generic-x86", ("lab",), 100.0, 2), 1.0)
    for name in ("new-1", "wait-1"):
        claims.set_claim(session, name, claim.number, f"serial-{name}")
    identities.bind(session, "new-1", KEYS, 2.0)
    for made in (
        ("c1", "@claim-1", "claim", ""),
        ("d1", "new-1", "device", KEY),
        ("b1", "@birth-new-1", "birth", BIRTH),
    ):
        identities.add_certificate(session, Certificate(*made, 90.0, b"pem"))
