"""What lies on the disk of a device's identity: read back, chosen, tidied; and the state folder's own name."""

import os
import stat

import pytest

from skerry_agent.identity.recorded import recorded_identity
from skerry_agent.state.disk import write_private, write_record
from skerry_agent.state.identity import (
    Identity,
    IdentityStore,
    drop_claim,
    incarnation_of,
    make_private,
    read_incarnation,
)
from skerry_agent.wire import codec

NAME = "a1" * 16


def put(state, serial, ends=2.0, device="edge-17"):
    folder = state / "identities" / serial
    make_private(folder)
    identity = Identity(device, NAME, serial, 1.0, ends)
    write_private(folder / "identity.json", codec.encode(identity))
    write_record(folder / "identity.sealed", identity)
    for name in ("device.key", "device.pem", "birth.key", "birth.pem"):
        write_private(folder / name, f"{serial} {name}".encode())
    return IdentityStore(state).stored(serial)


def test_the_identity_in_use_is_the_one_that_the_link_names_and_a_newer_one_beside_it_is_to_be_tried(tmp_path):
    store = IdentityStore(tmp_path)
    assert (store.current(), store.renewed()) == (None, None)
    first, second = put(tmp_path, "aa"), put(tmp_path, "bb", 3.0)
    assert store.renewed() == second
    store.adopt(first)
    put(tmp_path, "bb", 3.0)
    assert (store.current(), store.renewed()) == (first, second)
    store.adopt(second)
    assert (store.current(), store.renewed()) == (second, None)
    assert [path.name for path in (tmp_path / "identities").iterdir()] == ["bb"]


@pytest.mark.parametrize("damaged", ["identity.json", "identity.sealed"])
@pytest.mark.parametrize("how", ["gone", "flipped"])
def test_damage_in_one_of_the_two_records_is_of_no_consequence(tmp_path, damaged, how):
    stored = put(tmp_path, "aa")
    IdentityStore(tmp_path).adopt(stored)
    path = stored.folder / damaged
    if how == "gone":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes().replace(b"edge-17", b"edge-16") + b" ")
    found = IdentityStore(tmp_path).current()
    assert found is not None
    assert found.identity.device == "edge-17"


def test_an_identity_that_cannot_be_read_is_said_and_not_taken_for_none(tmp_path):
    stored = put(tmp_path, "aa")
    store = IdentityStore(tmp_path)
    store.adopt(stored)
    for name in ("identity.json", "identity.sealed"):
        (stored.folder / name).write_bytes(b"{")
    assert store.current() is None
    assert "cannot be used" in store.issue
    assert "enrol the device again" in store.issue
    assert recorded_identity(tmp_path, enrols=False).state == "none"


def test_the_request_of_the_identity_in_use_is_tidied_away_and_any_other_stays(tmp_path):
    stored = put(tmp_path, "aa")
    store = IdentityStore(tmp_path)
    store.adopt(stored)
    for kind, key in (("claim", b"aa device.key"), ("birth", b"another"), ("renewal", None)):
        make_private(store.request(kind))
        if key is not None:
            write_private(store.request(kind) / "device.key", key)
    make_private(store.folder / ".new")
    store.tidy(stored)
    assert sorted(path.name for path in store.folder.iterdir()) == [".request-birth", "aa"]


def test_a_state_folder_has_one_name_for_ever(tmp_path):
    assert read_incarnation(tmp_path) is None
    name = incarnation_of(tmp_path)
    assert (len(name), incarnation_of(tmp_path), read_incarnation(tmp_path)) == (32, name, name)
    assert stat.S_IMODE((tmp_path / "incarnation").stat().st_mode) == 0o600


@pytest.mark.parametrize("damage", [b"", b"\xff", b"a1", None])
def test_a_damaged_name_is_taken_again_from_the_identity_that_was_asked_for_with_it(tmp_path, damage):
    IdentityStore(tmp_path).adopt(put(tmp_path, "aa"))
    if damage is not None:
        (tmp_path / "incarnation").write_bytes(damage)
    assert read_incarnation(tmp_path) == NAME
    assert incarnation_of(tmp_path) == NAME
    assert (tmp_path / "incarnation").read_text() == NAME + "\n"


def test_private_files_are_private_whatever_the_umask(tmp_path):
    before = os.umask(0)
    try:
        write_private(tmp_path / "key", b"secret")
        make_private(tmp_path / "folder")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "folder").stat().st_mode) == 0o700


def test_a_claim_is_removed_and_one_that_cannot_be_is_no_failure(tmp_path):
    (tmp_path / "claim.key").write_text("k")
    assert drop_claim((tmp_path / "claim.key", tmp_path / "claim.pem"))
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "claim.key").mkdir()
    assert not drop_claim((tmp_path / "claim.key",))
