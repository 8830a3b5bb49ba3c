"""Boards enrol from one folder, get a release and lose their rights: real agents, a real plane and its real broker."""

import datetime as dt
import json
import os
import shutil
import sys
import time
from pathlib import Path

import pytest
from cryptography.x509 import load_pem_x509_certificate
from sqlalchemy import update

from skerry_agent.state.identity import IdentityStore
from skerry_host.home import Home
from skerry_host.identity.csr import key_sha256
from skerry_host.plane.registry.database import open_registry
from skerry_host.plane.registry.records import identities
from skerry_host.plane.registry.tables import CertificateRow
from tests.kit.commands import WITH_IDENTITIES, serving, skerry
from tests.kit.waiting import eventually
from tests.kit.wrong_clock import wrong_clock
from tests.system.fleet import FIRST, RECIPE, Device, await_end, outcomes, running, start_rollout

pytestmark = pytest.mark.system

SAMPLES = RECIPE / "evaluation.npz"
REVOKED_S = 5.0
"""Within so many seconds a revoked device must be silent."""


@pytest.fixture
def plane(home):
    """A serving host plane whose broker asks for certificates."""
    with serving(home, WITH_IDENTITIES, "--port", "0", "--enroll-port", "0", "--no-http") as made:
        yield made


def image(home: Home, folder: Path, *options: str) -> Path:
    """One folder for many boards, as an image maker gets it."""
    skerry(
        home,
        "device",
        "claim",
        "--board",
        "generic-x86",
        "--days",
        "1",
        *options,
        "--config-only",
        "--out",
        str(folder),
    )
    return folder


def board(claimed: Path, folder: Path, serial: str) -> Device:
    """A fresh board with that image, fast enough for a test."""
    shutil.copytree(claimed, folder)
    device = Device(serial, folder)
    device.configure("agent", "beat_s = 0.2")
    text = device.config.read_text().replace("telemetry_interval_s = 60.0", "telemetry_interval_s = 1.0")
    lines = [line for line in text.splitlines() if not line.startswith("spread_s")]
    text = "\n".join(lines).replace("[enrolment]", "[enrolment]\nspread_s = 0.2")
    source = f'[models.fashion]\n[[models.fashion.sources]]\ntype = "replay"\npath = "{SAMPLES}"\nrate_hz = 100.0\n'
    device.config.write_text(f'[device]\nserial = "{serial}"\n{text}\n{source}')
    return device


def identity(device: Device) -> dict:
    """What the device says of its identity."""
    return (device.status() or {}).get("identity") or {}


def await_state(device: Device, state: str) -> dict:
    eventually(lambda: identity(device).get("state") == state, f"{state}: {identity(device)} {device.tail()}", 20.0)
    return identity(device)


def listed(home: Home) -> dict[str, dict]:
    return {row["id"]: row for row in json.loads(skerry(home, "device", "list", "--json").stdout)}


def assert_private(device: Device) -> None:
    """Keys and certificates are for the agent's user only."""
    stored = IdentityStore(device.state).current()
    assert stored is not None
    for path in (stored.folder, stored.folder.parent, *stored.folder.iterdir()):
        assert path.stat().st_mode & 0o077 == 0, path


def test_three_boards_of_one_image_enrol_get_a_release_and_one_is_revoked(home, plane, tmp_path):
    """Cases I6 and U9 of the threat table: one of the boards believes that it is 1970, one that it is 2038."""
    claimed = image(home, tmp_path / "image", "--count", "3")
    three = [board(claimed, tmp_path / serial, serial) for serial in ("board-1", "board-2", "board-3")]
    for device, year in zip(three, (1970, 2038), strict=False):
        wrong_s = dt.datetime(year, 1, 2, tzinfo=dt.UTC).timestamp() - time.time()
        device.environment = wrong_clock(tmp_path, wrong_s)
    with running(*three):
        for device in three:
            device.start()
        codes = [await_state(device, "pending")["code"] for device in three]
        waiting = json.loads(skerry(home, "device", "pending", "--json").stdout)
        assert {row["code"] for row in waiting} == set(codes)
        for number, code in enumerate(codes, start=1):
            skerry(home, "device", "approve", code, "--as", f"edge-{number}")
        assert [await_state(device, "enrolled")["device"] for device in three] == ["edge-1", "edge-2", "edge-3"]
        assert not any((device.folder / "claim.key").exists() for device in three)
        assert_private(three[0])
        view = await_end(home, start_rollout(home, FIRST, "edge-1", "edge-2", "edge-3"))
        assert outcomes(view) == {("succeeded", "")}, three[0].tail()

        skerry(home, "device", "revoke", "edge-3", "--reason", "stolen")
        revoked = time.monotonic()
        eventually(lambda: listed(home)["edge-3"]["online"] is False, "edge-3 is shown as offline", REVOKED_S)
        assert time.monotonic() - revoked < REVOKED_S
        three[2].kill()
        three[2].start()
        assert await_state(three[2], "refused")["device"] == "edge-3"
        assert "revoked" in identity(three[2])["detail"]
        three[2].await_serving(FIRST)
        assert [listed(home)[name]["online"] for name in ("edge-1", "edge-2", "edge-3")] == [True, True, False]


