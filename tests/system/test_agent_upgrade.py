"""The agent upgrades itself, as real processes under a stand-in for systemd, and without one: the new one, or the old.

Orders and blobs are on the device already, as they are after they have come: no broker is needed to go back.
"""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from skerry_agent import __version__
from skerry_agent.launch import files
from skerry_agent.launch.table import MOST_STARTS, Agent, Ended, Ordered, Record, Trial
from skerry_agent.machine.settings import Overlay, SettingsRecord
from skerry_agent.state.runtimes import PLACE
from skerry_agent.state.settings import write_settings
from skerry_agent.wire.twin import Desired
from skerry_host.release.keys import load_or_create, trust_keys
from tests.kit.agents import AgentRelease, agent_wheel, desire
from tests.kit.restarts import Manager
from tests.kit.waiting import eventually

pytestmark = pytest.mark.system
VERSION = "9.1.0"
RUNS = 'import sys\nif sys.argv[1:2] == ["run"]:\n    '
TOML = """[device]
id = "dev-1"
[broker]
url = "mqtt://127.0.0.1:9"
[board]
name = "test"
"""


class Board:
    """A device's folder without a model, whose host is here: what it ordered, and the agents that it made."""

    def __init__(self, folder):
        self.folder, self.state = folder, folder / "state"
        folder.mkdir()
        self.keys = load_or_create(folder.parent / "keys")
        (folder / "agent.toml").write_text(TOML)
        (folder / "trust.json").write_text(json.dumps(trust_keys(folder.parent / "keys")))
        self.state.mkdir()
        self.generation, self.deployment = 0, ""

    def order(self, version=VERSION, deployment="d1", deadline_s=60.0, **edits):
        """An agent release of this version, with its files on the device and its order accepted."""
        release = AgentRelease(self.keys.release, version, agent_wheel(version, **edits))
        release.put(self.state)
        self.generation, self.deployment = self.generation + 1, deployment
        desired = Desired("dev-1", self.generation, 1.0, agent=release.order(deployment, deadline_s))
        desire(self.state, self.keys.director, desired)
        return release

    def stage(self, deadline_s=30.0, deployment="d1", **edits):
        """An agent that is installed and switched to, and has not been started yet."""
        release = AgentRelease(self.keys.release, VERSION, agent_wheel(VERSION, **edits))
        agent = self.install(release, agent_wheel(VERSION, **edits))
        self.generation, self.deployment = self.generation + 1, deployment
        desired = Desired("dev-1", self.generation, 1.0, agent=release.order(deployment, deadline_s))
        desire(self.state, self.keys.director, desired)
        files.change(self.state / "agents", Ordered(Trial(agent, deployment, deadline_s)))
        return agent

    def install(self, release, wheel):
        """Its folder, as pip leaves it."""
        name = f"{release.manifest.sha256[:16]}-{PLACE.tag}"
        for path, text in wheel.files.items():
            file = self.state / "agents" / name / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        return Agent(name, release.release, VERSION)

    def command(self, *arguments, **environment):
        command = [sys.executable, "-m", "skerry_agent", *arguments, "--config", str(self.folder / "agent.toml")]
        return subprocess.run(
            command, capture_output=True, text=True, timeout=60, check=False, env={**os.environ, **environment}
        )

    def status(self):
        done = self.command("status", "--json")
        return json.loads(done.stdout) if done.returncode == 0 else {}

    @property
    def record(self):
        return files.read(self.state / "agents")[0]

    @property
    def agents(self):
        return sorted(path.name for path in (self.state / "agents").iterdir() if path.is_dir())

    def tail(self):
        return (self.folder / "agent.log").read_text(errors="replace")[-1500:]


@pytest.fixture
def board(tmp_path):
    return Board(tmp_path / "device")


@pytest.fixture
def manager(board):
    made = Manager(board.folder, dict(os.environ))
    yield made
    made.stop()


def await_outcome(board, outcome, patience_s=40.0):
    """Wait until the order of the board has ended so, and an agent says it; what that says."""

    def ended():
        found = board.record.ended
        mine = found is not None and found.deployment == board.deployment
        assert not mine or found.outcome == outcome, found
        return mine

    eventually(ended, f"{outcome} on {board.folder}", patience_s)
    eventually(board.status, f"an agent answers on {board.folder}", patience_s)
    return board.status()


