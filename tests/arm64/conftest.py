"""An emulated board and a plane that serves it; skipped, with the reason, where there is no arm64 root."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from skerry_host.home import Home, open_home
from skerry_host.plane.provision import addresses_of
from tests.arm64.board import EmulatedBoard, missing
from tests.kit.commands import WITH_IDENTITIES, Serving, serving
from tests.kit.home import make_home
from tests.kit.once import once
from tests.system.fleet import build_releases


@pytest.fixture(autouse=True)
def _needs_root() -> None:
    """Nothing here can be had without an emulated board."""
    if reason := missing():
        pytest.skip(reason)


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a home with the releases of the system tests; to be copied, not used."""
    return once(tmp_path_factory, "arm64-releases", lambda made: build_releases(make_home(made / "home"), made))


@pytest.fixture
def home(built: Path, tmp_path: Path) -> Home:
    """A home of the test's own, with the releases."""
    shutil.copytree(built / "home", tmp_path / "home")
    return open_home(tmp_path / "home")


@pytest.fixture
def plane(home: Home) -> Iterator[Serving]:
    """A serving host plane whose broker asks for certificates."""
    with serving(home, WITH_IDENTITIES, "--port", "0", "--enroll-port", "0", "--no-http") as made:
        yield made


@pytest.fixture
def new_board(home: Home, plane: Serving, tmp_path: Path) -> Iterator[Callable[[str], EmulatedBoard]]:
    """Makes a board out of its box: only the ports of the plane's broker can be reached from it."""
    made: list[EmulatedBoard] = []

    def board(serial: str) -> EmulatedBoard:
        addresses = addresses_of(home)
        ports = tuple(int(url.rsplit(":", 1)[1]) for url in (addresses.broker, addresses.enrolment or ""))
        made.append(EmulatedBoard(tmp_path / serial, serial, ports))
        made[-1].power_on()
        return made[-1]

    yield board
    for each in made:
        each.power_off()
