"""Tables as text: finds out how cells are separated, and gives them line by line. Knows no meaning of columns."""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from skerry_host.builder.data.readers.base import UnusableDataError, listed

SUFFIXES = {".csv", ".tsv"}
SEPARATORS = ",;\t|"
INSPECTED = 200
"""Lines that say of what kind a column is."""


@dataclass(frozen=True, slots=True)
class Sheet:
    """A table with a line of names above it."""

    file: Path
    separator: str
    encoding: str
    header: tuple[str, ...]
    headless: bool

    def rows(self) -> Iterator[tuple[int, list[str]]]:
        """The number of each line and its cells, as many as there are columns; raises `UnusableDataError`."""
        try:
            with self.file.open(encoding=self.encoding, newline="") as stream:
                reader = csv.reader(stream, delimiter=self.separator)
                if not self.headless:
                    next(reader, None)
                for cells in reader:
                    if any(cell.strip() for cell in cells):
                        yield reader.line_num, _fitted(cells, len(self.header))
        except (csv.Error, UnicodeDecodeError) as error:
            raise UnusableDataError(f"{self.file.name}: is no table of text ({error})") from None


def open_sheet(file: Path) -> Sheet:
    """Looks at the first lines of a table; raises `UnusableDataError`, `OSError`."""
    with file.open("rb") as raw:
        encoding = "utf-16" if raw.read(2) in {b"\xff\xfe", b"\xfe\xff"} else "utf-8-sig"
    try:
        with file.open(encoding=encoding, newline="") as stream:
            lines = [line for _number, line in zip(range(20), stream, strict=False)]
        return _sheet(file, encoding, lines)
    except (UnicodeDecodeError, csv.Error) as error:
        raise UnusableDataError(f"{file.name}: is no table of text ({error})") from None


def _sheet(file: Path, encoding: str, lines: list[str]) -> Sheet:
    """What the first lines show; raises `UnusableDataError`, `csv.Error`."""
    if not lines or not lines[0].strip():
        raise UnusableDataError(f"{file.name}: is empty")
    separator = max(SEPARATORS, key=lambda one: min(_cells(line, one) for line in lines if line.strip()))
    first = [cell.strip() for cell in next(csv.reader(lines[:1], delimiter=separator))]
    headless = all(is_number(cell) for cell in first)
    header = [str(at) for at in range(len(first))] if headless else first
    repeated = sorted({name for name in header if header.count(name) > 1})
    if repeated:
        raise UnusableDataError(f"{file.name}: several columns are called {listed(repeated)}")
    return Sheet(file, separator, encoding, tuple(header), headless)


def column(header: Sequence[str], name: str) -> int:
    """The place of a column; raises `UnusableDataError` that lists those there are."""
    if name not in header:
        raise UnusableDataError(f"there is no column {name!r}, but {listed(header)}")
    return list(header).index(name)


def text_columns(sheet: Sheet) -> set[int]:
    """The columns that hold no number in any of the first lines; none where there are no lines."""
    texts, empty = set(range(len(sheet.header))), True
    for _number, (_line, cells) in zip(range(INSPECTED), sheet.rows(), strict=False):
        texts, empty = {at for at in texts if not cells or not is_number(cells[at])}, False
    return set() if empty else texts


def is_number(cell: str) -> bool:
    """Whether a cell holds a number, with a point or a comma before its fraction."""
    return number(cell) is not None


def number(cell: str, comma: bool = True) -> float | None:
    """The number in a cell, None where it holds none; `comma`: one comma may stand before the fraction."""
    text = cell.strip()
    if comma and text.count(",") == 1 and "." not in text:
        text = text.replace(",", ".")
    if not text or "_" in text:
        return None
    try:
        return float(text)
    except ValueError:
        return None


def _cells(line: str, separator: str) -> int:
    return len(next(csv.reader([line], delimiter=separator), []))


def _fitted(cells: list[str], count: int) -> list[str]:
    """As many cells as there are columns; what is too much or too little is missing, and said where it is read."""
    return [*cells[:count], *[""] * (count - len(cells))] if len(cells) <= count or not any(cells[count:]) else []
