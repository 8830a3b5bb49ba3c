"""A real device with a factory release: when all else is damaged it serves, without a network, within two seconds."""

import json
import os
import shutil
import time

import pytest

from tests.kit.commands import skerry
from tests.kit.waiting import eventually
from tests.system.fleet import FIRST, NOWHERE, SECOND, Device, provision

pytestmark = pytest.mark.system


@pytest.fixture(scope="session")
def sticks(built, tmp_path_factory):
    folder = tmp_path_factory.mktemp("factory-sticks")
    for release in (FIRST, SECOND):
        skerry(built, "release", "export", release, "--target", "cpu", "-o", str(folder / release))
    return folder


@pytest.fixture
def fresh(home, tmp_path):
    """A device as it leaves the factory, before anything was put on it."""
    made = provision(home, "made-01", NOWHERE, tmp_path / "device")
    yield made
    made.kill()


@pytest.fixture
def made(fresh, sticks):
    """With a factory release, as an SD card's image ships it."""
    shutil.copytree(sticks / FIRST, fresh.state / "factory" / "fashion")
    return fresh


def flip_all(device: Device, pattern: str) -> None:
    """One bit in every file that fits."""
    for path in device.state.glob(pattern):
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 4
        path.write_bytes(data)


def issues(device: Device) -> str:
    return " | ".join(device.status()["issues"])


def test_a_first_boot_serves_it_without_a_network(made):
    made.start()
    made.await_serving(FIRST)
    assert f"fashion serves its factory release {FIRST}: no_other_release" in issues(made)
    assert f"factory release {FIRST}" in made.command("status").stdout
    assert "verified" in made.command("doctor").stdout


@pytest.mark.parametrize("damage", ["bundles/*/*", "models/*/journal.json*", "m*/*/j*.json*"])
def test_it_serves_when_everything_else_is_damaged(made, sticks, damage, record_property):
    assert made.command("install", str(sticks / SECOND)).returncode == 0
    assert made.slots()[0] == SECOND
    flip_all(made, damage)
    began = time.monotonic()
    made.start()
    made.await_serving(FIRST)
    record_property("factory_s", round(time.monotonic() - began, 2))
    assert FIRST in issues(made)
    assert made.command("install", str(sticks / SECOND)).returncode == 0
    made.await_serving(SECOND)
    assert "factory" not in issues(made)


def test_damaged_in_service_it_serves_at_once(made, sticks):
    """The runner crashes, its bundle has rotted meanwhile: from the crash to the first answer two seconds at most."""
    assert made.command("install", str(sticks / SECOND)).returncode == 0
    made.start()
    pid = made.await_serving(SECOND)["pids"]["fashion"]
    record = made.record()
    shutil.rmtree(made.state / "bundles" / record.slots.current.bundle)
    os.kill(pid, 9)
    began = time.monotonic()
    eventually(lambda: (made.status() or {})["models"]["fashion"]["serving"], "it serves", 10.0)
    print(f"served again {time.monotonic() - began:.2f} s after the crash")
    made.await_serving(FIRST)


@pytest.mark.parametrize("running", [True, False])
def test_rollback_to_it_by_hand(made, sticks, running):
    assert made.command("install", str(sticks / SECOND)).returncode == 0
    if running:
        made.start()
        made.await_serving(SECOND)
    done = made.command("rollback", "--factory")
    assert done.returncode == 0, done.stderr
    if running:
        made.await_serving(FIRST)
    assert made.slots() == (FIRST, None)


def test_install_keeps_a_factory_release_and_disturbs_nothing(fresh, sticks):
    done = fresh.command("install", "--factory", str(sticks / FIRST), "--json")
    assert done.returncode == 0, done.stderr
    assert FIRST in json.loads(done.stdout)["detail"]
    assert not (fresh.state / "models").exists()
    fresh.start()
    fresh.await_serving(FIRST)


def test_a_forged_one_is_refused_and_never_serves(fresh, sticks, tmp_path):
    stick = shutil.copytree(sticks / FIRST, tmp_path / "stick")
    envelope = json.loads((stick / "release.json").read_bytes())
    envelope["signatures"][0]["sig"] = "A" * 88
    (stick / "release.json").write_text(json.dumps(envelope))
    done = fresh.command("install", "--factory", str(stick))
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    shutil.copytree(stick, fresh.state / "factory" / "fashion")
    fresh.start()
    eventually(lambda: fresh.status() is not None, "it runs", 20.0)
    eventually(lambda: "cannot serve: untrusted" in issues(fresh), "it says so", 20.0)
    assert fresh.status()["models"]["fashion"]["current"] is None


def test_without_one_a_device_says_so(fresh):
    fresh.start()
    eventually(lambda: fresh.status() is not None, "it runs", 20.0)
    assert "no factory release to fall back to" in fresh.command("status").stdout
    assert fresh.command("rollback", "--factory", "fashion").returncode == 1
