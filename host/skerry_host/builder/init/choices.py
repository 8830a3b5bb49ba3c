"""The keys of a recipe with the reason for each, and how they are written as TOML. Decides nothing."""

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

LABELS, MANY_NAMES = "labels.txt", 40
"""The file beside the recipe that has the names of classes where they are more than so many."""
WIDTH = 36
"""Column in which reasons begin."""


@dataclass(frozen=True, slots=True)
class Choice:
    """One key with its value and why; a `guess` is marked, and `ask` is what a person should answer."""

    table: str
    key: str
    value: Any
    reason: str = ""
    guess: bool = False
    ask: str = ""


def recipe_text(choices: Sequence[Choice], heading: Sequence[str]) -> str:
    """The recipe with a comment for each reason; later choices of a key win."""
    last = {(choice.table, choice.key): choice for choice in choices}
    lines = [f"# {line}" for line in heading]
    for table in dict.fromkeys(choice.table for choice in last.values()):
        lines += ["", f"[{table}]"] if table else []
        for choice in (one for one in last.values() if one.table == table):
            lines += _lines(choice)
    return "\n".join(lines) + "\n"


def apart(choices: Sequence[Choice]) -> tuple[list[Choice], tuple[str, ...]]:
    """The choices with names of classes in a file of their own where they are many, and the names for that file."""
    found = [one for one in choices if (one.table, one.key) == ("labels", "names") and one.value]
    names = tuple(found[-1].value) if found else ()
    if len(names) <= MANY_NAMES:
        return list(choices), ()
    others = [one for one in choices if one.table != "labels"]
    return [*others, dataclasses.replace(found[-1], key="file", value=LABELS)], names


def questions(choices: Sequence[Choice]) -> list[str]:
    """What a person should answer, one line each."""
    last = {(choice.table, choice.key): choice for choice in choices}
    return [choice.ask for choice in last.values() if choice.ask]


def _lines(choice: Choice) -> list[str]:
    comment = [f"# QUESTION: {choice.ask}"] if choice.ask else []
    if choice.value is None:
        return comment
    line = f"{_key(choice.key)} = {toml(choice.value)}"
    why = f"{'guess: ' if choice.guess else ''}{choice.reason}"
    if not choice.reason:
        return [*comment, line]
    if len(line) >= WIDTH:
        return [*comment, f"# {why}", line]
    return [*comment, f"{line.ljust(WIDTH)}# {why}"]


def toml(value: Any) -> str:
    """A value as TOML."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(toml(one) for one in value)}]"
    return repr(value)


def _key(name: str) -> str:
    return name if name.replace("_", "").replace("-", "").isalnum() and name.isascii() else toml(name)
