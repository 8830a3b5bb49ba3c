"""The look at an accelerator is a process of its own: whatever libedgetpu does, one answer comes."""

import queue
import subprocess
import sys

import pytest

from skerry_agent.deployment.children import RealProcesses
from skerry_agent.runner.engines.tpu import LIBRARY
from tests.kit.libedgetpu import library  # noqa: F401 - a fixture


@pytest.fixture
def look(tmp_path, library, monkeypatch):  # noqa: F811
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / LIBRARY).symlink_to(library)
    monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path / "lib"))
    calls: queue.Queue = queue.Queue()
    processes, answers = RealProcesses(calls.put, tmp_path / "trust.json", tmp_path), []

    def ask(mood, timeout_s=60.0):
        monkeypatch.setenv("STAND_IN", mood)
        processes.look_timeout_s = timeout_s
        processes.look_at_accelerator(answers.append)
        calls.get(timeout=60)()
        return answers.pop()

    return ask


@pytest.mark.parametrize(
    ("mood", "problem"), [("ok", ""), ("busy", ""), ("none", "device_absent"), ("segv_list", "driver_crashes")]
)
def test_the_look_says_whether_there_is_a_device_and_why_not(look, mood, problem):
    found = look(mood)
    assert (found.problem, bool(found.detail)) == (problem, bool(problem))
    assert found.runtime == (None if mood == "segv_list" else 14)


def test_a_library_that_hangs_is_not_waited_for(look):
    assert look("hang", 1.0).problem == "device_silent"


def test_without_a_library_there_is_nothing_to_crash(look, tmp_path):
    (tmp_path / "lib" / LIBRARY).unlink()
    found = look("ok")
    assert (found.problem, found.runtime) == ("driver_absent", None)


@pytest.mark.parametrize("child", ["tpu_look", "tpu_probe"])
def test_a_child_whose_parent_was_killed_before_it_was_watched_touches_no_library(look, monkeypatch, child):
    """A hanging one would stay for ever: the kernel tells of the death only those that have asked already."""
    monkeypatch.setenv("STAND_IN", "hang")
    command = [sys.executable, "-m", f"skerry_agent.runner.engines.{child}", "1", "1"]
    assert subprocess.run(command, check=False, capture_output=True, timeout=60).returncode == 1
