"""kill -9 of the supervisor in every state of its machine, at the last instant of that state: it converges afterwards.

The kill comes when the supervisor is about to rename its N-th journal record into place: all work of the state before
is done, and nothing of it is known to the journal. The lab kills at every other system call.
"""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.kit.waiting import eventually
from tests.system.fleet import BAD, FIRST, SECOND, Device, await_end, outcomes, start_rollout

pytestmark = pytest.mark.system


@dataclass(frozen=True)
class Case:
    """In `state`, which ends with journal write `write`, on the way to `order`: what the device serves in the end."""

    state: str
    write: int
    order: str = SECOND
    serves: str = SECOND
    ends: tuple[str, str] = ("succeeded", "")


CASES = [
    Case("fetching", 2),
    Case("verifying", 3),
    Case("staged", 4),
    Case("probation", 5),
    Case("committed", 6),
    Case("rolling_back", 6, BAD, FIRST, ("rolled_back", "latency_over_budget")),
]


def assert_clean(device: Device, release: str) -> None:
    """Serving, with nothing left over on the disk or in the process table."""
    status = device.await_serving(release)
    assert status["models"]["fashion"]["candidate"] is None
    assert device.bundles() == device.held()
    assert not list((device.state / "blobs").iterdir())
    assert device.command("selftest").returncode == 0


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.state)
def test_killed_in_a_state(home, device, case):
    device.start(kill_at_journal_write=case.write)
    device.await_serving(FIRST)
    rollout = start_rollout(home, case.order, device.id)
    device.await_death()
    assert device.state_name() == case.state
    device.start()
    view = await_end(home, rollout)
    assert outcomes(view) == {case.ends}
    assert_clean(device, case.serves)


def test_killed_while_idle_and_ordered_while_dead(home, running):
    running.kill()
    rollout = start_rollout(home, SECOND, running.id)
    running.start()
    assert outcomes(await_end(home, rollout)) == {("succeeded", "")}
    assert_clean(running, SECOND)


def test_two_supervisors_never_share_a_state_folder(running):
    second = running.command("run")
    assert second.returncode == 1
    assert "another agent runs" in second.stderr


SUPERVISOR = """
import os, subprocess, sys, time
print(subprocess.Popen([sys.executable, "-m", "skerry_agent.updater", "trust.json", str(os.getpid())]).pid, flush=True)
time.sleep(600)
"""


def test_an_updater_does_not_outlive_its_supervisor():
    """Two updaters on one folder would undo each other's work. This one waits for a job: its pipe stays open."""
    ours, theirs = os.pipe()
    command = [sys.executable, "-c", SUPERVISOR]
    with subprocess.Popen(command, stdin=ours, stdout=subprocess.PIPE, text=True) as supervisor:
        assert supervisor.stdout is not None
        updater = int(supervisor.stdout.readline())
        eventually(lambda: command_line(updater), "the updater has started", 10.0)
        supervisor.kill()
    eventually(lambda: not command_line(updater), "the updater is gone", 10.0)
    os.close(theirs)
    os.close(ours)


def command_line(pid: int) -> bytes:
    """Empty once a process has ended, also where nobody has asked how."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except FileNotFoundError:
        return b""
