"""What pytest really collects: the tests of one run that collects and runs nothing, and what is written in test files.

A check that other tests exist looks here, not at texts: a test that is written but never collected proves nothing.
"""

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, slots=True)
class Collection:
    """Collected tests as `file::class::function`, without parameters; `summary` is pytest's last line."""

    tests: frozenset[str]
    summary: str

    @property
    def files(self) -> frozenset[str]:
        """Those that hold a collected test."""
        return frozenset(test.partition("::")[0] for test in self.tests)


@cache
def collect(root: Path) -> Collection:
    """Collect as a plain `pytest` in `root` would, in a process of its own; once in a session."""
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider"]
    plain = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(command, cwd=root, env=plain, capture_output=True, text=True, timeout=300, check=False)
    lines = [line for line in done.stdout.splitlines() if line]
    assert done.returncode in (0, 5), f"pytest cannot collect: {done.stdout[-2000:]}{done.stderr}"  # 5: no test at all
    return Collection(frozenset(line.partition("[")[0] for line in lines if "::" in line), lines[-1])


def written(file: Path, root: Path = ROOT) -> dict[str, str]:
    """The docstring (empty if none) of each test that a file defines, by the name that it has when collected."""
    return {
        f"{file.relative_to(root).as_posix()}::{name}": words for name, words in _tests(ast.parse(file.read_bytes()))
    }


def _tests(scope: ast.Module | ast.ClassDef, within: str = "") -> Iterator[tuple[str, str]]:
    for node in scope.body:
        if isinstance(node, ast.ClassDef):
            yield from _tests(node, f"{within}{node.name}::")
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test"):
            yield f"{within}{node.name}", ast.get_docstring(node) or ""
