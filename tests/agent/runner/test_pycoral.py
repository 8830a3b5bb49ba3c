"""Whose `pycoral` it is. Both packages here are stand-ins, made by the test for a child process: neither is real."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]

GOOGLES = """
from ai_edge_litert.interpreter import load_delegate

def get_runtime_version():
    return "BuildLabel(STAND-IN), RuntimeVersion(13)"

def list_edge_tpus():
    return [{{"type": "pci", "path": "/dev/apex_0"}}]

def load_edgetpu_delegate(options=None):
    return load_delegate({library!r}, options or {{}})
"""
"""Stands in for Google's pycoral/utils/edgetpu.py: the three functions that are asked for."""

OPEN = """
import sys
from skerry_agent.runner.engines import ModelFile, edgetpu
from skerry_agent.runner.errors import EngineError
model = ModelFile(sys.argv[1], min_edgetpu_runtime=int(sys.argv[3]))
try:
    print(edgetpu.open_edgetpu(model, sys.argv[2]).about.delegate)
except EngineError as error:
    print(error.code, error)
"""
CHECK = "import sys; from skerry_agent.runner.engines import edgetpu; print(edgetpu.check(sys.argv[1]))"


@pytest.fixture
def site(tmp_path):
    """A folder on the child's path, to lay packages into."""

    def lay(files):
        for name, text in files.items():
            path = tmp_path / "site" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return tmp_path / "site"

    return lay


@pytest.fixture
def model(tiny, tmp_path):
    tiny("copy")
    return str(tmp_path / "copy" / "model.tflite")


def ask(site, code, *arguments):
    path = os.pathsep.join(map(str, (site, ROOT / "agent")))
    environment = os.environ | {"PYTHONPATH": path, "STAND_IN": "ok"}
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout.strip()


def google(site, body):
    return site({"pycoral/__init__.py": "", "pycoral/utils/__init__.py": "", "pycoral/utils/edgetpu.py": body})


def impostor(site, mark):
    """Another project's package: what of it is run leaves a mark."""
    return site({"pycoral/__init__.py": f"open({str(mark)!r}, 'w').close()\n", "pycoral/atlas.py": ""})


def test_google_s_lists_and_opens_the_devices(site, library, model):
    folder = google(site, GOOGLES.format(library=library))
    said = ask(folder, OPEN, model, "libno_such_edgetpu.so.1", 13)
    assert said == "libedgetpu runtime 13 by pycoral on pci:/dev/apex_0"


def test_google_s_runtime_version_counts_as_the_library_s_does(site, library, model):
    folder = google(site, GOOGLES.format(library=library))
    said = ask(folder, OPEN, model, "libno_such_edgetpu.so.1", 14)
    assert said.startswith(
        "driver_too_old the model is compiled for Edge TPU runtime 14, this device's libedgetpu has 13"
    )


def test_google_s_that_cannot_be_imported_is_done_without(site, library, model):
    """Pain pycoral#85, pycoral#137: Google's wheels end with Python 3.9."""
    folder = google(site, "raise ImportError('built for Python 3.9')")
    assert ask(folder, OPEN, model, library, 13) == "libedgetpu runtime 14 on usb:/sys/bus/usb/devices/2-1"


def test_another_project_s_is_neither_used_nor_run_and_the_doctor_says_so(site, library, model, tmp_path):
    mark = tmp_path / "was-run"
    folder = impostor(site, mark)
    assert ask(folder, OPEN, model, library, 13) == "libedgetpu runtime 14 on usb:/sys/bus/usb/devices/2-1"
    assert ask(folder, CHECK, library).endswith("the pycoral installed here is another project's package: not used")
    assert not mark.exists()


def test_the_doctor_says_who_was_asked(site, library):
    assert "libedgetpu runtime 13 by pycoral: pci:/dev/apex_0" in ask(
        google(site, GOOGLES.format(library=library)), CHECK, "libno_such_edgetpu.so.1"
    )
