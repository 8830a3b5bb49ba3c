"""A real agent on a disk that has become read-only, or is full: it serves, says what is wrong, and recovers."""

import shutil
import subprocess
import urllib.request

import pytest

from skerry_host.plane.broker.broker import free_port
from tests.kit.commands import skerry
from tests.kit.waiting import eventually
from tests.lab import small_disk
from tests.system.fleet import FIRST, SECOND, Device, await_end, outcomes, provision, start_rollout

pytestmark = [pytest.mark.system, pytest.mark.skipif(bool(small_disk.refusal()), reason=small_disk.refusal())]


@pytest.fixture
def small(home, plane, installed, tmp_path):
    """A device whose state lies on a tmpfs of its own; its port is fixed, for nobody may be there to tell it."""
    device = provision(home, "shelf-01", plane.broker, tmp_path / "device")
    device.configure("models.fashion", f'http = "127.0.0.1:{free_port()}"')
    device.state.mkdir()
    mount("-t", "tmpfs", "-o", "size=6m", "tmpfs", str(device.state))
    try:
        shutil.copytree(
            installed, device.state, ignore=shutil.ignore_patterns("*.sock", "ports.json"), dirs_exist_ok=True
        )
        yield device
    finally:
        device.kill()
        subprocess.run(["umount", "-l", str(device.state)], check=False)


def mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True, capture_output=True)


def ready(device: Device) -> bool:
    """Whether the model answers that it is ready."""
    address = next(line for line in device.config.read_text().splitlines() if line.startswith("http ="))
    url = f"http://{address.split(chr(34))[1]}/v2/models/fashion/ready"
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return answer.status == 200
    except OSError:
        return False


def test_started_on_a_read_only_disk_it_serves(home, small):
    mount("-o", "remount,ro", str(small.state))
    small.start()
    eventually(lambda: ready(small), f"it serves: {small.tail()}", 20.0)
    view = await_end(home, start_rollout(home, SECOND, small.id))
    assert outcomes(view) == {("rejected", "disk")}
    assert "could not be saved: Read-only file system" in view["deployments"][0]["detail"]
    assert ready(small)
    assert small.process.poll() is None
    small.kill()
    mount("-o", "remount,rw,size=64m", str(small.state))
    small.start()
    assert outcomes(await_end(home, start_rollout(home, SECOND, small.id))) == {("succeeded", "")}
    small.await_serving(SECOND)


def ordered(home, device: Device) -> str:
    """Why a release is not ordered of a device; empty once it is."""
    return skerry(home, "rollout", "start", SECOND, "--device", device.id, check=False).stderr


def test_a_full_disk_ends_the_deployment_not_the_service(home, small):
    filler = small.state / "filler"
    small.start()
    small.await_serving(FIRST)
    free = shutil.disk_usage(small.state).free
    bundle = sum(path.stat().st_size for path in small.state.glob("bundles/*/*"))
    filler.write_bytes(bytes(free - bundle - 8_192))  # room for its files, not for making them
    view = await_end(home, start_rollout(home, SECOND, small.id))
    assert outcomes(view) == {("failed", "disk_full")}
    assert ready(small)

    with filler.open("ab") as more:
        more.write(bytes(bundle - 100_000))
    eventually(lambda: "of free disk" in ordered(home, small), "the host has heard that the disk is full", 20.0)
    assert ready(small)
    filler.unlink()
    mount("-o", "remount,size=64m", str(small.state))
    eventually(lambda: not ordered(home, small), "the host has heard that there is room", 20.0)
    small.await_serving(SECOND)
