"""PyTorch networks as ONNX: exported once a run, by the environment of scripts/setup-torch."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.kit.once import once
from tests.kit.programs import ROOT

PYTHON = Path(os.environ.get("SKERRY_TORCH_PYTHON") or ROOT / ".venv/torch/bin/python")
NETS = Path(__file__).with_name("torch") / "nets.py"
needs_torch = pytest.mark.skipif(not PYTHON.is_file(), reason=f"no PyTorch in {PYTHON}: scripts/setup-torch")


@pytest.fixture(scope="session")
def torch_nets(tmp_path_factory) -> Path:
    """The folder with every network as NAME.old.onnx, and some as NAME.new.onnx beside their data."""
    return once(tmp_path_factory, "torch-nets", _export)


def _export(folder: Path) -> None:
    done = subprocess.run([PYTHON, NETS, folder], capture_output=True, text=True, check=True, timeout=300)
    lost = [line for line in done.stdout.splitlines() if "Error" in line]
    assert not lost, lost
