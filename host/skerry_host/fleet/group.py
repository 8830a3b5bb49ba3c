"""The `--where` selection of a group or a list: a small safe grammar over a device's id, board and tags.

    expression = term { "or" term }          board=raspberry-pi-4 and tag:lab
    term       = factor { "and" factor }     id=shelf-* and not tag:spare
    factor     = "not" factor | "(" expression ")" | "all" | test
    test       = ("id" | "board") ("=" | "!=") PATTERN | "tag:" NAME

PATTERN may hold `*` and `?`. The text is parsed and never evaluated as Python. A list has fields of its own in place of
id and board, and tags only if it is one of devices; a field with several values matches if one of them does.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Protocol

from skerry_host.fleet.device import Device
from skerry_host.fleet.errors import WhereError

_TOKEN = re.compile(r"\s*(?:(?P<paren>[()])|(?P<op>!=|=)|(?P<word>[A-Za-z0-9_.*?:@-]+))")
FIELDS = ("id", "board")
MAX_LENGTH, MAX_DEPTH = 1000, 100
"""A longer or deeper selection is refused, so that neither parsing nor matching can exhaust the stack."""


class Selection(Protocol):
    """A condition on devices, or on the rows of a list."""

    def matches(self, item: object) -> bool:
        """Whether a device or row is selected."""


@dataclass(frozen=True, slots=True)
class All:
    """Every device."""

    def matches(self, item: object) -> bool:  # noqa: ARG002 - the port's shape
        """True."""
        return True


@dataclass(frozen=True, slots=True)
class Field:
    """A field, such as the device's id or board, matches a pattern."""

    name: str
    pattern: str

    def matches(self, item: object) -> bool:
        """Whether the field matches, or one of its values."""
        value = getattr(item, self.name)
        values = value if isinstance(value, tuple) else (value,)
        return any(fnmatchcase(str(each), self.pattern) for each in values if each is not None)


@dataclass(frozen=True, slots=True)
class Tag:
    """The device has a tag."""

    name: str

    def matches(self, item: object) -> bool:
        """Whether it has it."""
        return self.name in getattr(item, "tags", ())


@dataclass(frozen=True, slots=True)
class Not:
    """Every device that another selection leaves out."""

    inner: Selection

    def matches(self, item: object) -> bool:
        """Whether the other selection does not match."""
        return not self.inner.matches(item)


@dataclass(frozen=True, slots=True)
class And:
    """Devices that match all parts."""

    parts: tuple[Selection, ...]

    def matches(self, item: object) -> bool:
        """Whether all parts match."""
        return all(part.matches(item) for part in self.parts)


@dataclass(frozen=True, slots=True)
class Or:
    """Devices that match at least one part."""

    parts: tuple[Selection, ...]

    def matches(self, item: object) -> bool:
        """Whether any part matches."""
        return any(part.matches(item) for part in self.parts)


def parse(text: str, fields: Sequence[str] = FIELDS) -> Selection:
    """The selection that `text` describes; raises `WhereError` at the first character that does not fit."""
    example = "board=raspberry-pi-4 and tag:lab" if "board" in fields else f"{fields[0]}=a* and not {fields[-1]}=b*"
    if len(text) > MAX_LENGTH:
        raise WhereError(text[:40] + "...", 40, f"at most {MAX_LENGTH} characters", example)
    parser = _Parser(text, fields, example)
    selection = parser.expression()
    parser.end()
    return selection


def select(selection: Selection, devices: Iterable[Device]) -> list[Device]:
    """The devices that are meant, by id."""
    return sorted((d for d in devices if selection.matches(d)), key=lambda d: d.id)


def _tokens(text: str, example: str) -> list[tuple[str, int]]:
    found: list[tuple[str, int]] = []
    position = 0
    while position < len(text.rstrip()):
        match = _TOKEN.match(text, position)
        if match is None:
            raise WhereError(text, position, "a field, and, or, not, a parenthesis", example)
        kind = match.lastgroup or "word"
        found.append((match.group(kind), match.start(kind)))
        position = match.end()
    return found


class _Parser:
    """Recursive descent over the tokens, one method for each rule of the grammar."""

    def __init__(self, text: str, fields: Sequence[str], example: str) -> None:
        self._text = text
        self._fields = fields
        self._example = example
        self._tokens = _tokens(text, example)
        self._next = 0
        self._depth = 0

    def expression(self) -> Selection:
        parts = [self._term()]
        while self._take("or"):
            parts.append(self._term())
        return parts[0] if len(parts) == 1 else Or(tuple(parts))

    def end(self) -> None:
        if self._next < len(self._tokens):
            self._refuse("and, or, or nothing more")

    def _term(self) -> Selection:
        parts = [self._factor()]
        while self._take("and"):
            parts.append(self._factor())
        return parts[0] if len(parts) == 1 else And(tuple(parts))

    def _factor(self) -> Selection:
        if self._take("not"):
            return Not(self._deeper(self._factor))
        if self._take("("):
            inner = self._deeper(self.expression)
            if not self._take(")"):
                self._refuse("a closing parenthesis")
            return inner
        if self._take("all"):
            return All()
        return self._test()

    def _deeper(self, rule: Callable[[], Selection]) -> Selection:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            self._refuse(f"at most {MAX_DEPTH} levels of not and parentheses")
        inner = rule()
        self._depth -= 1
        return inner

    def _test(self) -> Selection:
        word = self._peek()
        tagged = "board" in self._fields
        if tagged and word.startswith("tag:") and len(word) > 4:
            self._next += 1
            return Tag(word[4:])
        for name in self._fields:
            if self._take(name):
                return self._field(name)
        tests = [f"{name}=" for name in self._fields] + ["tag:NAME"] * tagged
        return self._refuse(f"{', '.join(tests)} or all")

    def _field(self, name: str) -> Selection:
        negated = self._take("!=")
        if not negated and not self._take("="):
            self._refuse("= or !=")
        pattern = self._peek()
        if not pattern or pattern in {"(", ")", "=", "!="}:
            self._refuse("a name, which may hold * and ?")
        self._next += 1
        field = Field(name, pattern)
        return Not(field) if negated else field

    def _peek(self) -> str:
        return self._tokens[self._next][0] if self._next < len(self._tokens) else ""

    def _take(self, word: str) -> bool:
        if self._peek() != word:
            return False
        self._next += 1
        return True

    def _refuse(self, expected: str) -> Selection:
        position = self._tokens[self._next][1] if self._next < len(self._tokens) else len(self._text)
        raise WhereError(self._text, position, expected, self._example)
