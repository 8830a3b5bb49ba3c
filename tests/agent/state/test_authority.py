"""The pinned authority has a backup copy: neither a flipped bit nor a lost file cuts a device off from its fleet."""

import os
import time

import pytest

from skerry_agent.state.authority import usable_authority
from skerry_host.identity.authority import Authority


@pytest.fixture
def pinned(tmp_path):
    path = tmp_path / "fleet-ca.pem"
    path.write_bytes(Authority.open(tmp_path / "identity", time.time()).root_pem)
    (tmp_path / "state").mkdir()
    return path


def gone(path):
    path.unlink()


def cut(path):
    path.write_bytes(path.read_bytes()[:200])


def flipped(path):
    """A bit, in the certificate's signature: it can be read still, and signs nothing that it did."""
    about, raw = path.stat(), path.read_bytes()
    at = raw.rindex(b"-----END") - 20
    path.write_bytes(raw[:at] + (b"A" if raw[at : at + 1] != b"A" else b"B") + raw[at + 1 :])
    os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns))


@pytest.mark.parametrize("damage", [gone, cut, flipped])
def test_a_damaged_authority_is_replaced_by_its_copy_and_said(pinned, damage):
    state, content = pinned.parent / "state", pinned.read_bytes()
    assert usable_authority(pinned, state) == (pinned, None)
    damage(pinned)
    used, issue = usable_authority(pinned, state)
    assert used.read_bytes() == content
    assert str(pinned) in issue
    assert "backup copy is used" in issue


def test_a_new_authority_that_somebody_has_put_there_is_used(pinned, tmp_path):
    state = pinned.parent / "state"
    usable_authority(pinned, state)
    pinned.write_bytes(Authority.open(tmp_path / "other", time.time()).root_pem)
    os.utime(pinned, (1.0, 1.0))
    assert usable_authority(pinned, state) == (pinned, None)


def test_without_a_copy_the_link_says_what_is_wrong(tmp_path):
    (tmp_path / "fleet-ca.pem").write_text("no certificate")
    assert usable_authority(tmp_path / "fleet-ca.pem", tmp_path) == (tmp_path / "fleet-ca.pem", None)
