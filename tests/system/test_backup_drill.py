"""The host is lost, and restored elsewhere from a backup that was made while it served: the fleet goes on by itself.

With identities, as a fleet in the field: 50 light devices and one real agent, each with a certificate of its own.
"""

import contextlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import func, select

from skerry_host.home import Home
from skerry_host.plane.broker.broker import free_port
from skerry_host.plane.registry.database import open_registry
from skerry_host.plane.registry.tables import BootRow, CertificateRow, PendingRow, ReportRow
from tests.kit.boards import Board
from tests.kit.commands import WITH_IDENTITIES, serving, skerry
from tests.kit.device import BrokerPort, FakeDevice
from tests.kit.waiting import eventually
from tests.system.fleet import (
    BOARD,
    FIRST,
    SECOND,
    Device,
    await_end,
    outcomes,
    provision_installed,
    start_rollout,
)

pytestmark = pytest.mark.system
LIGHT = [f"light-{number:02}" for number in range(50)]
EVERYBODY = [*LIGHT, "shelf-01"]
"""The last is the real one: as `provision_installed` calls it."""


@pytest.fixture
def secret(tmp_path):
    file = tmp_path / "secret"
    file.touch(mode=0o600)
    file.write_text("five random words of a test")
    return ["--passphrase-file", str(file)]


@pytest.fixture
def address():
    """The ports at which devices find the host, wherever it is."""
    operation, enrolment = free_port(), free_port()
    return (WITH_IDENTITIES, "--port", str(operation), "--enroll-port", str(enrolment), "--old-port", "0", "--no-http")


def enrolled(home: Home, folder: Path) -> Iterator[FakeDevice]:
    """The light devices, each enrolled by its board with one claim of all."""
    batch = folder / "batch.csv"
    batch.write_text("id,board,tags,serial\n" + "".join(f"{name},{BOARD},lab,SN-{name}\n" for name in LIGHT))
    said = skerry(
        home, "device", "claim", "--batch", str(batch), "--config-only", "--out", str(folder / "image"), "--json"
    ).stdout
    boards = {name: Board(folder / "image", f"SN-{name}") for name in LIGHT}
    client = boards[LIGHT[0]].client()
    try:
        for board in boards.values():
            board.ask(client, json.loads(said)["claim"])
        eventually(lambda: all(board.answers(client) for board in boards.values()), "all boards are answered")
        for name, board in boards.items():
            tls = board.tls(board.answers(client)[0], folder / name)
            yield FakeDevice(name, BrokerPort(board.config["broker"]["url"], tls=tls))
    finally:
        client.close()


def real_one(home: Home, installed: Path, folder: Path) -> Device:
    """A real agent that serves the first release and has enrolled with a claim of its own.

    After enrolling it waits up to half a minute, for others may do so at the same time; who is started again does not.
    """
    device = provision_installed(home, None, installed, folder)
    device.start()
    eventually((device.state / "identity" / "device.pem").exists, f"it is enrolled; {device.tail()}")
    device.kill()
    return device


def of_fleet(home: Home) -> dict[str, dict]:
    return {each["id"]: each for each in json.loads(skerry(home, "device", "list", "--json").stdout)}


def connected(home: Home) -> int:
    return sum(each["online"] is True for each in of_fleet(home).values())


def counted(home: Home, query) -> int:
    with open_registry(home.registry) as registry, registry.read() as session:
        return session.scalar(query) or 0


CERTIFICATES = select(func.count()).select_from(CertificateRow)
PENDING = select(func.count()).select_from(PendingRow)
REPORTS = (
    select(func.count())
    .select_from(ReportRow)
    .join(BootRow, BootRow.id == ReportRow.boot)
    .where(BootRow.device == LIGHT[0])
)


def succeeded(home: Home, rollout: str) -> bool:
    return {outcome for outcome, _ in outcomes(await_end(home, rollout))} == {"succeeded"}


def gone(folder: Path) -> bool:
    """Whether it could be deleted: a broker that ends may still write into it."""
    shutil.rmtree(folder, ignore_errors=True)
    return not folder.exists()


def test_a_fleet_goes_on_when_its_host_is_lost_and_restored_elsewhere(home, installed, address, tmp_path, secret):
    """The drill of docs/operating.md: no device is enrolled again, or touched at all."""
    again, file = Home(tmp_path / "elsewhere" / "home"), str(tmp_path / "b")
    with contextlib.ExitStack() as stack:
        with serving(home, *address) as plane:
            real = real_one(home, installed, tmp_path / "device")
            stack.callback(real.kill)
            real.start()
            light = [stack.enter_context(device) for device in enrolled(home, tmp_path)]
            eventually(lambda: connected(home) == len(EVERYBODY), "all are enrolled and connected", 30.0)
            assert succeeded(home, start_rollout(home, FIRST, *EVERYBODY))
            light[0].telemetry()
            eventually(lambda: counted(home, REPORTS) == 1, "a report of before the backup is stored")
            certificates = counted(home, CERTIFICATES)

            skerry(home, "backup", file, *secret)

            light[0].telemetry()
            eventually(lambda: counted(home, REPORTS) == 2, "a report of after it is stored")
            assert succeeded(home, start_rollout(home, SECOND, *LIGHT[:5])), "an order that the backup does not know"
            plane.kill()
        generations = [each.kept.generation for each in light]
        eventually(lambda: gone(home.root), "what the killed plane had started no longer writes", 10.0)

        skerry(again, "restore", file, "--home", str(again.root), *secret)

        with serving(again, *address):
            eventually(lambda: connected(again) == len(EVERYBODY), "all are back", 30.0)
            assert succeeded(again, start_rollout(again, SECOND, *EVERYBODY))
            real.await_serving(SECOND)
            assert {each.current for each in light} == {SECOND}
            assert all(each.kept.generation > old for each, old in zip(light, generations, strict=True))
            assert (counted(again, CERTIFICATES), counted(again, PENDING)) == (certificates, 0), "nobody enrolled"
            light[0].telemetry()
            eventually(lambda: counted(again, REPORTS) == 2, "reports are stored again")
            assert of_fleet(again)[LIGHT[0]]["reports_missing"] == 1, "what came in after the backup is counted"
