"""A runtime is tried in a child: each way in which it may not work has a reason, and the probe itself always lives."""

import os
import sys

import pytest

from skerry_agent.ports import probe as module
from skerry_agent.ports.probe import probe, processor
from tests.kit.wheels import SIGILL_FOR_REAL

BAD = {
    "an instruction that the processor lacks": (SIGILL_FOR_REAL, "runtime_crashed", "SIGILL at import of tiny@1 on "),
    "a pointer to nowhere": ("import ctypes; ctypes.string_at(0)", "runtime_crashed", "SIGSEGV at import of tiny@1"),
    "an abort of the C library": ("import os; os.abort()", "runtime_crashed", "SIGABRT"),
    "a module that is not there": ("import nowhere_to_be_found", "runtime_does_not_load", "nowhere_to_be_found"),
    "a newer C library": (
        'raise ImportError("/lib/libc.so.6: version `GLIBC_2.99\' not found (required by /x/y.so)")',
        "runtime_needs_glibc",
        "needs GLIBC_2.99, and this system has glibc",
    ),
    "an error of its own": ("1 / 0", "runtime_does_not_load", "ZeroDivisionError"),
    "an end of the process": ("raise SystemExit(5)", "runtime_does_not_load", "exit status 5"),
    "a kill by somebody else": ("import os; os.kill(os.getpid(), 9)", "interrupted", "SIGKILL"),
}


@pytest.mark.parametrize("fault", BAD)
def test_each_fault_at_import_has_its_reason(fault, tmp_path):
    code, reason, words = BAD[fault]
    (tmp_path / "tiny.py").write_text(code)
    found = probe("litert", ("tiny",), str(tmp_path), "tiny@1")
    assert found.reason == reason
    assert words in found.detail
    assert "\n" not in found.detail


def test_the_reason_names_the_processor(tmp_path):
    (tmp_path / "tiny.py").write_text(SIGILL_FOR_REAL)
    found = probe("litert", ("tiny",), str(tmp_path), "tiny@1")
    assert processor() in found.detail
    assert "instructions that this processor does not have" in found.detail


def test_what_works_says_its_version(tmp_path):
    (tmp_path / "tiny.py").write_text("")
    found = probe("litert", ("tiny",), str(tmp_path), "tiny@1")
    assert (found.reason, found.detail.split()[0]) == ("", "ai-edge-litert")


def test_one_that_never_comes_back_is_ended(tmp_path, monkeypatch):
    (tmp_path / "tiny.py").write_text("import time; time.sleep(60)")
    monkeypatch.setattr(module, "PROBE_S", 0.3)
    assert probe("litert", ("tiny",), str(tmp_path), "tiny@1").reason == "runtime_hangs"


PI = "processor\t: 0\nCPU implementer\t: 0x41\nCPU part\t: 0xd03\n\nModel\t\t: Raspberry Pi 3 Model B Rev 1.2\n"
PC = "processor\t: 0\nmodel\t\t: 85\nmodel name\t: Intel(R) Xeon(R) CPU\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [(PI, "Arm CPU 0x41/0xd03, Raspberry Pi 3 Model B Rev 1.2, "), (PC, "Intel(R) Xeon(R) CPU, "), ("", "")],
)
def test_a_processor_has_a_name(text, words, tmp_path):
    (tmp_path / "cpuinfo").write_text(text)
    assert processor(tmp_path / "cpuinfo") == words + os.uname().machine


def test_the_folder_comes_before_what_is_installed():
    from skerry_agent.ports.path import with_path

    assert with_path("/r")["PYTHONPATH"].split(os.pathsep)[0] == "/r"
    assert with_path("") == dict(os.environ)
    assert sys.executable
