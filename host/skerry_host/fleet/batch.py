"""A file of devices that are to come, as CSV: id, board, and where they are known tags and the board's serial number.

    id,board,tags,serial
    edge-01,raspberry-pi-4,lab north,10000000e8f1a2b3

As spreadsheets save it: also with semicolons or tabs, and with empty columns behind. Reads text and finds every fault
in it, each with its line. Knows no database: whether an id is taken is not asked here.
"""

import csv
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from skerry_agent.wire.errors import WireError
from skerry_agent.wire.names import check_device_id
from skerry_host.fleet.errors import FleetError

COLUMNS = ("id", "board", "tags", "serial")
REQUIRED = ("id", "board")
MOST = 10_000
MOST_SHOWN = 20
SEPARATORS = (",", ";", "\t")
"""In most of Europe spreadsheets put semicolons."""
ROUNDED = re.compile(r"\d+([.,]\d+)?E\+\d+\Z")
"""What a spreadsheet makes of a serial number of many digits."""
TAG = re.compile(r"[A-Za-z0-9_.@-]{1,64}\Z")


@dataclass(frozen=True, slots=True)
class Entry:
    """One device of the file."""

    id: str
    board: str
    tags: tuple[str, ...] = ()
    serial: str = ""


class BatchError(FleetError):
    """A file of devices that cannot be used; `issues` has every fault, each with its line."""

    code = "batch"
    exit_code = 2

    def __init__(self, name: str, issues: Sequence[str]) -> None:
        self.issues = tuple(issues)
        more = f"; and {len(issues) - MOST_SHOWN} more" if len(issues) > MOST_SHOWN else ""
        super().__init__(f"{name}: {'; '.join(issues[:MOST_SHOWN])}{more}", hint="nothing was made: mend the file")

    def facts(self) -> dict[str, object]:
        """With every fault."""
        return {**super().facts(), "issues": self.issues}


def read_batch(name: str, text: str, boards: Collection[str]) -> list[Entry]:
    """The devices of a file; raises `BatchError` with all that is wrong with it."""
    first, *others = _rows(name, text)
    columns = _columns(name, first)
    issues: list[str] = []
    entries: list[tuple[int, Entry]] = []
    for line, row in others:
        values = dict(zip(columns, row, strict=False))
        fits = len(row) >= len(columns) and not any(row[len(columns) :])
        wrong = [*_faults(values, boards)] if fits else [f"{len(row)} columns, not {len(columns)}"]
        issues += [f"line {line}: {fault}" for fault in wrong]
        if not wrong:
            entry = Entry(values["id"], values["board"], _tags(values.get("tags", "")), values.get("serial", ""))
            entries.append((line, entry))
    issues += _twice(entries)
    if not issues and not 1 <= len(entries) <= MOST:
        issues = [f"{len(entries)} devices: 1 to {MOST} can be claimed at once"]
    if issues:
        raise BatchError(name, issues)
    return [entry for _, entry in entries]


def _rows(name: str, text: str) -> list[tuple[int, list[str]]]:
    """The rows with the line that each ends on, without empty ones; at least one. Raises `BatchError`."""
    lines = text.removeprefix("\ufeff").splitlines(keepends=True)
    rows = csv.reader(lines, strict=True, delimiter=_separator(next(filter(str.strip, lines), "")))
    try:
        numbered = [(rows.line_num, [cell.strip() for cell in row]) for row in rows]
    except csv.Error as error:
        raise BatchError(name, [f"line {rows.line_num}: {error}"]) from None
    filled = [(line, row) for line, row in numbered if any(row)]
    if not filled:
        raise BatchError(name, [f"line 1: it is empty; its first line is {','.join(COLUMNS)}"])
    return filled


def _separator(first: str) -> str:
    return max(SEPARATORS, key=first.count)


def _columns(name: str, first: tuple[int, list[str]]) -> list[str]:
    line, row = first
    columns = [cell.lower() for cell in row]
    while columns and not columns[-1]:
        del columns[-1]
    unknown = [cell for cell in columns if cell not in COLUMNS]
    missing = [column for column in REQUIRED if column not in columns]
    if unknown or missing or len(set(columns)) != len(columns):
        raise BatchError(
            name, [f"line {line}: it must name the columns, {','.join(COLUMNS)}, not {','.join(row)[:80]}"]
        )
    return columns


def _faults(values: dict[str, str], boards: Collection[str]) -> Iterator[str]:
    try:
        check_device_id(values["id"])
    except WireError as error:
        yield error.message
    if values["board"] not in boards:
        yield f"board {values['board'][:64]!r} is not known; `skerry device boards` lists them"
    for tag in _tags(values.get("tags", "")):
        if not TAG.match(tag):
            yield f"tag {tag[:64]!r} is not usable: up to 64 letters, digits and _ . @ -"
    serial = values.get("serial", "")
    if len(serial) > 128 or not serial.isprintable():
        yield f"serial {serial[:64]!r} is not usable: up to 128 printable characters"
    if ROUNDED.match(serial):
        yield f"serial {serial!r} was rounded by a spreadsheet: have its column as text"


def _twice(entries: Sequence[tuple[int, Entry]]) -> Iterator[str]:
    """An id or a serial that was on a line before, in whatever letters: one board cannot be two devices."""
    seen: dict[tuple[str, str], int] = {}
    for line, entry in entries:
        for what, value in (("id", entry.id), ("serial", entry.serial)):
            key = what, value.lower()
            if value and key in seen:
                yield f"line {line}: {what} {value} is on line {seen[key]} too"
            seen.setdefault(key, line)


def _tags(text: str) -> tuple[str, ...]:
    return tuple(sorted({tag for tag in re.split(r"[\s;]+", text) if tag}))
