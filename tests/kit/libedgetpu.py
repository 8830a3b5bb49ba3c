"""A library that stands in for libedgetpu where there is no Edge TPU."""

import shutil
import subprocess
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def library(tmp_path_factory):
    """The path of a stand-in for libedgetpu, built here: its C entry points, no Edge TPU behind them."""
    if shutil.which("gcc") is None:
        pytest.skip("gcc is not installed")
    path = tmp_path_factory.mktemp("stand_in") / "libedgetpu_stand_in.so"
    source = Path(__file__).with_name("stand_in_edgetpu.c")
    subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-o", str(path), str(source)], check=True)
    return str(path)
