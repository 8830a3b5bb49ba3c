"""A plane, and an emulated board that it serves; skipped, with the reason, where there is no arm64 root.

To boot a board for the first time takes a minute and a half, so the tests of a file share one.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from skerry_host.home import Home
from skerry_host.plane.provision import addresses_of
from tests.arm64.board import EmulatedBoard, missing
from tests.arm64.fleet import DEVICE, OS, SERIAL
from tests.kit.commands import WITH_IDENTITIES, Serving, serving, skerry
from tests.kit.home import make_home
from tests.system.fleet import build_releases


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home with the releases of the system tests."""
    if reason := missing():
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("arm64")
    made = make_home(folder / "home")
    build_releases(made, folder, latency_p95_us=10_000_000)  # an emulator's figures say nothing of a board
    return made


@pytest.fixture(scope="module")
def plane(home: Home) -> Iterator[Serving]:
    """A serving host plane whose broker asks for certificates."""
    with serving(home, WITH_IDENTITIES, "--port", "0", "--enroll-port", "0", "--no-http") as made:
        yield made


@pytest.fixture(scope="module")
def image(home: Home, plane: Serving, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The image folder for one board, which is in the records by its serial number."""
    folder = tmp_path_factory.mktemp("image")
    (folder / "boards.csv").write_text(f"id,board,tags,serial\n{DEVICE},raspberry-pi-4,lab,{SERIAL}\n")
    batch = ("--batch", str(folder / "boards.csv"), "--os", OS)
    skerry(home, "device", "claim", *batch, "--out", str(folder / "image"))
    skerry(home, "group", "create", "lab", "--where", "tag:lab")
    return folder / "image"


@pytest.fixture(scope="module")
def board(home: Home, plane: Serving, image: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmulatedBoard]:
    """A board out of its box, with the image folder in its boot partition; switched on, and nothing has run on it."""
    addresses = addresses_of(home)
    ports = tuple(int(url.rsplit(":", 1)[1]) for url in (addresses.broker, addresses.enrolment or ""))
    made = EmulatedBoard(tmp_path_factory.mktemp("board"), SERIAL, ports)
    made.power_on()
    made.insert(image)
    yield made
    made.power_off()


def pytest_runtest_setup(item: pytest.Item) -> None:
    """What a test here needs of those before it in its file has failed with the first of them."""
    if getattr(item.parent, "_failed_before", False):
        pytest.skip("a test before it in this file has failed")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Notes a failure for those after it."""
    outcome = yield
    if outcome.get_result().failed:  # type: ignore[attr-defined]
        item.parent._failed_before = True  # type: ignore[union-attr]
