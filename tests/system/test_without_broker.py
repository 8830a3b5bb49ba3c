"""A device without a network: install from a folder, rollback, status and doctor, with and without a running agent."""

import json
import os
import shutil
import signal
import socket
from pathlib import Path

import pytest

from tests.kit.commands import skerry
from tests.kit.waiting import eventually
from tests.system.fleet import BAD, FIRST, NOWHERE, SECOND, Device, provision

pytestmark = pytest.mark.system


@pytest.fixture
def alone(home, installed, tmp_path):
    """A device that holds the first release and whose broker does not answer; no agent runs."""
    made = provision(home, "lone-01", NOWHERE, tmp_path / "device")
    shutil.copytree(installed, made.state, ignore=shutil.ignore_patterns("*.sock", "ports.json"))
    yield made
    made.kill()


@pytest.fixture(params=["running", "not running"])
def either(alone, request) -> Device:
    """The device with and without its agent."""
    if request.param == "running":
        alone.start()
        alone.await_serving(FIRST)
    return alone


@pytest.fixture(scope="session")
def sticks(built, tmp_path_factory):
    """Folders with the later releases, in full and as patches."""
    folder = tmp_path_factory.mktemp("sticks")
    for release in (SECOND, BAD):
        skerry(built, "release", "export", release, "--target", "cpu", "-o", str(folder / release))
    skerry(built, "release", "export", SECOND, "--target", "cpu", "-o", str(folder / "patches"), "--only-patches")
    return folder


@pytest.fixture
def stick(sticks, tmp_path):
    """A stick with the second release, to be spoiled."""
    return shutil.copytree(sticks / SECOND, tmp_path / "stick")


def test_install_from_a_stick_by_patch(either, sticks):
    done = either.command("install", str(sticks / (SECOND if either.process else "patches")), "--json")
    assert done.returncode == 0, done.stderr + either.tail()
    report = json.loads(done.stdout)
    assert (report["outcome"], report["transfer"]) == ("succeeded", "patch")
    assert either.slots() == (SECOND, FIRST)
    assert not list((either.state / "blobs").iterdir())


def test_a_rollback_to_a_damaged_release_fails_and_the_good_one_goes_on(either, sticks):
    assert either.command("install", str(sticks / SECOND)).returncode == 0
    model = next((either.state / "bundles" / either.record().slots.previous.bundle).glob("*.tflite"))
    model.write_bytes(bytes(model.stat().st_size))
    done = either.command("rollback")
    assert (done.returncode, done.stdout) == (1, "")
    assert f"did not roll back to {FIRST}" in done.stderr
    assert either.slots() == (SECOND, None)
    if either.process:
        assert f"stays at {SECOND}" in either.await_serving(SECOND)["issues"][0]


@pytest.mark.parametrize("name", ["golden.npz", "labels.txt", "quality.json"])
def test_the_only_release_serves_although_a_bit_flipped_beside_its_model(alone, name):
    """Of its golden file, that left the device `not serving`; labels and quality are guarded here, and never did."""
    folder = next((alone.state / "bundles").iterdir())
    path = folder / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)
    alone.start()
    alone.await_serving(FIRST)
    if name == "golden.npz":
        eventually(lambda: "golden_damaged" in str(alone.status()["issues"]), f"{name} is an issue")


def test_a_client_that_goes_away_ends_neither_the_agent_nor_its_door(alone):
    alone.start()
    alone.await_serving(FIRST)
    alone.process.send_signal(signal.SIGSTOP)
    folder = os.open(alone.state, os.O_RDONLY)
    for _ in range(3):
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(f"/proc/self/fd/{folder}/agent.sock")
            client.sendall(b'{"type":"status"}\n')
    os.close(folder)
    alone.process.send_signal(signal.SIGCONT)
    alone.await_serving(FIRST)
    assert alone.process.poll() is None


def test_a_supervisor_that_hangs_is_not_called_absent(alone):
    alone.start()
    alone.await_serving(FIRST)
    alone.process.send_signal(signal.SIGSTOP)
    for command in ("status", "rollback", "doctor"):
        done = alone.command(command)
        assert done.returncode == 1
        assert "does not answer" in done.stdout + done.stderr
        assert "no agent runs" not in done.stderr
    alone.process.send_signal(signal.SIGCONT)
    alone.await_serving(FIRST)


def test_install_in_full_on_a_device_that_has_nothing(home, sticks, tmp_path):
    device = provision(home, "lone-02", NOWHERE, tmp_path / "device")
    assert device.command("install", str(sticks / "patches")).returncode == 1
    done = device.command("install", str(sticks / SECOND))
    assert done.returncode == 0, done.stderr
    assert "succeeded" in done.stdout
    assert device.record().slots.current.release == SECOND


