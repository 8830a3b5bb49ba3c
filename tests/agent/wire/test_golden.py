"""Golden JSON files pin the wire format: what is in the field must stay readable, in both directions.

A new optional field is a new golden file beside the old one; an old file never changes. To write files for messages
that have none yet: `python -m tests.agent.wire.test_golden`.
"""

from pathlib import Path

import msgspec
import pytest

from skerry_agent.wire import codec
from tests.kit.messages import MESSAGES, OPEN_MAPS

GOLDEN = Path(__file__).parent / "golden"


def golden_files():
    return sorted(GOLDEN.glob("*.json"))


def write_missing_files():
    for name, message in MESSAGES.items():
        path = GOLDEN / f"{name}.v1.json"
        if not path.exists():
            path.write_bytes(codec.encode(message) + b"\n")


@pytest.mark.parametrize("name", MESSAGES)
def test_an_old_message_is_understood(name):
    """What is pinned decodes to the same message; a field added since has its default."""
    pinned = (GOLDEN / f"{name}.v1.json").read_bytes()
    assert codec.decode(pinned, type(MESSAGES[name])) == MESSAGES[name]


@pytest.mark.parametrize("name", MESSAGES)
def test_nothing_pinned_is_renamed_or_dropped(name):
    """What is encoded today still holds every pinned field, with the same value."""
    pinned = msgspec.json.decode((GOLDEN / f"{name}.v1.json").read_bytes())
    today = msgspec.json.decode(codec.encode(MESSAGES[name]))
    assert _missing(pinned, today, name) == []


@pytest.mark.parametrize("name", MESSAGES)
def test_unknown_fields_are_ignored(name):
    """An old agent understands a newer host: extra fields everywhere change nothing."""
    pinned = msgspec.json.decode((GOLDEN / f"{name}.v1.json").read_bytes())
    richer = msgspec.json.encode(_enriched(pinned))
    assert codec.decode(richer, type(MESSAGES[name])) == MESSAGES[name]


def test_every_file_is_pinned_by_a_message():
    assert {path.name.split(".")[0] for path in golden_files()} == set(MESSAGES)


def _missing(pinned, today, path):
    if isinstance(pinned, dict):
        return [
            issue
            for key, value in pinned.items()
            for issue in (_missing(value, today[key], f"{path}.{key}") if key in today else [f"{path}.{key} is gone"])
        ]
    if isinstance(pinned, list):
        return [issue for i, value in enumerate(pinned) for issue in _missing(value, today[i], f"{path}[{i}]")]
    return [] if pinned == today else [f"{path}: {pinned!r} became {today!r}"]


def _enriched(value, key=""):
    if isinstance(value, dict):
        extra = {} if key in OPEN_MAPS else {"added_by_a_newer_release": [1, {"x": None}]}
        return {k: _enriched(v, k) for k, v in value.items()} | extra
    if isinstance(value, list):
        return [_enriched(item) for item in value]
    return value


if __name__ == "__main__":
    write_missing_files()
