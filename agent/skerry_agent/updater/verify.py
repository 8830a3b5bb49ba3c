"""Verifies signed messages and manifests. The only module of the updater that reads them."""

from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from skerry_agent.ports.interfaces import Trust
from skerry_agent.ports.jobs import Payload, Refusal, Verified, VerifyMessage, VerifyMessages
from skerry_agent.trust.key_file import TrustError
from skerry_agent.wire import codec, envelope
from skerry_agent.wire.errors import WireError

if TYPE_CHECKING:
    from skerry_agent.wire.manifest import Release


def verify(job: VerifyMessage, trust: Trust) -> Payload:
    """The payload of a message. Raises `TrustError`, `WireError`."""
    return Payload(trust.verify(job.raw, job.payload_type, job.role))


def verify_all(job: VerifyMessages, trust: Trust) -> Verified:
    """The payload of each message, or why it has none: a bad one says nothing about the others."""
    return Verified(tuple(_answer(message, trust) for message in job.messages))


def _answer(message: VerifyMessage, trust: Trust) -> Payload | Refusal:
    try:
        return verify(message, trust)
    except (TrustError, WireError) as error:
        return Refusal("rejected", error.code, str(error))


def read_manifest(file: str, release: str, trust: Trust) -> "Release":
    """The verified manifest in `file`, which must be that of `release`. Raises `TrustError`, `WireError`, `OSError`."""
    manifest = release_in(Path(file).read_bytes(), trust)
    if manifest.name != release:
        raise WireError("manifest", [f"it is of release {manifest.name}, not {release}"], code="wrong_release")
    return manifest


def release_in(raw: bytes, trust: Trust) -> "Release":
    """The manifest in an envelope that the release key signed. Raises `TrustError`, `WireError`."""
    from skerry_agent.wire.manifest import Release  # noqa: PLC0415 - who verifies a message reads no manifest

    payload = trust.verify(raw, envelope.RELEASE, "release")
    try:
        return codec.decode(payload, Release)
    except WireError:
        from skerry_agent.wire.schemas import NEWEST  # noqa: PLC0415

        schema = codec.decode(payload, _Schema).schema
        if schema is not None and schema > NEWEST:
            issue = f"it has schema {schema}, and this agent reads {NEWEST}: install a newer skerry-agent"
            raise WireError("manifest", [issue], code="unsupported_schema") from None
        raise


class _Schema(Struct, frozen=True):
    """All that is read of a manifest that cannot be read."""

    schema: int | None = None
