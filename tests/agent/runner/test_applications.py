"""The examples of docs/applications.md, run word for word against the fashion model as a runner serves it."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.kit.recipes import FASHION, REPOSITORY, built, make_recipe, recipe  # noqa: F401 - fixtures
from tests.kit.serving import job_of

PAGE = (REPOSITORY / "docs" / "applications.md").read_text("utf-8")
BLOCKS = re.findall(r"```(python|sh)\n(.*?)```", PAGE, re.DOTALL)
ADDRESS = "127.0.0.1:8000"


@pytest.fixture
def fashion(built, spawn, listener):  # noqa: F811
    """A runner of the fashion model: (process, address)."""
    (bundle,) = built.record.bundles
    child = spawn(job_of(built.path, bundle, "fashion", listen_fd=listener.fileno()), listener)
    child.ready()
    return child.process, f"127.0.0.1:{listener.getsockname()[1]}"


def run(language, text, folder: Path):
    program = [sys.executable, "-c", text] if language == "python" else ["sh", "-ec", text]
    done = subprocess.run(program, cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_example_of_the_page_runs_as_it_is_written(fashion, tmp_path):
    process, address = fashion
    data = np.load(FASHION / "evaluation.npz")
    bag = int(np.flatnonzero(data["labels"] == 8)[0])
    data["inputs"][bag].tofile(tmp_path / "picture.gray")
    np.savez(tmp_path / "samples.npz", inputs=data["inputs"][:200])
    printed = {}
    for language, text in BLOCKS:
        assert ADDRESS in text
        if language == "sh" and shutil.which("curl") is None:
            continue
        key = "tritonclient" if "tritonclient" in text else "labels" if "/labels" in text else language
        printed[key] = run(language, text.replace(ADDRESS, address), tmp_path)
    assert {"python", "tritonclient"} <= printed.keys()
    assert re.match(r"[01]\.\d\d Bag\n[01]", printed["python"])
    assert printed["tritonclient"].startswith("(200, 10) [")
    assert printed["tritonclient"].endswith(":8:Bag\n")
    assert ":8:Bag" in printed.get("sh", ":8:Bag")
    assert "Ankle boot" in printed.get("labels", "Ankle boot")
    assert "numpy" not in Path(f"/proc/{process.pid}/maps").read_text(), "the examples cost a runner 16 MB"
