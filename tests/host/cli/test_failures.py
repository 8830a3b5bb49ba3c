"""No failure of a command is a traceback: people get a line, programs an error, and what nobody foresaw has a log."""

import ast
import contextlib
import io
import json
import os
import re
import threading
from pathlib import Path

import click
import pytest

from skerry_host import failure_log
from skerry_host.builder.recipe.errors import BuildRefused
from skerry_host.cli import progress
from skerry_host.cli.main import cli, run
from skerry_host.cli.progress import lines, steps
from tests.kit.waiting import eventually

RAISED = {
    "an exception of nobody": (AssertionError(), "internal", "this command failed unexpectedly: AssertionError"),
    "one with words": (ValueError("too many\nvalues"), "internal", "failed unexpectedly: ValueError: too many values"),
    "no memory": (MemoryError(), "memory", "needs more memory than this machine has left"),
    "a full disk": (OSError(28, "No space left on device", "out"), "system", "No space left on device: out"),
    "a missing package": (ModuleNotFoundError("", name="cv2"), "missing_package", "package cv2 is not installed here"),
    "an interruption": (KeyboardInterrupt(), "interrupted", "interrupted"),
    "a mistake": (click.UsageError("no such option"), "usage", "no such option; see `skerry fail --help`"),
}


@pytest.fixture
def failing(monkeypatch, request):
    """A command that raises."""
    error = request.param

    @click.command()
    @click.option("--json", is_flag=True)
    def fail(json: bool) -> None:
        raise error

    monkeypatch.setattr(type(cli), "get_command", lambda _self, _ctx, _name: fail)


@pytest.mark.parametrize(("failing", "code", "words"), RAISED.values(), ids=RAISED.keys(), indirect=["failing"])
def test_every_failure_is_one_line_and_an_error_for_programs(failing, code, words, capsys, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert run(["fail", "--json"]) in {1, 2}
    said = capsys.readouterr()
    (line,) = filter(None, said.err.splitlines())  # click begins a new one after ^C
    assert line.startswith("error: ")
    assert words in line
    assert json.loads(said.out)["error"]["code"] == code


@pytest.mark.parametrize("failing", [ZeroDivisionError("by zero")], indirect=True)
def test_what_nobody_foresaw_is_kept_with_its_traceback(failing, capsys, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert run(["fail"]) == 1
    (path,) = re.findall(r"\S+skerry-failure-\S+\.log", capsys.readouterr().err)
    assert "Traceback" in Path(path).read_text()
    assert "ZeroDivisionError: by zero" in Path(path).read_text()


TRIED = ["as in the recipe: 9.0 dB", "calibrator mse: 9.5 dB"]


@pytest.mark.parametrize("failing", [BuildRefused("net-1", ["too little"], "", {}, TRIED)], indirect=True)
def test_what_a_refused_build_has_tried_follows_the_reasons_line_by_line(failing, capsys):
    assert run(["fail"]) == 1
    error, *tried = capsys.readouterr().err.splitlines()
    assert error == "error: build of net-1 refused: too little; --report FILE also writes its report"
    assert tried == [f"search: {line}" for line in TRIED]


def test_where_no_log_can_be_written_the_line_is_there_all_the_same(monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", "/nowhere")
    assert "could not be kept" in failure_log.unexpected(ValueError("x"), "it").hint


def test_a_pipe_gets_a_line_every_so_often_also_while_a_step_reports_nothing():
    """A converter takes minutes without a word: whoever reads a log must see that it is alive."""
    said, enough = [], threading.Event()

    def say(kind: str, text: str) -> None:
        said.append((kind, text))
        if sum(line.endswith("converting (3 of 8)") for _kind, line in said) == 3:
            enough.set()

    with lines(0.001, say) as show:
        show("converting", 3, 8)
        assert enough.wait(10)
    assert all(kind == "progress" for kind, _text in said)
    assert all(text.endswith("starting") for _kind, text in said[:-3] if "converting" not in text)


def test_a_line_of_progress_is_there_while_a_noisy_library_is_silenced(capfd):
    """A quantizer's bars and a runtime's chatter are dropped by redirecting standard error, for minutes."""
    said: list[str] = []
    with steps(quiet=False, every_s=0.001) as show, contextlib.redirect_stderr(io.StringIO()):
        kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 2)
        show("quantizing")
        try:
            eventually(lambda: said.append(capfd.readouterr().err) or ": quantizing\n" in "".join(said), "a line", 2.0)
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            os.close(nowhere)


LONG = {
    "model.py": {"build", "evaluate"},
    "model_init.py": {"model_init"},
    "model_check.py": {"check"},
    "model_files.py": {"profile", "_inspect_tflite"},
    "release.py": {"release_build"},
    "edgetpu.py": {"compile_command", "_preflight_sizes"},
}
"""The functions that wait for a child process, or run models."""


@pytest.mark.parametrize("file", LONG)
def test_every_command_that_may_take_minutes_tells_its_progress(file: str):
    tree = ast.parse((Path(progress.__file__).parent / file).read_text("utf-8"))
    telling = {
        function.name
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef) and any("steps" in ast.unparse(each) for each in _entered(function))
    }
    assert telling >= LONG[file]


def _entered(function: ast.FunctionDef) -> list[ast.expr]:
    return [item.context_expr for node in ast.walk(function) if isinstance(node, ast.With) for item in node.items]


def test_a_quick_command_says_nothing_in_a_pipe():
    said = []
    with lines(60.0, lambda *line: said.append(line)) as show:
        show("quick")
    assert said == []
