"""What is signed, byte by byte: host and device must make the same of it, today's and those of years ago."""

import msgspec
import pytest

from skerry_agent.wire.envelope import ATTEST, COMMAND, DESIRED, RELEASE, Envelope, Signature, signing_bytes


def test_the_bytes_that_are_signed_are_those_of_the_standard():
    """The example of DSSE's protocol.md."""
    signed = signing_bytes("http://example.com/HelloWorld", b"hello world")
    assert signed == b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"


def test_the_types_of_what_is_signed_never_change():
    """A device that is away for a year still knows them."""
    assert {DESIRED, COMMAND, RELEASE, ATTEST} == {
        "application/vnd.skerry.attest.v1+json",
        "application/vnd.skerry.desired.v1+json",
        "application/vnd.skerry.command.v1+json",
        "application/vnd.skerry.release.v1+json",
    }
    assert "desired" in DESIRED
    assert "command" in COMMAND


@pytest.mark.parametrize(("count", "fits"), [(0, False), (1, True), (8, True), (9, False)])
def test_an_envelope_has_one_signature_to_eight(count: int, fits: bool):
    raw = msgspec.json.encode(Envelope(DESIRED, b"{}", (Signature("f", b"s"),) * count))
    if fits:
        assert len(msgspec.json.decode(raw, type=Envelope).signatures) == count
        return
    with pytest.raises(msgspec.ValidationError, match="signatures"):
        msgspec.json.decode(raw, type=Envelope)
