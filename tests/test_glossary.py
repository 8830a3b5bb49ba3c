"""The glossary is a contract: a word that it has retired stands nowhere but where a promise keeps the old spelling."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
GLOSSARY = ROOT / "docs" / "glossary.md"
READ = ("*.py", "*.md", "*.html", "*.toml", "*.js")
UNREAD = ("CHANGELOG.md", "docs/glossary.md", "docs/decisions/", "tests/test_glossary.py")


def retired() -> list[tuple[str, str, list[str]]]:
    """(the retired word, what is said instead, globs of files that keep it) of each row of the last table."""
    text = GLOSSARY.read_text("utf-8").partition("## Retired words")[2]
    rows = re.findall(r"^\| `([^`]+)` \| (.+?) \| (.*?) \|$", text, re.MULTILINE)
    return [(word, instead, re.findall(r"`([^`]+)`", stays)) for word, instead, stays in rows]


def files() -> list[str]:
    """Every text of this repository in which a word could stand."""
    listed = subprocess.run(["git", "ls-files", *READ], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [name for name in listed.splitlines() if not name.startswith(UNREAD) and (ROOT / name).is_file()]


@pytest.fixture(scope="module")
def texts() -> dict[str, str]:
    return {name: (ROOT / name).read_text("utf-8") for name in files()}


@pytest.mark.parametrize(("word", "instead", "stays"), retired(), ids=[row[0] for row in retired()])
def test_a_retired_word_is_not_used(texts, word, instead, stays):
    found = re.compile(rf"(?<![A-Za-z0-9_]){re.escape(word)}(?![A-Za-z0-9_])")
    used = [name for name, text in texts.items() if found.search(text)]
    left = [name for name in used if not any(Path(name).match(glob) for glob in stays)]
    assert left == [], f"say {instead}"
    unused = [glob for glob in stays if not any(Path(name).match(glob) for name in used)]
    assert unused == [], "no such exception is needed any more"


def test_a_word_has_one_meaning():
    words = re.findall(r"^\| \*\*([^*]+)\*\* \|", GLOSSARY.read_text("utf-8"), re.MULTILINE)
    assert len(words) > 30
    assert sorted({word.casefold() for word in words}) == sorted(word.casefold() for word in words)
