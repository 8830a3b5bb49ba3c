"""Settings from afar with real agents over mutual TLS: what is not healthy comes back by itself, killed or not."""

import json
import shutil
import socket
from pathlib import Path

import pytest

from tests.kit.commands import WITH_IDENTITIES, Done, serving, skerry
from tests.kit.waiting import eventually
from tests.system.fleet import FIRST, RECIPE, Device, running

pytestmark = pytest.mark.system

SAMPLES = RECIPE / "evaluation.npz"
NOWHERE = "mqtts://127.0.0.1:9"


@pytest.fixture
def plane(home):
    """A serving host plane whose broker asks for certificates."""
    with serving(home, WITH_IDENTITIES, "--port", "0", "--enroll-port", "0", "--no-http") as made:
        yield made


@pytest.fixture
def boards(home, plane, installed, tmp_path):
    """Two boards of one claim that hold the first release, serving and known by their identities."""
    image = tmp_path / "image"
    claim = ("--count", "2", "--days", "1", "--tag", "lab", "--board", "generic-x86")
    skerry(home, "device", "claim", *claim, "--config-only", "--out", str(image))
    made = [_board(image, installed, tmp_path / name, name) for name in ("one", "two")]
    with running(*made):
        for each in made:
            each.start()
        _approve(home, 2)
        for each in made:
            each.await_serving(FIRST)
            eventually(lambda each=each: (each.status() or {}).get("connected"), f"connected; {each.tail()}")
            each.id = each.status()["device"]
        skerry(home, "group", "create", "lab", "--where", "tag:lab")
        for each in made:
            eventually(lambda each=each: settings(home, each)["knows"], "the host has heard of it")
        yield made


def _board(image: Path, installed: Path, folder: Path, serial: str) -> Device:
    shutil.copytree(image, folder)
    device = Device(serial, folder)
    lines = [line for line in device.config.read_text().splitlines() if not line.startswith("spread_s")]
    text = "\n".join(lines).replace("[enrolment]", "[enrolment]\nspread_s = 0.2")
    source = f'[models.fashion]\n[[models.fashion.sources]]\ntype = "replay"\npath = "{SAMPLES}"\nrate_hz = 100.0\n'
    device.config.write_text(f'[device]\nserial = "{serial}"\n{text}\n{source}')
    device.configure("agent", "beat_s = 0.2")
    keep = shutil.ignore_patterns("*.sock", "ports.json", "desired.*", "outbox")
    shutil.copytree(installed, device.state, ignore=keep)
    return device


def _approve(home, count: int) -> None:
    def asked() -> bool:
        listed = json.loads(skerry(home, "device", "pending", "--json").stdout)
        return len(json.loads(skerry(home, "device", "list", "--json").stdout)) + len(listed) >= count

    eventually(asked, "both boards ask, or are let in")
    for n, each in enumerate(json.loads(skerry(home, "device", "pending", "--json").stdout)):
        skerry(home, "device", "approve", each["code"], "--as", f"lab-{n}", check=False)


def settings(home, device: Device) -> dict:
    return json.loads(skerry(home, "device", "settings", device.id, "--json").stdout)["settings"]


def set_(home, device: Device, *words: str) -> tuple[Done, dict]:
    """`skerry device set ... --wait`: how it ended, and what is then shown."""
    done = skerry(home, "device", "set", device.id, *words, "--trial", "10", "--wait", check=False)
    return done, settings(home, device)


def test_the_story_of_a_lab(home, boards):
    """A good one for the group; then for one of the two a broker, a camera and a port that cannot be."""
    one, two = boards
    done = skerry(home, "group", "set", "lab", "telemetry_interval_s=30", "--wait", check=False)
    assert done.returncode == 0, done.stderr + done.stdout + one.tail()
    for each in boards:
        shown = settings(home, each)
        assert shown["outcome"] == "kept"
        assert [(line["key"], line["running"], line["differs"]) for line in shown["lines"]] == [
            ("telemetry_interval_s", "30", False)
        ]
    pid = one.status()["pids"]["fashion"]

    done, shown = set_(home, one, f"broker_url={NOWHERE}")
    assert done.returncode == 1
    assert (shown["outcome"], shown["code"]) == ("rolled_back", "no_connection"), shown
    assert {line["key"]: line["differs"] for line in shown["lines"]} == {
        "broker_url": True,
        "telemetry_interval_s": False,
    }
    assert one.status()["pids"]["fashion"] == pid, "its model has served all the time"

    done, shown = set_(home, one, "models.fashion.camera=/dev/video77")
    assert (shown["outcome"], shown["code"]) == ("rolled_back", "source_failed"), shown
    assert "/dev/video77" in shown["detail"] or "OpenCV" in shown["detail"]

    with socket.create_server(("127.0.0.1", 0)) as taken:
        done, shown = set_(home, one, f"models.fashion.http=127.0.0.1:{taken.getsockname()[1]}")
    assert (shown["outcome"], shown["code"]) == ("rolled_back", "port_in_use"), shown

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    done, shown = set_(home, one, f"models.fashion.http=127.0.0.1:{port}", "log_level=debug")
    assert (done.returncode, shown["outcome"]) == (0, "kept"), (shown, one.tail())
    assert one.status()["http"]["fashion"] == f"http://127.0.0.1:{port}"
    assert {line["key"] for line in shown["lines"]} == {"log_level", "models.fashion.http", "telemetry_interval_s"}
    assert settings(home, two)["differing"] == 0 if "differing" in shown else True
    one.stop()
    one.start()
    one.await_serving(FIRST)
    assert one.status()["http"]["fashion"] == f"http://127.0.0.1:{port}", "what is kept is in effect after a restart"
