"""docs/extending.md stays true: the files that it names are there, and what its examples import can be imported."""

import ast
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from skerry_host.boards import load_board

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "docs" / "extending.md").read_text("utf-8")
PATHS = set(re.findall(r"(?:agent|host|tests|firmware_configs)/[\w/.-]+\.(?:py|html|toml|md)\b", TEXT))
INVENTED = re.compile(r"NAME|echo|toy|prune|operators|alerts|my-board|usb|arrays|plain_sums")
"""The names of what the recipes add."""


def modules() -> list[ast.Module]:
    """The examples that are whole Python files."""
    return [ast.parse(text) for text in re.findall(r'```python\n(""".+?)\n```', TEXT, re.DOTALL)]


def imports() -> Iterator[tuple[str, str]]:
    """(module, name) of what those import from this project, and what they add themselves left out."""
    for node in (node for module in modules() for node in module.body):
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("skerry_"):
            yield from ((str(node.module), alias.name) for alias in node.names if alias.name != "TOY")


def test_there_is_a_whole_example_for_what_takes_a_file_of_python():
    assert len(modules()) == 7
    assert len(list(imports())) > 20


def test_the_files_that_are_named_are_there():
    known = [path for path in PATHS if not INVENTED.search(path)]
    assert len(known) > 15
    assert [path for path in sorted(known) if not (ROOT / path).is_file()] == []


@pytest.mark.parametrize(("module", "name"), sorted(set(imports())))
def test_what_an_example_imports_is_there(module, name):
    found = import_module(module)
    assert hasattr(found, name) or import_module(f"{module}.{name}")


def test_the_board_is_one(tmp_path, monkeypatch):
    (text,) = re.findall(r"```toml\n([^`]+)```", TEXT)
    (tmp_path / "my-board.toml").write_text(text, "utf-8")
    monkeypatch.setenv("SKERRY_BOARDS", str(tmp_path))
    assert load_board("my-board").targets == ("cpu",)