def test_a_new_agent_takes_over_and_the_main_process_stays_the_same(board, manager):
    board.order()
    write_settings(board.state, SettingsRecord(1, Overlay("s1", {"time_zone": "UTC"}), newest="s1"))
    manager.start()
    status = await_outcome(board, "succeeded")
    begun_with = Path(f"/proc/{manager.process.pid}/environ").read_bytes().split(b"\0")
    assert b"TZ=UTC" not in begun_with, "what is set from afar would be the system's to it, also once it is unset"
    assert (status["version"], status["upgrade"]["runs"]) == (VERSION, f"agent@{VERSION}")
    assert (manager.starts, len(manager.main_pids)) == (1, 1), "it became the other agent by exec"
    assert manager.ready >= 2
    record = board.record
    assert (record.current.version, record.previous.folder, record.trial) == (VERSION, "", None)
    eventually(lambda: len(manager.pids()) == 1, "nothing of the trial is left", 5.0)
    manager.kill()
    eventually(lambda: board.status().get("version") == VERSION, f"it is started again; {board.tail()}")
    assert VERSION in board.command("--version").stdout + board.command("status").stdout
    assert board.command("status", "--json", SKERRY_AGENT="base").returncode == 0, "an older command line reads it"


FAULTS = {
    "it crashes at import": ({"cli__run": RUNS + "raise ImportError('gone')"}, "agent_died"),
    "it cannot read the state": ({"cli__run": RUNS + "raise SystemExit('an unknown format')"}, "agent_died"),
    "it hangs before it is ready": ({"cli__run": RUNS + "import time; time.sleep(600)"}, "agent_not_healthy"),
    "it hangs after it is ready": (
        {
            "cli__run": "import time\nfrom skerry_agent.supervisor import agent_trial\n"
            "agent_trial.AgentTrial._look = lambda self: time.sleep(600)"
        },
        "agent_not_healthy",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_the_old_agent_comes_back_by_itself(board, manager, fault):
    edits, reason = FAULTS[fault]
    board.stage(2.0, **edits)
    manager.start()
    status = await_outcome(board, "rolled_back")
    assert (status["version"], status["upgrade"]["reason"]) == (__version__, reason)
    assert any(issue.startswith(f"{reason}: agent:") for issue in status["issues"])
    assert (board.record.current.folder, board.record.trial) == ("", None)


def test_a_committed_agent_that_does_not_stay_up_gives_way_to_the_one_before(board, manager):
    agent = board.stage(cli__run="raise ImportError('the disk has rotted')")
    files.write(board.state / "agents", Record(9, agent, Agent(), None, Ended("d1", agent.release, "succeeded")))
    manager.start()
    eventually(lambda: board.record.ended.outcome == "rolled_back", "it is given up")
    eventually(board.status, "an agent answers")
    assert (board.status()["version"], board.record.ended.reason) == (__version__, "agent_keeps_dying")
    assert manager.starts == MOST_STARTS + 1


def test_without_a_service_manager_the_launcher_stays_until_the_trial_is_over(board):
    """From a shell: the same process goes on, whatever the candidate does, and Ctrl-C ends it all."""
    board.stage(cli__run=RUNS + "import os; os.abort()")
    with (board.folder / "agent.log").open("ab") as log:
        command = [sys.executable, "-m", "skerry_agent", "run", "--config", "agent.toml"]
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=board.folder)
    try:
        status = await_outcome(board, "rolled_back")
        assert (status["version"], status["upgrade"]["detail"]) == (
            __version__,
            "not healthy after 3 starts: killed by SIGABRT",
        )
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
        board.stage(deployment="d2")
        with (board.folder / "agent.log").open("ab") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, cwd=board.folder)
        await_outcome(board, "succeeded")
        handed = "the launcher has become the new agent"
        eventually(lambda: board.record.starts == 1 and board.status().get("version") == VERSION, handed)
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0, board.tail()
