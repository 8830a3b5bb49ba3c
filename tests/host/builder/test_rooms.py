"""The rooms of the builder that docs/architecture.md shows stand on the floors that import-linter checks."""

import re
import tomllib

from tests.kit.recipes import REPOSITORY

ROOM = re.compile(r"^  (\w+)(?:/|\.py) .*?(?:── floor (\d+))?$", re.MULTILINE)


def checked() -> list[set[str]]:
    contracts = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = next(c["layers"] for c in contracts if c.get("containers") == ["skerry_host.builder"])
    return [set(layer.split(" | ")) for layer in layers]


def test_the_document_shows_every_room_on_its_floor():
    text = (REPOSITORY / "docs" / "architecture.md").read_text("utf-8")
    floors: list[set[str]] = []
    for room, floor in ROOM.findall(text.partition("skerry_host/builder/\n")[2].partition("```")[0]):
        if floor:
            floors.append(set())
            assert int(floor) == len(checked()) + 1 - len(floors)
        floors[-1].add(room)
    assert floors == checked()
