"""The whole story as `make demo JSON=...` tells it: it ends well, writes what it promises, leaves nothing behind."""

import contextlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from skerry_host.cli.demo.fleet import serve_command
from skerry_host.cli.demo.steps import who_gets_in
from tests.kit.programs import ROOT, require_program
from tests.kit.secrets import in_files, in_processes, key_lines

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


def watched(process, folder) -> tuple[set[str], set[str]]:
    """Every private key that there is while it runs, and where one is that is no key's file (case T7)."""
    keys, leaks = set(), set()
    while process.poll() is None:
        with contextlib.suppress(OSError):  # a file that has gone meanwhile
            keys |= key_lines(folder)
            leaks |= {place for place in in_processes(*keys) if keys}
            leaks |= {file for file in in_files(folder, *keys) if keys and not file.endswith((".key", ".pem"))}
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(2.0)
    return keys, leaks


def test_the_demo_tells_the_whole_story(tmp_path):
    require_program("mosquitto", "mosquitto")
    out = tmp_path / "out.json"
    command = [sys.executable, "-m", "skerry_host.cli", "demo", "--json-file", str(out)]
    environment = {
        "PATH": "/usr/sbin:/usr/bin:/bin",
        "TMPDIR": str(tmp_path),
        "PYTHONPATH": f"{ROOT}/host:{ROOT}/agent",
    }
    piped = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    with subprocess.Popen(command, env=environment, **piped) as process:
        keys, leaks = watched(process, tmp_path)
        told, _ = process.communicate(timeout=600)
    assert process.returncode == 0, told
    assert "mutual TLS: each device makes its own key and enrols; all keys are development keys" in told
    assert len(keys) > 3 * 2
    assert leaks == set()
    assert not [key for key in keys if key in told]
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


def test_without_a_broker_that_knows_certificates_the_demo_is_plain_and_says_so():
    assert "--plain" not in serve_command("/usr/sbin/mosquitto")
    assert "--plain" in serve_command(None)
    assert "without TLS" in who_gets_in("mqtt://127.0.0.1:1")
