"""Settings from afar with real agents over mutual TLS: what is not healthy comes back by itself, killed or not."""

import json
import shutil
import socket
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from tests.kit.commands import WITH_IDENTITIES, serving, skerry
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
def board(home, plane, installed, tmp_path):
    """One that has enrolled, holds the first release and serves it from a file and over its API."""
    image = tmp_path / "image"
    options = ("--board", "generic-x86", "--days", "1", "--tag", "lab", "--config-only", "--out", str(image))
    skerry(home, "device", "provision", "lab-1", *options)
    made = _board(image, installed, tmp_path / "board")
    with running(made):
        made.start()
        made.await_serving(FIRST)
        skerry(home, "group", "create", "lab", "--where", "tag:lab")
        eventually(lambda: settings(home)["knows"], f"the host has heard of it; {made.tail()}")
        yield made


def _board(image: Path, installed: Path, folder: Path) -> Device:
    shutil.copytree(image, folder)
    device = Device("lab-1", folder)
    lines = [line for line in device.config.read_text().splitlines() if not line.startswith("spread_s")]
    text = "\n".join(lines).replace("[enrolment]", "[enrolment]\nspread_s = 0.2")
    source = f'[models.fashion]\n[[models.fashion.sources]]\ntype = "replay"\npath = "{SAMPLES}"\nrate_hz = 100.0\n'
    device.config.write_text(f"{text}\n{source}")
    device.configure("agent", "beat_s = 0.2")
    keep = shutil.ignore_patterns("*.sock", "ports.json", "desired.*", "outbox")
    shutil.copytree(installed, device.state, ignore=keep)
    return device


def settings(home) -> dict:
    return json.loads(skerry(home, "device", "settings", "lab-1", "--json").stdout)["settings"]


def set_(home, *words: str) -> tuple[int, dict]:
    """`skerry device set ... --wait`: how it ended, and what is then shown."""
    done = skerry(home, "device", "set", "lab-1", *words, "--trial", "5", "--wait", check=False)
    return done.returncode, settings(home)


@contextmanager
def asking(url: str) -> Iterator[list[str]]:
    """Somebody asks the model all the time; what goes wrong."""
    sample = np.load(SAMPLES)["inputs"][:1]
    tensor = {"name": "input", "shape": list(sample.shape), "datatype": "UINT8", "data": sample.reshape(-1).tolist()}
    body = json.dumps({"inputs": [tensor]}).encode()
    over, failed, answered = threading.Event(), [], []

    def ask() -> None:
        while not over.is_set():
            try:
                with urllib.request.urlopen(f"{url}/v2/models/fashion/infer", body, timeout=10) as answer:
                    answered.append(answer.status)
            except OSError as error:
                failed.append(str(error))

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        eventually(lambda: len(answered) > 5 or failed, "the model answers")
        yield failed
    finally:
        over.set()
        thread.join()


def test_a_good_one_is_kept_without_a_lost_request_and_what_cannot_be_comes_back(home, board):
    """For a group, as the documents show it; then what takes another runner of the model, while somebody asks it."""
    done = skerry(home, "group", "set", "lab", "telemetry_interval_s=30", "--wait", check=False)
    assert done.returncode == 0, done.stderr + done.stdout + board.tail()
    assert [(line["key"], line["running"]) for line in settings(home)["lines"]] == [("telemetry_interval_s", "30")]
    for metered in ("true", "false"):  # each by a new connection over which the host has to be heard, at once
        done = skerry(home, "group", "set", "lab", f"metered={metered}", "--wait", check=False)
        assert done.returncode == 0, done.stdout + board.tail()
    before = board.status()
    with asking(before["http"]["fashion"]) as failed:
        code, shown = set_(home, "models.fashion.results_files=2")
    assert (code, shown["outcome"], failed) == (0, "kept", []), (shown, board.tail())
    assert board.status()["pids"] != before["pids"]
    _test_what_cannot_be(home, board)


def _test_what_cannot_be(home, board):
    """A camera that is not there, and a port in use, each with its reason."""
    before = board.status()["http"]
    with socket.create_server(("127.0.0.1", 0)) as taken:
        code, shown = set_(home, f"models.fashion.http=127.0.0.1:{taken.getsockname()[1]}")
    assert (code, shown["outcome"], shown["code"]) == (1, "rolled_back", "port_in_use"), shown
    code, shown = set_(home, "models.fashion.camera=/dev/video77")
    assert (code, shown["outcome"], shown["code"]) == (1, "rolled_back", "source_failed"), shown
    assert [line["key"] for line in shown["lines"] if line["differs"]] == ["models.fashion.camera"]
    assert board.await_serving(FIRST)["http"] == before


def test_a_broker_that_leads_nowhere_is_left_again_also_after_a_kill_in_the_trial(home, plane, board):
    """Without a network, by itself: what was before is on its disk. One that the host is at is kept first."""
    pid = board.status()["pids"]["fashion"]
    port = plane.broker.rpartition(":")[2]
    code, shown = set_(home, f"broker_url=mqtts://localhost:{port}", "telemetry_interval_s=600")
    assert (code, shown["outcome"]) == (0, "kept"), (shown, board.tail())
    skerry(home, "device", "set", "lab-1", f"broker_url={NOWHERE}", "--trial", "5")
    eventually(lambda: (board.status() or {}).get("settings", {}).get("outcome") == "trial", "it is tried")
    assert board.status()["pids"]["fashion"] == pid, "its model serves all the time"
    board.kill()
    board.start()
    eventually(lambda: settings(home)["outcome"] == "rolled_back", f"it is back: {board.tail()}", 30.0)
    assert settings(home)["code"] == "no_connection"
    assert board.await_serving(FIRST)["connected"]
