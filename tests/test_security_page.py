"""docs/security.md is a promise with proofs: each row of its first table names tests, and they exist."""

import re

import pytest

from tests.kit.programs import ROOT

PAGE = (ROOT / "docs" / "security.md").read_text("utf-8")
NAMED = re.compile(r"`(tests/[^`:]+\.py)::(test_[a-z0-9_]+)`")


def rows() -> list[str]:
    table = PAGE.partition("## Who attacks")[2].partition("\n## ")[0]
    return [line for line in table.splitlines() if line.startswith("| ")][1:]


@pytest.mark.parametrize(("path", "name"), sorted(set(NAMED.findall(PAGE))))
def test_a_test_that_the_threat_table_names_exists(path, name):
    assert f"\ndef {name}(" in (ROOT / path).read_text("utf-8")


def test_every_row_of_the_threat_table_names_a_test():
    assert len(rows()) > 20
    assert [row for row in rows() if not NAMED.search(row)] == []
