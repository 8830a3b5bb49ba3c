"""The whole story as `make demo JSON=...` tells it: it ends well, writes what it promises, leaves nothing behind."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kit.programs import require_program

pytestmark = pytest.mark.system


def _processes_of(folder: Path) -> list[str]:
    lines = [path.read_bytes().replace(b"\0", b" ").decode() for path in _command_lines()]
    return [line for line in lines if str(folder) in line]


def _command_lines():
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            path.read_bytes()
        except OSError:  # it has ended meanwhile
            continue
        yield path


def test_the_demo_tells_the_whole_story(tmp_path):
    require_program("mosquitto", "mosquitto")
    out = tmp_path / "out.json"
    command = [sys.executable, "-m", "skerry_host.cli", "demo", "--json-file", str(out)]
    done = subprocess.run(  # noqa: PLW1510 - its exit code is what is tested
        command,
        capture_output=True,
        text=True,
        timeout=600,
        env={"PATH": "/usr/sbin:/usr/bin:/bin", "TMPDIR": str(tmp_path)},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    data = json.loads(out.read_text())
    assert data["ok"]
    assert data["build"]["float"] >= 0.90
    assert data["build"]["int8"] >= data["build"]["float"] - 0.01
    assert [device["release"] for device in data["devices"]] == ["fashion@1.1.0"] * 3
    assert {device["power_source"] for device in data["devices"]} <= {"measured", "modelled", "absent"}
    assert all(device["inferences"] > 100 and device["latency_us"]["p99"] for device in data["devices"])
    ends = {(d["release"], d["outcome"]) for d in data["deployments"]}
    assert ends == {
        ("fashion@1.0.0", "succeeded"),
        ("fashion@1.1.0", "succeeded"),
        ("fashion@1.2.0", "rolled_back"),
    }
    patches = [d for d in data["deployments"] if d["release"] == "fashion@1.1.0"]
    assert all(d["transfer"] == "patch" and d["bytes"] < d["full_bytes"] / 10 for d in patches)
    assert data["lost_requests"] == 0
    assert _processes_of(tmp_path) == []
    assert [path.name for path in tmp_path.iterdir()] == ["out.json"]