def test_a_stick_with_a_bad_release_is_rolled_back(alone, sticks):
    done = alone.command("install", str(sticks / BAD))
    assert done.returncode == 1
    assert "rolled_back (latency_over_budget)" in done.stdout
    assert alone.slots() == (FIRST, None)


def test_a_forged_manifest_is_refused_as_over_mqtt(alone, stick):
    envelope = json.loads((stick / "release.json").read_bytes())
    envelope["signatures"][0]["sig"] = "A" * 88
    (stick / "release.json").write_text(json.dumps(envelope))
    done = alone.command("install", str(stick))
    assert done.returncode == 1
    assert "rejected" in done.stdout
    assert alone.slots() == (FIRST, None)


def test_a_damaged_file_is_refused(alone, stick):
    for path in stick.iterdir():
        if path.name != "release.json":
            path.write_bytes(bytes(path.stat().st_size))
    report = refused(alone, stick)
    assert report["reason"] == "damaged_file"
    named = report["detail"].partition(" is damaged")[0]
    assert Path(named).parent == stick
    assert Path(named).exists()


def test_a_missing_file_is_named(alone, stick):
    for path in stick.iterdir():
        if path.name != "release.json":
            path.unlink()
    report = refused(alone, stick)
    assert report["reason"] == "missing_file"
    assert str(stick) in report["detail"]


def refused(device, stick):
    """How an install ends that changes nothing."""
    done = device.command("install", str(stick), "--json")
    assert done.returncode == 1
    assert device.slots() == (FIRST, None)
    return json.loads(done.stdout)


@pytest.mark.parametrize("spoil", ["gone", "text", "empty"])
def test_a_folder_that_is_no_export_is_the_users_mistake(alone, stick, spoil):
    if spoil == "gone":
        (stick / "release.json").unlink()
    else:
        (stick / "release.json").write_text("" if spoil == "empty" else "hello")
    done = alone.command("install", str(stick))
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1


def test_a_local_install_survives_a_restart(alone, sticks):
    """The host's older order, still on the device, is not taken up again."""
    assert alone.command("install", str(sticks / SECOND)).returncode == 0
    alone.start()
    alone.await_serving(SECOND)


def test_rollback_without_a_network(either, sticks):
    assert either.command("install", str(sticks / SECOND)).returncode == 0
    done = either.command("rollback")
    assert done.returncode == 0, done.stderr
    if either.process:
        either.await_serving(FIRST)
    assert either.slots() == (FIRST, None)


def test_status_without_an_agent_tells_what_the_journals_hold(alone):
    done = alone.command("status")
    assert done.returncode == 1
    assert "not running" in done.stdout
    assert FIRST in done.stdout
    assert json.loads(alone.command("status", "--json").stdout)["running"] is False


def checks(device, *, environment=None):
    done = device.command("doctor", "--json")
    found = {check["check"]: check for check in json.loads(done.stdout)}
    return done.returncode, found


def test_doctor_names_the_broker_that_does_not_answer(either):
    code, found = checks(either)
    assert code == 1
    assert [name for name, check in found.items() if not check["ok"]] == ["broker"]
    assert "nothing accepts connections at the broker's address; start the broker" in found["broker"]["detail"]
    if either.process:
        assert found["agent"]["detail"] == f"running; its log: {either.folder / 'agent.log'}"
        assert "offline: nothing accepts connections" in either.command("status").stdout
    lines = either.command("doctor").stdout.splitlines()
    assert len(lines) == len(found)


def test_doctor_finds_nothing_on_a_healthy_device(running):
    code, found = checks(running)
    assert code == 0, found


def test_doctor_names_a_runtime_that_cannot_load(alone):
    alone.config.write_text(alone.config.read_text().replace('engine = "litert"', 'engine = "tflite_runtime"'))
    _, found = checks(alone)
    assert not found["runtime tflite_runtime"]["ok"]
    assert "tflite_runtime" in found["runtime tflite_runtime"]["detail"]


def test_doctor_names_keys_and_journals_that_are_damaged(alone):
    (alone.folder / "trust.json").write_text("{")
    alone.journal.write_bytes(b"x" + alone.journal.read_bytes()[1:])
    _, found = checks(alone)
    assert not found["trust"]["ok"]
    assert not found["journal"]["ok"]


@pytest.mark.skipif(os.geteuid() != 0, reason="a small file system can be mounted by root only")
def test_doctor_names_a_full_disk(alone, small_disk):
    text = alone.config.read_text()
    assert 'state_dir = "state"' in text
    alone.config.write_text(text.replace('state_dir = "state"', f'state_dir = "{small_disk}"'))
    _, found = checks(alone)
    assert not found["disk"]["ok"]
    assert "MB" in found["disk"]["detail"]


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 1 MB."""
    import subprocess

    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(folder)], check=False)
    if mounted.returncode:
        pytest.skip("no file system may be mounted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)
