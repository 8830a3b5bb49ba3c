"""A user's mistake is one line that says what is wrong and what to do, with the right exit code; nothing is written."""

import shutil
from dataclasses import dataclass

import pytest

from skerry_host.plane.broker.broker import free_port
from tests.kit.commands import skerry, skerry_process
from tests.system.fleet import provision

pytestmark = pytest.mark.system


@dataclass(frozen=True)
class Mistake:
    """A host command line that is wrong."""

    name: str
    command: str
    says: str
    code: int = 2


MISTAKES = [
    Mistake("unknown_board", "device provision shelf-01 --board toaster", "toaster"),
    Mistake("bad_id", "device provision Shelf_1 --board generic-x86", "Shelf_1"),
    Mistake("short_id", "device provision ab --board generic-x86", "ab"),
    Mistake("unknown_release", "rollout start fashion@9.9.9 --device shelf-01", "fashion@9.9.9"),
    Mistake("unknown_device", "rollout start fashion@1.0.0 --device nowhere-01", "nowhere-01"),
    Mistake("unknown_group", "rollback --group nobody", "nobody"),
    Mistake("no_build", "release create nothing-here", "nothing-here"),
    Mistake("broker_url", "serve --broker http://here --no-http", "http://here"),
]


def files_of(home):
    """What is in a home; a database and a lock come and go with every command."""
    return {path for path in home.root.rglob("*") if "sqlite" not in path.name and path.suffix != ".lock"}


def assert_one_line(done, says, code):
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    assert says in lines[0]


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.name)
def test_on_the_host(home, mistake):
    before = files_of(home)
    assert_one_line(skerry(home, *mistake.command.split(), check=False), mistake.says, mistake.code)
    assert files_of(home) == before


def test_a_broker_that_is_not_there(home):
    port = free_port()
    done = skerry_process(home, "serve", "--broker", f"mqtt://127.0.0.1:{port}", "--no-http")
    assert_one_line(done, f"127.0.0.1:{port}", 1)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('id = "shelf-01"', 'id = "Shelf 01"', "device.id"),
        ("threads = ", 'threads = "four" # ', "board.threads"),
        ("[device]", "[device", "agent.toml"),
    ],
    ids=["id", "type", "syntax"],
)
def test_on_the_device(home, tmp_path, old, new, says):
    device = provision(home, "shelf-01", "mqtt://127.0.0.1:1", tmp_path / "device")
    device.config.write_text(device.config.read_text().replace(old, new, 1))
    assert_one_line(device.command("run"), says, 2)
    assert not device.state.exists()


def test_a_device_without_a_folder(tmp_path, home):
    device = provision(home, "shelf-01", "mqtt://127.0.0.1:1", tmp_path / "device")
    device.config.unlink()
    assert_one_line(device.command("run"), "agent.toml does not exist", 2)


def test_an_agent_whose_broker_refuses_serves_and_says_so(home, installed, tmp_path):
    device = provision(home, "shelf-01", f"mqtt://127.0.0.1:{free_port()}", tmp_path / "device")
    shutil.copytree(installed, device.state, ignore=shutil.ignore_patterns("*.sock", "ports.json"))
    device.start()
    try:
        assert device.await_serving("fashion@1.0.0")["connected"] is False
        assert "offline" in device.command("status").stdout
        assert device.stop() == 0
    finally:
        device.kill()
