"""Every topic of the wire, in one place. At most 7 slashes each, which every broker and cloud accepts.

A topic is built from validated names only, so no name can add a level or a wildcard.
"""

import hashlib

from skerry_agent.wire.errors import WireError
from skerry_agent.wire.names import check_device_id, check_key, check_model, check_principal

ROOT = "skerry/v1"


def state(device: str) -> str:
    """Retained birth and last will of a device."""
    return f"{ROOT}/d/{check_device_id(device)}/state"


def desired(device: str) -> str:
    """Retained, signed: what the host wants of a device."""
    return f"{ROOT}/d/{check_device_id(device)}/desired"


def reported(device: str) -> str:
    """Retained: what a device says of itself."""
    return f"{ROOT}/d/{check_device_id(device)}/reported"


def command(device: str) -> str:
    """Signed commands to a device; retained until the device has answered."""
    return f"{ROOT}/d/{check_device_id(device)}/command"


def command_result(device: str) -> str:
    """A device's answer to a command."""
    return f"{ROOT}/d/{check_device_id(device)}/command/result"


def shard(device: str) -> str:
    """Two hex digits of the id's hash: several ingest workers split the load by it on any broker."""
    return hashlib.sha256(device.encode()).hexdigest()[:2]


def telemetry(device: str) -> str:
    """Telemetry reports of one device."""
    return f"{ROOT}/t/{shard(check_device_id(device))}/{device}"


def results(device: str, model: str) -> str:
    """What a model has answered, not retained; only where the device's configuration asks for it."""
    return f"{ROOT}/r/{check_device_id(device)}/{check_model(model)}"


def receipt(device: str) -> str:
    """What the host has stored of a device's reports, not retained."""
    return f"{ROOT}/d/{check_device_id(device)}/receipt"


def chunk(sha256: str, index: int) -> str:
    """One retained chunk of a blob."""
    return f"{ROOT}/blob/{sha256}/{index}"


def digests(sha256: str) -> str:
    """The retained list of a blob's chunk digests (see `blobs`)."""
    return f"{ROOT}/blob/{sha256}/digests"


def ask(device: str) -> str:
    """A device's questions for pieces of blobs (see `asking`)."""
    return f"{ROOT}/d/{check_device_id(device)}/ask"


def piece(device: str, sha256: str) -> str:
    """The answers to them that bring one blob, not retained."""
    return f"{ROOT}/d/{check_device_id(device)}/piece/{sha256}"


def probe(plane: str) -> str:
    """What a plane sends to itself, to find out how large messages may be; not retained."""
    return f"{ROOT}/d/{check_device_id(plane)}/probe"


def enroll_request(principal: str, key: str) -> str:
    """A board's request for an identity (see `enrolment`), as the principal of its claim or birth certificate.

    `key` is the first 16 hex digits of the sha256 of the device key's SubjectPublicKeyInfo.
    """
    return f"{ROOT}/enroll/{check_principal(principal)}/{check_key(key)}/csr"


def enroll_answer(principal: str, key: str) -> str:
    """The answer to it, not retained."""
    return f"{ROOT}/enroll/{check_principal(principal)}/{check_key(key)}/cert"


def renew(device: str) -> str:
    """A device's request for a new certificate or the host's time (see `enrolment`)."""
    return f"{ROOT}/d/{check_device_id(device)}/renew"


def renewal(device: str) -> str:
    """The answer to it, not retained."""
    return f"{ROOT}/d/{check_device_id(device)}/cert"


def enrolment_of(topic: str) -> tuple[str, str]:
    """(principal, key) of a topic below `enroll/`; raises `WireError` if it has none."""
    parts = topic.split("/")
    if len(parts) != 6 or parts[2] != "enroll":
        raise WireError(f"topic {topic!r}", [f"a request for enrolment comes on {ALL_ENROLL_REQUESTS}"])
    return check_principal(parts[3]), check_key(parts[4])


def device_of(topic: str) -> str:
    """The device id in a `d/` or `t/` topic; raises `WireError` if the topic has none."""
    parts = topic.split("/")
    return check_device_id(parts[4] if parts[2:3] == ["t"] and len(parts) > 4 else parts[3] if len(parts) > 3 else "")


ALL_STATES = f"{ROOT}/d/+/state"
ALL_REPORTED = f"{ROOT}/d/+/reported"
ALL_DESIRED = f"{ROOT}/d/+/desired"
ALL_COMMANDS = f"{ROOT}/d/+/command"
ALL_COMMAND_RESULTS = f"{ROOT}/d/+/command/result"
ALL_ASKS = f"{ROOT}/d/+/ask"
ALL_TELEMETRY = f"{ROOT}/t/+/+"
ALL_ENROLL_REQUESTS = f"{ROOT}/enroll/+/+/csr"
ALL_RENEWALS = f"{ROOT}/d/+/renew"
