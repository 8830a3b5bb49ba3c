"""The units in firmware_configs: systemd takes every line of them, and finds them hardened."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.kit.programs import require_program

FOLDER = Path(__file__).resolve().parents[1] / "firmware_configs" / "systemd"
AGENT = FOLDER / "skerry-agent.service"
PROGRAM = re.compile(r"^(ExecStart=)\S+", re.MULTILINE)


@pytest.fixture
def unit(tmp_path):
    """The agent's, with a program that is here in place of one that is not."""
    made = tmp_path / AGENT.name
    made.write_text(PROGRAM.sub(r"\1/bin/true", AGENT.read_text()))
    return made


def test_systemd_takes_every_line(unit):
    """It ignores what it does not understand, and starts the service without it."""
    program = require_program("systemd-analyze", "systemd")
    done = subprocess.run([program, "verify", str(unit)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_it_is_hardened(unit):
    program = require_program("systemd-analyze", "systemd")
    command = [program, "security", "--offline=true", "--threshold=20", str(unit)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_every_file_of_a_provisioned_folder_is_handed_over():
    """Relative paths in agent.toml lead into the folder of credentials."""
    handed = re.findall(r"^LoadCredential=([^:]+):/etc/skerry/(.*)$", AGENT.read_text(), re.MULTILINE)
    assert {name for name, _ in handed} == {
        "agent.toml", "trust.json", "fleet-ca.pem", "claim.pem", "claim.key", "credentials",
    }  # fmt: skip
    assert all(name == file for name, file in handed)
