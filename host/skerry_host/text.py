"""Makes messages and texts from outside harmless for whoever reads them; `wire.plain_text` defines what is harmless.

Does not know what they mean.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from skerry_agent.wire.plain_text import visible

MOST = 1000
"""The longest text of a device that is kept, in characters: a reason, a detail, the name of a sensor."""

MOST_ITEMS = 256
"""So many texts of one list are kept, such as the issues of a device."""


class Limit(NamedTuple):
    """How long a text may be, and how many of them a list may hold."""

    characters: int = MOST
    items: int = MOST_ITEMS


_USUAL = Limit()
LIMITS = {
    "agent": Limit(64),
    "board": Limit(64),
    "boot": Limit(64),
    "code": Limit(64),
    "id": Limit(64),
    "reason": Limit(200),
    "issues": Limit(300, 20),
    "ids": Limit(64),
    "transports": Limit(64, 16),
}
"""By the name of a message's field, where it is less than usual."""

_NO_TEXT = frozenset({int, float, bool, type(None), bytes})

T = TypeVar("T")


def clean(text: str, most: int | None = None) -> str:
    """The text with nothing in it that only a machine reads, on one line; cut with an ellipsis if it is longer."""
    text = visible(text)
    return text if most is None or len(text) <= most else f"{text[: most - 1]}…"


def cleaned(value: T) -> T:
    """A message with all its texts clean and bounded, keys of mappings too; the very same one if they were."""
    return _cleaned(value)  # type: ignore[no-any-return]


def _cleaned(value: Any, limit: Limit = _USUAL) -> Any:
    kind = type(value)
    if kind in _NO_TEXT:
        return value
    if kind is str:
        most = limit.characters
        return value if value.isprintable() and len(value) <= most else clean(value, most)
    if isinstance(value, Struct):
        return _cleaned_struct(value)
    if isinstance(value, (tuple, list)):
        made = [_cleaned(each, limit) for each in (value[: limit.items] if _holds_text(value) else value)]
        return value if _same(made, value) else kind(made)
    if isinstance(value, Mapping):
        return _cleaned_mapping(value)
    return value


def _holds_text(value: "tuple[Any, ...] | list[Any]") -> bool:
    return bool(value) and isinstance(value[0], str)


def _same(made: list[Any], before: "tuple[Any, ...] | list[Any]") -> bool:
    return len(made) == len(before) and all(one is other for one, other in zip(made, before, strict=True))


def _cleaned_struct(value: Struct) -> Struct:
    changed = {}
    for name in value.__struct_fields__:
        before = getattr(value, name)
        after = _cleaned(before, LIMITS.get(name, _USUAL))
        if after is not before:
            changed[name] = after
    return replace(value, **changed) if changed else value


def _cleaned_mapping(value: Mapping[Any, Any]) -> Any:
    made = {_cleaned(key): _cleaned(each) for key, each in value.items()}
    same = _same(list(made), list(value)) and _same(list(made.values()), list(value.values()))
    return value if same else made
