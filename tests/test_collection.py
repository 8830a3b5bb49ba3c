"""Every test that is written here runs: pytest skips folders by their names, and such a skip makes no sound."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.collected import ROOT, collect, written

OPTIONS = '[tool.pytest.ini_options]\naddopts = ["--import-mode=importlib"{}]\n'
TEST = "def test_a():\n    pass\n"
IN_CLASS = "class {}:\n    {} = False\n\n    def test_b(self):\n        pass\n"
UNSEEN = {
    "a folder that pytest skips by its name": (
        {"build/test_it.py": TEST},
        ["build/test_it.py", "build/test_it.py::test_a"],
    ),
    "a file without a test": ({"test_it.py": "def helper():\n    pass\n"}, ["test_it.py"]),
    "a file that skips itself": (
        {"test_it.py": "import pytest\npytest.importorskip('no_such')\n" + TEST},
        ["test_it.py", "test_it.py::test_a"],
    ),
    "a class whose name is not a test's": (
        {"test_it.py": TEST + IN_CLASS.format("Ones", "x")},
        ["test_it.py::Ones::test_b"],
    ),
    "a class that says it is none": (
        {"test_it.py": TEST + IN_CLASS.format("TestOnes", "__test__")},
        ["test_it.py::TestOnes::test_b"],
    ),
    "a class that pytest cannot make": (
        {
            "test_it.py": TEST
            + "class TestOnes:\n    def __init__(self):\n        pass\n\n    def test_b(self):\n        pass\n"
        },
        ["test_it.py::TestOnes::test_b"],
    ),
}


def unseen(root: Path, files: list[str]) -> list[str]:
    """The test files without a collected test, and the tests that are written in them but not collected."""
    found = collect(root)
    return [
        *(file for file in files if file not in found.files),
        *(test for file in files for test in written(root / file, root) if test not in found.tests),
    ]


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="no repository to ask which files there are")
def test_every_test_that_git_knows_is_collected():
    listed = subprocess.run(["git", "ls-files", "*.py"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    files = [file for file in listed.splitlines() if Path(file).match("test_*.py") and (ROOT / file).exists()]
    assert len(files) > 100
    assert unseen(ROOT, files) == []


def test_a_plain_run_deselects_nothing():
    """A marker expression in the configuration would take tests out of every run."""
    assert "deselected" not in collect(ROOT).summary


@pytest.mark.parametrize("case", UNSEEN)
def test_what_pytest_does_not_see_is_named(tmp_path: Path, case: str):
    files, named = UNSEEN[case]
    make(tmp_path, files)
    assert unseen(tmp_path, list(files)) == named


def test_a_deselection_is_seen(tmp_path: Path):
    make(tmp_path, {"test_it.py": TEST}, ', "-k", "not test_a"')
    assert "1 deselected" in collect(tmp_path).summary


def make(root: Path, files: dict[str, str], options: str = "") -> None:
    """A project of these files."""
    (root / "pyproject.toml").write_text(OPTIONS.format(options), "utf-8")
    for name, text in files.items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(text, "utf-8")


IMPORTS_A_TEST = re.compile(r"^\s*(?:from|import) tests\.[\w.]*\btest_", re.MULTILINE)


def test_no_test_file_imports_another():
    """Its tests would have to be read to understand these, and its fixtures run with them; what is shared is in kit."""
    files = [path for path in (ROOT / "tests").rglob("*.py") if IMPORTS_A_TEST.search(path.read_text())]
    assert files == []
