"""What holds for every test: no property is judged by how long it took, and what takes longest begins first."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

LONGEST = ("recipes", "arm64", "system", "net", "lab")
"""Folders whose tests wait or build for a long time; begun last, they would be what everybody waits for."""

settings.register_profile("skerry", deadline=None)
settings.load_profile("skerry")


if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in the background of a script; children inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _umask() -> Iterator[None]:
    """The agent's command line closes its files to others: called in this process, it would for all tests after it."""
    before = os.umask(0o022)
    os.umask(before)
    yield
    os.umask(before)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest first, in the order of `LONGEST`; all others stay in their order."""

    def rank(item: pytest.Item) -> int:
        parts = item.path.relative_to(Path(__file__).parent).parts
        return LONGEST.index(parts[0]) if parts[0] in LONGEST else len(LONGEST)

    items.sort(key=rank)
