"""Parses a table of TOML into a struct, and names everything that is wrong with it: each key, with what was meant.

A table with mistakes is parsed without them as far as that goes, so that the files it names are looked at as well.
Knows no recipe, and opens no file.
"""

from collections.abc import Iterator
from copy import deepcopy
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

import msgspec
from msgspec import Struct

from skerry_agent.wire import codec
from skerry_agent.wire.errors import WireError
from skerry_host.nearest import did_you_mean

Table = dict[str, Any]
Kind = TypeVar("Kind", bound=Struct)


def parse(table: Table, kind: type[Kind], stand_ins: Table) -> tuple[Kind | None, list[str]]:
    """The struct and every issue; with issues it is what is left without the wrong keys, `stand_ins` for required ones.

    None if nothing can be made of the rest.
    """
    unknown = list(_unknown_keys(table, kind, ""))
    try:
        return codec.convert(table, kind), unknown
    except WireError as error:
        issues = [_with_choices(issue, table, kind) for issue in error.issues]
        return _rest(table, kind, error.issues, stand_ins), [*issues, *unknown]


def _rest(table: Table, kind: type[Kind], issues: tuple[str, ...], stand_ins: Table) -> Kind | None:
    rest: Table = deepcopy(table)
    for issue in issues:
        _remove(rest, issue.partition(":")[0].partition("[")[0].split("."))
    try:
        return codec.convert({**stand_ins, **rest}, kind)
    except WireError:
        return None


def _remove(table: Table, path: list[str]) -> None:
    for name in path[:-1]:
        inner = table.get(name)
        if not isinstance(inner, dict):
            table.pop(name, None)
            return
        table = inner
    table.pop(path[-1], None)


def _with_choices(issue: str, table: Table, kind: Any) -> str:
    """An issue of a key that takes one of some words, with the words and the one that was probably meant."""
    path = issue.partition(":")[0].split(".")
    value: Any = table
    choices = _choices(_field(kind, path))
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    if not choices or isinstance(value, dict | list):
        return issue
    if value is None:
        return f"{issue}; it is one of {', '.join(choices)}"
    known = ", ".join(choices)
    return f"{'.'.join(path)}: {str(value)[:40]!r} is none of {known}{did_you_mean(str(value), choices)}"


def _field(kind: Any, path: list[str]) -> Any:
    for name in path:
        fields = {field.encode_name: field.type for field in msgspec.structs.fields(kind)} if _struct(kind) else {}
        kind = fields.get(name)
    return kind


def _choices(kind: Any) -> list[str]:
    """The words that a key takes; empty where it takes others, too."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Literal:
        return [str(word) for word in arguments] if all(isinstance(word, str) for word in arguments) else []
    if origin is Annotated:
        return _choices(arguments[0])
    if origin is Union or type(kind).__name__ == "UnionType":
        parts = [_choices(part) for part in arguments if part is not type(None)]
        return [word for part in parts for word in part] if all(parts) else []
    return []


def _unknown_keys(table: Table, kind: Any, path: str) -> Iterator[str]:
    """A misspelt key would silently mean its default: say so."""
    fields = {field.encode_name: field.type for field in msgspec.structs.fields(kind)}
    for key, value in table.items():
        inner = fields.get(key)
        if key not in fields:
            yield f"{path}{key}: unknown key{did_you_mean(key, fields) or _elsewhere(key, kind, path)}"
        elif isinstance(value, dict) and _struct(inner):
            yield from _unknown_keys(value, inner, f"{path}{key}.")
        elif isinstance(value, dict) and get_origin(inner) is dict and _struct(get_args(inner)[1]):
            for name, part in value.items():
                yield from _unknown_keys(
                    part if isinstance(part, dict) else {}, get_args(inner)[1], f"{path}{key}.{name}."
                )


def _elsewhere(key: str, kind: Any, path: str) -> str:
    """Where at the top a key would be known in a section."""
    if path:
        return ""
    sections = {field.encode_name: field.type for field in msgspec.structs.fields(kind) if _struct(field.type)}
    homes = [name for name, inner in sections.items() if key in {f.encode_name for f in msgspec.structs.fields(inner)}]
    return f"; it belongs into [{homes[0]}]" if homes else ""


def _struct(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Struct)
