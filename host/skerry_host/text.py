"""Makes messages and texts from outside harmless for whoever reads them; `wire.plain_text` defines what is harmless.

Does not know what they mean.
"""

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Annotated, Any, NamedTuple, TypeVar, get_args, get_origin

from msgspec import Struct
from msgspec.structs import fields, replace

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
        return _cleaned_mapping(value, limit)
    return value


def _holds_text(value: "tuple[Any, ...] | list[Any]") -> bool:
    return bool(value) and isinstance(value[0], str)


def _same(made: list[Any], before: "tuple[Any, ...] | list[Any]") -> bool:
    return len(made) == len(before) and all(one is other for one, other in zip(made, before, strict=True))


def _cleaned_struct(value: Struct) -> Struct:
    changed = {}
    for name, limit in _limits(type(value)).items():
        before = getattr(value, name)
        after = _cleaned(before, limit)
        if after is not before:
            changed[name] = after
    return replace(value, **changed) if changed else value


@cache
def _limits(kind: type[Struct]) -> dict[str, Limit]:
    """Of the texts of each field: never more than its type takes, for what is made visible becomes longer."""
    usual = {field.name: LIMITS.get(field.name, _USUAL) for field in fields(kind)}
    most = {field.name: min(_longest(field.type), default=MOST) for field in fields(kind)}
    return {name: limit._replace(characters=min(limit.characters, most[name])) for name, limit in usual.items()}


def _longest(hint: Any) -> Iterator[int]:
    """How long the texts in a type may be, where it says so."""
    inside = get_args(hint)
    if get_origin(hint) is Annotated and inside[0] is str:
        yield from (each.max_length for each in inside[1:] if getattr(each, "max_length", None))
    else:
        for each in inside:
            yield from _longest(each)


def _cleaned_mapping(value: Mapping[Any, Any], limit: Limit) -> Any:
    made = {_cleaned(key, limit): _cleaned(each, limit) for key, each in value.items()}
    same = _same(list(made), list(value)) and _same(list(made.values()), list(value.values()))
    return value if same else made
