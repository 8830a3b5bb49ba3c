"""Completion: the scripts that are printed, and the names that a shell is told."""

import os
import shutil
import subprocess
import sys

import click
import pytest

from skerry_host.cli.completion import NAMES, SHELLS
from skerry_host.cli.main import COMMANDS, cli
from tests.kit.commands import skerry
from tests.kit.home import add_release, make_home, model_bytes
from tests.kit.programs import ROOT


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    made = make_home(tmp_path_factory.mktemp("completion") / "home")
    for name in ("shelf-01", "shelf-02", "dock-01"):
        skerry(made, "device", "provision", name, "--board", "generic-x86")
    skerry(made, "group", "create", "lab", "--where", "all")
    add_release(made, "1.0.0", model_bytes("m", 5000))
    return made


def completed(home, *words: str) -> list[str]:
    """What a bash is told for the last word."""
    environment = {
        **os.environ,
        "PYTHONPATH": f"{ROOT}/host:{ROOT}/agent",
        "SKERRY_HOME": str(home.root),
        "_SKERRY_COMPLETE": "bash_complete",
        "COMP_WORDS": " ".join(["skerry", *words]),
        "COMP_CWORD": str(len(words)),
    }
    code = "from skerry_host.cli.main import cli; cli.main(prog_name='skerry')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert done.stderr == ""
    return [line.partition(",")[2] for line in done.stdout.splitlines() if line]


def test_names_of_what_there_is_are_completed(home):
    assert completed(home, "device", "show", "shelf") == ["shelf-01", "shelf-02"]
    assert completed(home, "rollback", "--group", "l") == ["lab"]
    assert completed(home, "rollout", "start", "fash") == ["fashion@1.0.0"]
    assert completed(home, "device", "provision", "new", "--board", "raspberry-pi-z") == ["raspberry-pi-zero-2w"]


def test_where_there_is_nothing_there_are_no_names_and_no_message(tmp_path):
    home = make_home(tmp_path / "home")
    (home.root / "registry.sqlite").write_text("damaged")
    assert completed(home, "device", "show", "a") == []


@pytest.mark.parametrize("shell", SHELLS)
def test_the_script_of_a_shell_is_one(home, shell):
    script = skerry(home, "completion", shell).stdout
    assert "_SKERRY_COMPLETE" in script
    if shutil.which(shell):
        checked = subprocess.run([shell, "-n"], input=script, capture_output=True, text=True, check=False)
        assert (checked.returncode, checked.stderr) == (0, "")


def _commands(command: click.Command, path: tuple[str, ...] = ()):
    yield path, command
    context = click.Context(command)
    for name in command.list_commands(context) if isinstance(command, click.Group) else ():
        yield from _commands(command.get_command(context, name), (*path, name))


ALL = dict(_commands(cli))


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_help_is_readable_at_80_columns(path):
    context = click.Context(ALL[path], info_name=" ".join(("skerry", *path)), terminal_width=80, max_content_width=80)
    lines = ALL[path].get_help(context).splitlines()
    assert [line for line in lines if len(line) > 80] == []
    assert all(line.rstrip() != "..." for line in lines)


def test_whatever_names_a_thing_that_there_is_completes_it():
    """A parameter that is called like one that is completed elsewhere, or a new one that nobody has thought of."""
    known = {key for _, key in NAMES}
    for path, command in ALL.items():
        for parameter in command.params:
            new = path[-1] in {"create", "provision"} if path else False
            if parameter.name in known and parameter.type is click.STRING and not new:
                assert {(path[0], parameter.name), ("*", parameter.name)} & set(NAMES), (path, parameter.name)
    assert {top for top, _ in NAMES} - {"*"} <= set(COMMANDS)