def test_a_board_with_a_record_is_enrolled_without_anybody_and_is_the_same_after_kills(home, plane, tmp_path):
    """Case I4 of the threat table, with real processes: killed at three moments of its first minute."""
    (tmp_path / "boards.csv").write_text("id,board,tags,serial\nedge-17,generic-x86,lab,board-1\n")
    skerry(
        home,
        "device",
        "claim",
        "--batch",
        str(tmp_path / "boards.csv"),
        "--config-only",
        "--out",
        str(tmp_path / "image"),
    )
    device = board(tmp_path / "image", tmp_path / "board-1", "board-1")
    with running(device):
        for exists in ("identities/.request-claim/request.json", "identity", "outbox"):
            device.start()
            eventually(lambda exists=exists: (device.state / exists).exists(), f"{exists}; {device.tail()}", 20.0)
            device.kill()
        device.start()
        assert await_state(device, "enrolled")["device"] == "edge-17"
        eventually(lambda: listed(home)["edge-17"]["online"], "it is online", 20.0)
    claims = json.loads(skerry(home, "device", "claims", "--json").stdout)
    assert [row["used"] for row in claims] == [1]


def test_a_first_boot_without_a_network_serves_the_factory_release_and_reports_it_under_the_later_id(home, tmp_path):
    """What was counted before the device had a name is not lost; the runner is not started anew."""
    options = ("--enroll-port", "0", "--no-http")
    with serving(home, WITH_IDENTITIES, "--port", "0", *options):
        (tmp_path / "boards.csv").write_text("id,board,tags,serial\nedge-17,generic-x86,,board-1\n")
        skerry(
            home,
            "device",
            "claim",
            "--batch",
            str(tmp_path / "boards.csv"),
            "--config-only",
            "--out",
            str(tmp_path / "image"),
        )
        addresses = json.loads((home.root / "serve.json").read_text())
    device = board(tmp_path / "image", tmp_path / "board-1", "board-1")
    skerry(home, "release", "export", FIRST, "--target", "cpu", "-o", str(tmp_path / "stick"))
    assert device.command("install", "--factory", str(tmp_path / "stick")).returncode == 0
    ports = [addresses[name].rpartition(":")[2] for name in ("broker", "enrolment")]
    with running(device):
        device.start()
        before = device.await_serving(FIRST)
        eventually(lambda: (device.status() or {})["waiting_reports"] >= 2, "reports wait", 20.0)
        assert identity(device)["state"] == "asking"
        with serving(home, WITH_IDENTITIES, "--port", ports[0], "--enroll-port", ports[1], "--no-http"):
            eventually(lambda: identity(device).get("state") == "enrolled", f"enrolled; {device.tail()}", 60.0)
            eventually(lambda: (device.status() or {"waiting_reports": 1})["waiting_reports"] == 0, "sent", 30.0)
            eventually(lambda: listed(home)["edge-17"]["online"], "it is online", 20.0)
        assert (device.status() or {})["pids"] == before["pids"]
    assert b'"unenrolled"' not in b"".join(path.read_bytes() for path in home.root.glob("registry.sqlite*"))


def test_a_device_renews_in_good_time_with_a_new_key_that_the_key_in_use_has_signed_for(home, plane, tmp_path):
    """A real agent, whose clock says that two thirds of its certificate's life are over, and a real host."""
    (tmp_path / "boards.csv").write_text("id,board,tags,serial\nedge-17,generic-x86,lab,board-1\n")
    skerry(
        home,
        "device",
        "claim",
        "--batch",
        str(tmp_path / "boards.csv"),
        "--config-only",
        "--out",
        str(tmp_path / "image"),
    )
    device = board(tmp_path / "image", tmp_path / "board-1", "board-1")
    clock = tmp_path / "clock"
    path = os.pathsep.join([str(Path(__file__).parent / "shifted_clock"), *sys.path])
    device.environment = {"SKERRY_TEST_CLOCK": str(clock), "PYTHONPATH": path}
    clock.write_text("0")
    with running(device):
        device.start()
        await_state(device, "enrolled")
        before = (device.state / "identity" / "device.pem").read_bytes()
        device.kill()
        clock.write_text(str(70 * 86_400))
        with open_registry(home.registry) as registry, registry.write() as session:  # else the host says: too soon
            session.execute(update(CertificateRow).values(not_after=CertificateRow.not_after - 70 * 86_400))
        device.start()
        pem = device.state / "identity" / "device.pem"
        eventually(lambda: pem.read_bytes() != before, f"another certificate: {device.tail()}", 30.0)
        eventually(lambda: listed(home)["edge-17"]["online"], "it is online with that", 20.0)
    with open_registry(home.registry) as registry, registry.read() as session:
        given = identities.living_certificates(session, "edge-17", time.time(), 10)
        assert len({each.key_sha256 for each in given}) == 2
        current = identities.find(session, "edge-17").key_sha256
    assert current == key_sha256(load_pem_x509_certificate(pem.read_bytes()).public_key())
