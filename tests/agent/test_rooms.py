"""The rooms that docs/architecture.md shows stand on the floors that import-linter checks."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
ROW = re.compile(r"^\| (\d+) \| `(\w+)(?:/|\.py)?` \|", re.MULTILINE)


def checked() -> list[list[str]]:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = next(contract["layers"] for contract in contracts if contract.get("containers") == ["skerry_agent"])
    return [sorted(layer.split(" | ")) for layer in layers]


def test_the_document_shows_every_room_on_its_floor():
    shown = ROW.findall((ROOT / "docs" / "architecture.md").read_text())
    highest = len(checked())
    floors = [sorted(room for floor, room in shown if int(floor) == highest - below) for below in range(highest)]
    assert floors == checked()
