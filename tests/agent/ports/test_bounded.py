"""A program is given some time, and never more: not even when it does not end as it is killed."""

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from skerry_agent.meters.tool import FirmwareTool
from skerry_agent.ports.bounded import run_bounded
from tests.kit.unkillable import unkillable

SLEEP = [sys.executable, "-c", "import os, time; print(os.getpid(), flush=True); time.sleep(600)"]


def test_what_a_program_says_and_how_it_ends():
    done = run_bounded([sys.executable, "-c", "import sys; print('out'); sys.exit('why')"], 20)
    assert (done.returncode, done.stdout, done.stderr) == (1, "out\n", "why\n")


def test_a_program_that_takes_too_long_is_killed():
    with pytest.raises(subprocess.TimeoutExpired):
        run_bounded(SLEEP, 0.2)


def test_a_program_that_cannot_be_killed_is_not_waited_for(tmp_path):
    """`subprocess.run` waits for it without end."""
    told, held, release = tmp_path / "pid", threading.Event(), threading.Event()

    def hold():
        while not told.exists() or not told.read_text():
            time.sleep(0.005)
        with unkillable(int(told.read_text())):
            held.set()
            release.wait(20)

    holder = threading.Thread(target=hold)
    holder.start()
    write = f"import os, time; open({str(told)!r}, 'w').write(str(os.getpid())); time.sleep(600)"
    with pytest.raises(subprocess.TimeoutExpired):
        run_bounded([sys.executable, "-c", write], 1.5)
    assert held.is_set()
    assert Path(f"/proc/{told.read_text()}").exists()
    release.set()
    holder.join()


def script(folder, text):
    path = folder / "vcgencmd"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return FirmwareTool(str(path))


def test_the_firmwares_tool_says_nothing_where_it_fails(tmp_path):
    assert script(tmp_path, "echo throttled=0x0").ask("get_throttled") == "throttled=0x0\n"
    assert script(tmp_path, "echo no >&2; exit 255").ask("get_throttled") is None
    assert FirmwareTool(str(tmp_path / "absent")).ask("get_throttled") is None


def test_the_firmwares_tool_is_not_started_beside_one_that_is_stuck(tmp_path, monkeypatch):
    monkeypatch.setattr("skerry_agent.meters.tool.TIMEOUT_S", 0.1)
    tool = script(tmp_path, f"echo x >> {tmp_path}/calls; exec sleep 600")
    assert tool.ask("get_throttled") is None
    tool._stuck = real = subprocess.Popen(["sleep", "600"])
    assert tool.ask("get_throttled") is None
    assert (tmp_path / "calls").read_text() == "x\n"
    real.kill()
    real.wait()
    assert tool.ask("get_throttled") is None
    assert (tmp_path / "calls").read_text() == "x\nx\n"
