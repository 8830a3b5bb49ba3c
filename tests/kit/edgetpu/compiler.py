"""The real pairs, and a stand-in compiler that replays recorded output (labelled as such; see stand_in.py)."""

import csv
import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from skerry_host.builder.edgetpu.compiler import VARIABLE

HERE = Path(__file__).resolve().parent
REAL = Path(os.environ.get("SKERRY_REAL_MODELS") or HERE.parents[3] / "shared" / "models") / "edgetpu"
LOGS = HERE / "logs"

StandIn = Callable[..., Path]


def source_of(compiled: str) -> Path:
    """The source model of a compiled file of the real pairs."""
    return REAL / f"{compiled.removesuffix('_edgetpu.tflite').partition('_cocompiled_with')[0]}.tflite"


@pytest.fixture(scope="session")
def pairs() -> list[dict[str, str]]:
    """The rows of pairs.csv."""
    if not REAL.is_dir():
        pytest.skip("no real models: set SKERRY_REAL_MODELS")
    with (REAL / "pairs.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    """Installs the stand-in with a plan; each step names a log of logs/ and gives the content of output files."""

    def install(*steps: dict[str, Any]) -> Path:
        folder = tmp_path / "stand-in"
        folder.mkdir()
        plan = []
        for i, step in enumerate(steps):
            files = {}
            for name, data in step.get("files", {}).items():
                files[name] = str(folder / f"{i}-{name}")
                Path(files[name]).write_bytes(data)
            log = str(LOGS / step["log"]) if "log" in step else None
            plan.append({**step, "files": files, "log": log})
        (folder / "plan.json").write_text(json.dumps(plan), "utf-8")
        shutil.copyfile(HERE / "stand_in.py", folder / "stand_in.py")
        program = folder / "edgetpu_compiler"
        program.write_text(f'#!/bin/sh\nexec {sys.executable} "{folder}/stand_in.py" "$@"\n', "utf-8")
        program.chmod(0o755)
        monkeypatch.setenv(VARIABLE, str(program))
        return folder

    return install


def calls(folder: Path) -> list[list[str]]:
    """The arguments of every call of the stand-in."""
    found: list[list[str]] = json.loads((folder / "calls.json").read_text("utf-8"))
    return found
