"""The product as it was at an earlier commit, out of this repository's history: agents and homes that are in the field.

No tests here. What is run is the code of that time, with the libraries of today.
"""

import os
import subprocess
import sys
import tarfile
from io import BytesIO
from pathlib import Path

import pytest

from tests.kit.programs import ROOT

COMMIT = "0d3a90c"
"""Before devices had identities and orders had generations by the clock."""


def checked_out(folder: Path, commit: str = COMMIT) -> Path:
    """Agent and host of a commit below a folder; skips the test where the history is not there."""
    done = subprocess.run(
        ["git", "-C", str(ROOT), "archive", commit, "agent", "host", "firmware_configs"],
        capture_output=True,
        check=False,
    )
    if done.returncode != 0:
        pytest.skip(f"commit {commit} is not in this clone: fetch the whole history")
    with tarfile.open(fileobj=BytesIO(done.stdout)) as archive:
        archive.extractall(folder, filter="data")
    return folder


def environment(old: Path) -> dict[str, str]:
    """That in which Python finds the code of then, and nothing of now."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "SKERRY"))}
    return kept | {"PYTHONPATH": os.pathsep.join([str(old / "agent"), str(old / "host")]), "PYTHONSAFEPATH": "1"}


def skerry_then(old: Path, home: Path, *arguments: str) -> str:
    """Run a command of the host of then; what it printed."""
    command = [sys.executable, "-m", "skerry_host.cli", "--home", str(home), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment(old), timeout=60)
    return done.stdout
