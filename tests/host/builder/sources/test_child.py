"""Which Python converts, and what is said when it cannot: nothing is passed over in silence, nothing piles up."""

import os
import sys
from pathlib import Path

import pytest

from skerry_host import failure_log
from skerry_host.builder.recipe.errors import ModelError
from skerry_host.builder.sources import child
from skerry_host.builder.sources.child import Conversion, run
from skerry_host.builder.sources.converters import ONNX2TF, VARIABLE, python_with


@pytest.mark.parametrize(("make", "words"), [(None, "is not there"), (0o644, "may not be run")])
def test_a_named_python_that_is_none_is_said(tmp_path: Path, monkeypatch, make, words: str):
    python = tmp_path / "python"
    if make is not None:
        python.touch(make)
    monkeypatch.setenv(VARIABLE, str(python))
    with pytest.raises(ModelError) as refused:
        python_with(ONNX2TF)
    assert f"{VARIABLE} is {python}, which {words}; name the bin/python" in str(refused.value)


def test_a_named_python_without_the_converter_gets_the_command(tmp_path: Path):
    with pytest.raises(ModelError) as refused:
        run(
            Conversion(
                "onnx2tf", [sys.executable, "-c", "raise ModuleNotFoundError(\"No module named 'onnx2tf'\")"], tmp_path
            )
        )
    assert refused.value.code == "missing_extra"
    assert f"{sys.executable} -m pip install onnx2tf==" in refused.value.hint


def test_what_is_no_program_is_one_line(tmp_path: Path):
    (tmp_path / "python").write_bytes(b"\x7fELF no")
    (tmp_path / "python").chmod(0o755)
    with pytest.raises(ModelError, match="Exec format error"):
        run(Conversion("onnx2tf", [str(tmp_path / "python")], tmp_path))


def test_outputs_are_bounded_in_length_and_number(tmp_path: Path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(child, "OUTPUT_BYTES", 1000)
    for number in range(failure_log.KEPT + 3):
        fails = f"print('x' * 5000); print('number {number}'); raise SystemExit(1)"
        with pytest.raises(ModelError, match=f"fails: number {number}"):
            run(Conversion("it", [sys.executable, "-c", fails], tmp_path))
    logs = sorted(tmp_path.glob("skerry-converter-*.log"), key=os.path.getmtime)
    assert len(logs) == failure_log.KEPT
    assert all(log.stat().st_size <= 1000 for log in logs)
    assert f"number {failure_log.KEPT + 2}" in logs[-1].read_text()
