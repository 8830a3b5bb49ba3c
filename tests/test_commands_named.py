"""Every command that documentation, errors and hints tell a reader to type is one: its words, and its options."""

import argparse
import re
import shlex

import click
import pytest

from skerry_agent.cli.main import _parser
from skerry_host.cli.main import cli
from tests.kit.programs import ROOT

SPAN = re.compile(r"`(skerry(?:-agent)? [^`\n]+)`")
LINE = re.compile(r"(?m)^(skerry(?:-agent)? [^\n]+)$")
BLOCK = re.compile(r"```(?:sh)?\n(.*?)```", re.DOTALL)
PLACES = ("*.md", "docs/**/*.md", "agent/*.md", "firmware_configs/**/*", "models/*/README.md")
SOURCES = ("host/skerry_host/**/*.py", "agent/skerry_agent/**/*.py")
WORD = re.compile(r"[a-z][a-z-]*\Z")


def _named():
    """(file, command) of all that are named."""
    for pattern in PLACES + SOURCES:
        for path in sorted(ROOT.glob(pattern)):
            if path.suffix not in {".md", ".toml", ".service", ".py"} or "CHANGELOG" in path.name:
                continue
            text = path.read_text(encoding="utf-8")
            found = SPAN.findall(text)
            for body in BLOCK.findall(text) if path.suffix == ".md" else ():
                found += LINE.findall(body)
            for command in found:
                yield str(path.relative_to(ROOT)), command


def _words(command: str) -> list[str]:
    """Up to a comment, an alternative or the end of the command."""
    first = re.split(r"\s#|\||&|;|\.\.\.", command)[0]
    try:
        return shlex.split(first)
    except ValueError:
        return first.split()


def _host(words: list[str]) -> str | None:
    """What is wrong with a `skerry` command."""
    command: click.Command = cli
    for word in words:
        if word.startswith("--"):
            known = {name for parameter in command.params for name in parameter.opts} | {"--help", "--version"}
            if word.partition("=")[0] not in known:
                return f"no option {word}"
        elif isinstance(command, click.Group) and WORD.match(word):
            found = command.get_command(click.Context(command), word)
            if found is None:
                return f"no command {word}"
            command = found
    return None


def _agent(words: list[str]) -> str | None:
    """What is wrong with a `skerry-agent` command."""
    parser: argparse.ArgumentParser = _parser()
    (choices,) = (action.choices for action in parser._actions if isinstance(action.choices, dict))
    for word in words:
        if word in choices:
            parser = choices[word]
        elif word.startswith("--") and word not in parser._option_string_actions:
            return f"no option {word}"
        elif WORD.match(word) and parser.prog == "skerry-agent":
            return f"no command {word}"
    return None


@pytest.mark.parametrize("program", ["skerry", "skerry-agent"])
def test_what_readers_are_told_to_type_is_a_command(program):
    check = _host if program == "skerry" else _agent
    named = [(file, command) for file, command in _named() if command.split()[0] == program]
    assert len(named) > 20
    wrong = [(file, command, why) for file, command in named if (why := check(_words(command)[1:]))]
    assert wrong == []
