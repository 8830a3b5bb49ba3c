"""Fixtures of the system tests: a home with three releases built once, and a device that has the first of them."""

import shutil
import uuid
from pathlib import Path

import pytest

from skerry_host.home import Home, open_home
from tests.kit.commands import serving
from tests.kit.home import make_home
from tests.kit.once import once
from tests.kit.programs import require_program
from tests.kit.waiting import eventually
from tests.system.fleet import (
    FIRST,
    MARK,
    Device,
    await_end,
    build_releases,
    marked_processes,
    outcomes,
    provision,
    provision_installed,
    start_rollout,
)


@pytest.fixture(scope="session")
def built(tmp_path_factory) -> Home:
    """A home with the releases; to be copied, not used."""
    require_program("mosquitto", "mosquitto")
    folder = once(
        tmp_path_factory, "system-releases", lambda folder: build_releases(make_home(folder / "home"), folder)
    )
    return open_home(folder / "home")


@pytest.fixture(scope="session")
def installed(built, tmp_path_factory) -> Path:
    """The state folder of a device that has committed the first release."""
    return once(tmp_path_factory, "system-installed", lambda made: _install_first(built, made)) / "state"


def _install_first(built: Home, folder: Path) -> None:
    home = _copy(built, folder / "home")
    with serving(home, "--port", "0", "--no-http") as plane:
        device = provision(home, "first-01", plane.broker, folder / "device")
        device.start()
        try:
            view = await_end(home, start_rollout(home, FIRST, device.id))
            assert outcomes(view) == {("succeeded", "")}, device.tail()
            device.await_serving(FIRST)
        finally:
            device.kill()
    for path in device.state.glob("desired.*"):
        path.unlink()
    shutil.rmtree(device.state / "outbox")  # its last reports, which are no other device's
    device.state.rename(folder / "state")


@pytest.fixture(autouse=True)
def leftovers(monkeypatch):
    """Every process started by a test is gone after it."""
    mark = uuid.uuid4().hex
    monkeypatch.setenv(MARK, mark)
    yield
    eventually(lambda: not marked_processes(mark), f"all processes gone: {marked_processes(mark)}", 10.0)


@pytest.fixture
def home(built, tmp_path) -> Home:
    """A home of the test's own, with the releases."""
    return _copy(built, tmp_path / "home")


@pytest.fixture
def plane(home):
    """A serving host plane with its own broker."""
    with serving(home, "--port", "0", "--no-http") as running:
        yield running


@pytest.fixture
def device(home, plane, installed, tmp_path):
    """A device that holds the first release; not started yet."""
    made = provision_installed(home, plane.broker, installed, tmp_path / "device")
    yield made
    made.kill()


@pytest.fixture
def running(device) -> Device:
    """The device with its agent running and serving the first release."""
    device.start()
    device.await_serving(FIRST)
    return device


def _copy(home: Home, to: Path) -> Home:
    shutil.copytree(home.root, to)
    return open_home(to)
