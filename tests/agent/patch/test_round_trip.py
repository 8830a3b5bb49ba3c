"""A patch made on the host makes the new file on the device, or says why it does not."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skerry_agent.patch import PatchError, apply, read_header
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
    patch = patch_of(OLD, NEW).data
    assert refusal(NEW, patch) == "wrong_base"
    assert refusal(OLD[:-1] + b"!", patch) == "wrong_base"
    assert refusal(OLD, patch, len(NEW) - 1) == "too_large"
    assert refusal(OLD, patch[:3] + b"\x02" + patch[4:]) == "format_version"
    assert refusal(OLD, patch + b"x") == "trailing_bytes"
    assert refusal(OLD, b"PK" + patch) == "not_a_patch"
    assert refusal(OLD, patch[:40]) == "damaged"
    forged = patch[:37] + bytes(32) + patch[69:]
    assert refusal(OLD, forged) == "wrong_result"
