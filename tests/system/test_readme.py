"""What README.md tells a reader to type, word for word: in a fresh folder, with an agent."""

import contextlib
import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from skerry_agent.wire.engines import EXTRAS
from skerry_host.boards import list_boards, load_board
from skerry_host.plane.broker.broker import free_port
from skerry_host.plane.broker.listening import outward_address
from skerry_host.plane.provision import install_command
from tests.kit.brokers import Mosquitto
from tests.kit.home import make_home
from tests.kit.programs import ROOT, require_program
from tests.kit.waiting import eventually
from tests.system.fleet import provision

pytestmark = pytest.mark.system

README = (ROOT / "README.md").read_text(encoding="utf-8")
PATIENCE_S = 240.0
QUICK = {"latency_p95_us": 500_000, "min_inferences": 10}
"""A trial that is over soon, and passes beside other tests."""


def block(*, after: str) -> str:
    """The first block of commands behind these words of README.md."""
    found = re.search(r"```sh\n(.*?)```", README.partition(after)[2], re.DOTALL)
    assert found, after
    return found[1]


@pytest.fixture
def fresh(tmp_path) -> Path:
    """A folder like a checkout in which `make demo` has run, and nothing else: the environment, and the recipe."""
    folder = tmp_path / "skerry"
    folder.mkdir()
    (folder / ".venv").symlink_to(sys.prefix)
    shutil.copytree(ROOT / "models" / "fashion", folder / "models" / "fashion")
    recipe = folder / "models" / "fashion" / "recipe.toml"
    text = recipe.read_text()
    for key, value in QUICK.items():
        text, count = re.subn(rf"(?m)^{key} = \d+$", f"{key} = {value}", text)
        assert count == 1
    recipe.write_text(text)
    return folder


@contextlib.contextmanager
def typed(folder: Path, commands: str) -> Iterator[str]:
    """Type them into a shell in this folder; each must succeed. What was said; the background ends with the block."""
    paths = os.pathsep.join([str(ROOT / "host"), str(ROOT / "agent"), os.environ.get("PYTHONPATH", "")])
    names = "SKERRY_TLS_PORT", "SKERRY_ENROLL_PORT", "SKERRY_PORT", "SKERRY_HTTP_PORT"
    ports = {name: str(free_port()) for name in names}
    environment = {"PATH": "/usr/sbin:/usr/bin:/bin", "HOME": str(folder), "PYTHONPATH": paths, **ports}
    said = folder / "said.log"
    with said.open("w") as log:
        shell = subprocess.Popen(
            ["bash", "-e", "-c", commands],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        assert shell.wait(PATIENCE_S) == 0, said.read_text()[-3000:]
        yield said.read_text()
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(shell.pid, signal.SIGTERM)
        shell.wait(15)
        eventually(lambda: not _alive(shell.pid), "everything that was started has ended", 20)


def _alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def asked(folder: Path, program: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """One more command of the same reader."""
    command = [sys.executable, "-m", program, *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)


def test_the_sequence_of_the_readme_works_word_for_word_and_ends_on_the_release_before(fresh):
    require_program("mosquitto", "mosquitto")
    config = ".skerry/devices/shelf-01/agent.toml"

    def current() -> str | None:
        done = asked(fresh, "skerry_agent", "status", "--json", "--config", config)
        return json.loads(done.stdout)["models"]["fashion"]["current"]["release"] if done.returncode == 0 else None

    with typed(fresh, block(after="## Use it")) as said:
        assert "error:" not in said
        assert "Traceback" not in said
        assert said.count("1 of 1 succeeded") == 2
        assert "rollback ordered for 1 device (group lab)" in said
        eventually(lambda: current() == "fashion@1.0.0", "the device is back on 1.0.0", 30)


def test_a_device_elsewhere_is_provisioned_and_connects_as_the_readme_says(fresh, tmp_path):
    """The other machine is this one, called at its address in the network; `scp` copies to what is its home."""
    require_program("mosquitto", "mosquitto")
    if outward_address() is None:
        pytest.skip("this machine has no address in a network")
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "scp").write_text('#!/bin/sh\nexec cp -r "$2" "$HOME/"\n')
    (tools / "scp").chmod(0o755)
    opened, provisioned = block(after="**A device that is another machine.**"), block(after="Once it has said where")
    device = block(after="On the device, in a checkout")
    doctor, run = device.splitlines()[-2:]
    steps = [
        f"export PATH={tools}:$PATH; . .venv/bin/activate; skerry init",
        opened,
        "until grep -q 'serving: broker mqtts://' said.log; do sleep 0.1; done",
        provisioned,
        doctor,
        f"{run} &",
        "until skerry device list | grep -q online; do sleep 0.3; done",
    ]
    with typed(fresh, "\n".join(steps)) as said:
        assert "only this machine can call" not in said
        assert "FAIL" not in said
        assert stat.S_IMODE((fresh / "shelf-02" / "agent.toml").stat().st_mode) == 0o600


# -- the device --------------------------------------------------------------------------------------------------------


def _requirements(extra: str) -> set[str]:
    """The distributions that an extra of the agent installs, those of the extras that it names included."""
    with (ROOT / "agent" / "pyproject.toml").open("rb") as file:
        extras = tomllib.load(file)["project"]["optional-dependencies"]
    wanted = set()
    for need in extras[extra]:
        inner = re.fullmatch(r"skerry-agent\[(.+)\]", need)
        wanted |= _requirements(inner[1]) if inner else {re.split(r"[<>=;\[ ]", need)[0]}
    return wanted


RUNTIMES = {"litert": "ai-edge-litert", "onnxruntime": "onnxruntime", "tflite_runtime": "tflite-runtime"}
UPDATER = {"cryptography", "numpy", "zstandard", "h11"}


@pytest.mark.parametrize("name", list_boards())
def test_what_provision_says_to_install_is_what_the_targets_of_a_board_need(name):
    board = load_board(name)
    found = re.fullmatch(r"pip install '\./agent\[([a-z,]+)\]'", install_command(board))
    assert found
    installed = set().union(*(_requirements(extra) for extra in found[1].split(",")))
    engines = {engine for engines in board.runtime.engines.values() for engine in engines[:1]}
    assert {RUNTIMES.get(engine, "ai-edge-litert") for engine in engines} | UPDATER <= installed


def test_every_engine_has_its_extra():
    assert set(EXTRAS) == {*RUNTIMES, "edgetpu"}
    assert all(RUNTIMES[engine] in _requirements(EXTRAS[engine]) for engine in RUNTIMES)


def test_the_readmes_install_what_their_board_needs():
    device = block(after="On the device, in a checkout")
    board = re.search(r"provision \S+ --board (\S+)", block(after="Once it has said where"))
    assert board
    assert install_command(load_board(board[1])) in device
    assert install_command(load_board("generic-x86")).split("'")[1] in (ROOT / "scripts" / "setup").read_text()


def test_a_machine_that_was_set_up_as_told_passes_the_doctor(tmp_path):
    home = make_home(tmp_path / "home")
    with Mosquitto(tmp_path / "broker") as broker:
        device = provision(home, "shelf-01", f"mqtt://127.0.0.1:{broker.port}", tmp_path / "shelf-01")
        done = device.command("doctor")
    assert done.returncode == 0, done.stdout
    assert "FAIL" not in done.stdout
    assert "ok   runtime onnxruntime" in done.stdout
