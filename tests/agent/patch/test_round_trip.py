"""A patch made on the host makes the new file on the device, or says why it does not."""

from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skerry_agent.patch import PatchError, apply, read_header
from skerry_agent.patch.container import CODECS
from tests.kit.patch_models import patch_of

OLD, NEW = b"old bytes " * 300, b"new bytes " * 310


def applied(old: bytes, patch: bytes, limit: int = 1 << 20) -> bytes:
    out = bytearray()
    apply(old, patch, out.extend, max_new_bytes=limit)
    return bytes(out)


def refusal(old: bytes, patch: bytes, limit: int = 1 << 20) -> str:
    with pytest.raises(PatchError) as caught:
        applied(old, patch, limit)
    return caught.value.code


@given(st.binary(max_size=400), st.binary(max_size=400))
@settings(max_examples=60, deadline=None)
def test_any_two_files(old: bytes, new: bytes) -> None:
    assert applied(old, patch_of(old, new).data) == new


def test_header_tells_sizes_digests_and_codec() -> None:
    patch = patch_of(OLD, NEW)
    header = read_header(patch.data)
    assert (header.old_size, header.new_size, header.codec) == (len(OLD), len(NEW), patch.codec)


def test_refusals() -> None:
    made = patch_of(OLD, NEW)
    assert made.fallback
    patch = made.fallback.data
    assert refusal(NEW, patch) == "wrong_base"
    assert refusal(OLD[:-1] + b"!", patch) == "wrong_base"
    assert refusal(OLD, patch, len(NEW) - 1) == "too_large"
    assert refusal(OLD, patch[:3] + b"\x03" + patch[4:]) == "format_version"
    assert refusal(OLD, patch + b"x") == "trailing_bytes"
    assert refusal(OLD, b"PK" + patch) == "not_a_patch"
    assert refusal(OLD, patch[:40]) == "damaged"
    forged = patch[:37] + bytes(32) + patch[69:]
    assert refusal(OLD, forged) == "wrong_result"
    assert refusal(OLD, patch[:4] + bytes([CODECS.index("typed")]) + patch[5:]) == "format_version"


def test_refusals_of_version_2() -> None:
    patch = patch_of(OLD, NEW).data
    assert patch[3] == 2
    assert refusal(NEW, patch) == "wrong_base"
    assert refusal(OLD, patch[:4] + bytes([len(CODECS)]) + patch[5:]) == "format_version"
    assert refusal(OLD, patch + b"x") == "trailing_bytes"
    assert refusal(OLD, patch[:15]) == "damaged"
    assert refusal(OLD, patch[:13] + bytes(8) + patch[21:]) == "wrong_result"
    assert refusal(OLD, patch[:25] + b"\xff" + patch[26:]) == "damaged"


def test_whoever_knows_the_digests_can_compare_them_in_full() -> None:
    header = apply(OLD, patch_of(OLD, NEW).data, lambda _piece: None, max_new_bytes=1 << 20)
    assert (header.old_sha256, header.new_sha256) == (sha256(OLD).hexdigest(), sha256(NEW).hexdigest())


def test_no_change_costs_next_to_nothing() -> None:
    assert len(patch_of(OLD, OLD).data) <= 48
