"""What holds for every test: no property is judged by how long it took, and what takes longest begins first."""

from pathlib import Path

import pytest
from hypothesis import settings

LONGEST = ("recipes", "system", "net", "lab")
"""Folders whose tests wait or build for a long time; begun last, they would be what everybody waits for."""

settings.register_profile("skerry", deadline=None)
settings.load_profile("skerry")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest first, in the order of `LONGEST`; all others stay in their order."""

    def rank(item: pytest.Item) -> int:
        parts = item.path.relative_to(Path(__file__).parent).parts
        return LONGEST.index(parts[0]) if parts[0] in LONGEST else len(LONGEST)

    items.sort(key=rank)
