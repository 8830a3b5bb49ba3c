"""No command prints except through the one printer, which cleans what it is given (`cli/terminal`, `cli/lines`)."""

import ast
from pathlib import Path

import pytest
from rich.console import Console
from rich.table import Table
from rich.text import Text

from skerry_host import cli
from skerry_host.cli.lines import write_error
from skerry_host.cli.terminal import Terminal, joined, styled, table

ROOM = Path(cli.__file__).parent
THE_PRINTER = {"terminal.py", "lines.py"}
ALLOWED = {"main.py": {"sys.stdout", "sys.stderr"}, "monitor.py": {"sys.stdout"}}
"""`main` says the one line of an error without loading rich, and gives a broken pipe up; `monitor` asks `isatty`."""

PRINTS = {"print", "click.echo", "click.secho", "click.echo_via_pager", "rich.print", "Console"}
PRINTS |= {"sys.stdout", "sys.stderr"}
HOSTILE = "\x1b]0;owned\x07\x1b[2Jx\x9b1m\u202e[red]no[/] [/b] [link=http://evil]here[/link]"


@pytest.mark.parametrize("path", sorted(ROOM.rglob("*.py")), ids=lambda path: str(path.relative_to(ROOM)))
def test_no_command_prints_by_itself(path):
    if path.name in THE_PRINTER:
        return
    used = {name for node in ast.walk(ast.parse(path.read_text())) if (name := _called(node))}
    assert not (used & PRINTS) - ALLOWED.get(path.name, set())


def _called(node):
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        return node.func.id
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        return f"{node.value.id}.{node.attr}"
    return None


def shown(*things):
    """What a terminal that takes colours gets."""
    console = Terminal(highlight=False, markup=False, force_terminal=True, color_system="truecolor", width=400)
    with console.capture() as captured:
        console.print(*things, soft_wrap=True)
    return captured.get()


def test_only_the_printers_own_escapes_reach_a_terminal():
    made = table("a", HOSTILE)
    made.add_row(HOSTILE, styled(HOSTILE, "red"))
    raw = Table("b")
    raw.add_row(Text(HOSTILE))
    link = Text("x", "link http://evil\x1b]0;owned\x07")
    text = shown(HOSTILE, made, raw, joined(HOSTILE, styled(HOSTILE, "bold")), link)
    assert "\x1b]" not in text
    assert "\x1b[2J" not in text
    assert not set("\x07\x9b\u202e") & set(text)
    assert "[red]no[/] [/b]" in text, "markup is text"


def test_rich_by_itself_does_not():
    """Otherwise all this would be for nothing."""
    console = Console(force_terminal=True)
    with console.capture() as captured:
        console.print(Text(HOSTILE))
    assert "\x1b]0;owned" in captured.get()


def test_an_error_is_clean_too(capsys):
    write_error("error", f"no\n{HOSTILE}")
    assert capsys.readouterr().err.isascii()
