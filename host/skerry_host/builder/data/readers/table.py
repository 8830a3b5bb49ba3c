"""Tables of features (CSV) as samples: one line a sample, float32. Chooses columns by what the recipe says, or by name.

A line with a missing or strange value is left out and named. Text labels become classes in the order of their names,
unless the recipe says another.
"""

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from skerry_agent.processing import Array
from skerry_host.builder.data.readers import classes, rows
from skerry_host.builder.data.readers.base import NO_CLASS, Found, Sample, UnusableDataError, Wanted, listed
from skerry_host.builder.data.readers.walk import walk

MAX_BYTES = 512 * 1024 * 1024
LABELS = ("label", "class", "target", "y", "species", "category", "outcome", "output")
BY_CLASS = {"classification", "embedding"}


@dataclass(frozen=True, slots=True)
class Arrays:
    """Samples that are in memory: one array (N, ...) for each input."""

    inputs: tuple[Array, ...]

    def __len__(self) -> int:
        return len(self.inputs[0])

    def __getitem__(self, index: int) -> Sample:
        return tuple(values[index] for values in self.inputs)

    def check(self, index: int) -> None:
        """They are there."""

    def remarks(self) -> list[str]:
        """Nothing is done to them."""
        return []


def read(place: Path, wanted: Wanted) -> Found:
    """The lines of a CSV file, or of the only one in a folder; raises `UnusableDataError`, `OSError`."""
    file = only_file(place) if place.is_dir() else place
    sheet = rows.open_sheet(file)
    labels = label_columns(sheet, wanted)
    features = _features(sheet, labels, wanted)
    table = _Lines(sheet, features, labels, wanted.task)
    table.take()
    if not len(table.keys):
        raise UnusableDataError(f"{file.name}: has no line that can be used: {listed(table.damaged)}")
    values = np.frombuffer(table.values, np.float32).reshape(-1, *_form(len(features), wanted))
    notes = [f"features: {len(features)} columns, {listed([sheet.header[at] for at in features])}"]
    if labels:
        notes.append(f"labels: column {listed([sheet.header[at] for at in labels])}")
    if table.commas:
        notes.append("numbers with a comma before their fraction")
    truth, groups, names, said = _truth(table, wanted)
    found = (file,)
    count = len(table.keys)
    return Found(
        Arrays((values,)),
        [f"{file.name}:{line}" for line in table.keys],
        [found] * count,
        truth,
        groups,
        names,
        (*notes, *said),
        tuple(table.damaged),
        ordered=False,
    )


def label_columns(sheet: rows.Sheet, wanted: Wanted) -> list[int]:
    """The columns that say what is right: those of the recipe, else one with a usual name, else the last one.

    Where the model takes as many values as there are columns, none does.
    """
    if wanted.plan.label:
        return [rows.column(sheet.header, name) for name in wanted.plan.label]
    if wanted.task == "raw":
        return []
    by_name = [sheet.header.index(name) for known in LABELS for name in sheet.header if name.casefold() == known]
    size = int(np.prod(wanted.shapes[0][1:])) if wanted.shapes else 0
    if by_name:
        return by_name[:1]
    if wanted.plan.features or size >= len(sheet.header):
        return []
    return [len(sheet.header) - 1]


def only_file(folder: Path) -> Path:
    """The only table in a folder; raises `UnusableDataError`."""
    found = [path for path in walk(folder) if path.suffix.lower() in rows.SUFFIXES]
    if len(found) != 1:
        raise UnusableDataError(f"{folder.name}: has {len(found)} tables ({listed([f.name for f in found])}): name one")
    return found[0]


class _Lines:
    """Collects the values and labels of a table, line by line."""

    def __init__(self, sheet: rows.Sheet, features: Sequence[int], labels: Sequence[int], task: str) -> None:
        self.sheet, self.features, self.label_places, self.task = sheet, features, labels, task
        self.values: Any = array("f")
        self.keys: Any = array("q")
        self.labels: list[list[str]] = []
        self.damaged: list[str] = []
        self.commas = False

    def take(self) -> None:
        """Read all lines; raises `UnusableDataError` where that takes too much memory."""
        for line, cells in self.sheet.rows():
            problem = self._add(line, cells)
            if problem:
                self.damaged.append(f"{self.sheet.file.name}:{line}: {problem}")
            if 4 * len(self.values) > MAX_BYTES:
                raise UnusableDataError(f"{self.sheet.file.name}: has more than {MAX_BYTES:,} bytes of values")

    def _add(self, line: int, cells: list[str]) -> str:
        if not cells:
            return f"has more cells than there are columns ({len(self.sheet.header)})"
        made = []
        for at in self.features:
            value = rows.number(cells[at])
            if value is None or not _is_real(value):
                what = f"holds {cells[at][:30]!r}, not a number" if cells[at].strip() else "is missing"
                return f"{self.sheet.header[at]} {what}"
            self.commas = self.commas or "," in cells[at]
            made.append(value)
        labels = [cells[at].strip() for at in self.label_places]
        missing = [self.sheet.header[at] for at, text in zip(self.label_places, labels, strict=True) if not text]
        if missing:
            return f"{missing[0]} is missing"
        strange = [text for text in labels if not _is_right(text, self.task)]
        if strange:
            wanted = "0 or 1" if self.task == "multilabel" else "a number"
            return f"holds {strange[0][:30]!r} for what is right, not {wanted}"
        self.values.extend(made)
        self.keys.append(line)
        self.labels.append(labels)
        return ""


def _is_real(value: float) -> bool:
    """Whether float32 holds it."""
    return bool(abs(value) <= np.finfo(np.float32).max)  # false of NaN, too


def _is_right(text: str, task: str) -> bool:
    """Whether a task can be judged by what a cell holds."""
    if task in BY_CLASS:
        return True
    value = rows.number(text)
    return value is not None and (value in {0.0, 1.0} if task == "multilabel" else _is_real(value))


def _features(sheet: rows.Sheet, labels: Sequence[int], wanted: Wanted) -> list[int]:
    if wanted.plan.features:
        return [rows.column(sheet.header, name) for name in wanted.plan.features]
    places = [at for at in range(len(sheet.header)) if at not in labels]
    if not places:
        names = listed([sheet.header[at] for at in labels])
        raise UnusableDataError(f"{sheet.file.name}: has no column beside {names}, and the model takes values")
    texts = rows.text_columns(sheet) & set(places)
    if texts:
        names = listed([sheet.header[at] for at in sorted(texts)])
        raise UnusableDataError(
            f"{sheet.file.name}: columns of text, not numbers: {names}; name the columns of numbers in data.features"
        )
    return places


def _form(count: int, wanted: Wanted) -> tuple[int, ...]:
    """The shape of a sample: that of the model's input where it takes as many values."""
    shape = wanted.shapes[0][1:] if wanted.shapes else ()
    return shape if prod(shape) == count and shape else (count,)


def _truth(table: _Lines, wanted: Wanted) -> tuple[Sequence[Any] | None, list[int], tuple[str, ...], list[str]]:
    count = len(table.keys)
    if not table.label_places:
        return None, [NO_CLASS] * count, (), ["no column says what is right"]
    if wanted.task in BY_CLASS:
        return _classes([labels[0] for labels in table.labels], wanted)
    real = np.array([[rows.number(text) for text in labels] for labels in table.labels], np.float32)
    if wanted.task == "multilabel":
        return list(real.astype(np.uint8)), [NO_CLASS] * count, wanted.names, []
    if wanted.task == "regression":
        return list(real), [NO_CLASS] * count, (), []
    return None, [NO_CLASS] * count, (), [f"a column says nothing that {wanted.task} is judged by"]


def _classes(texts: list[str], wanted: Wanted) -> tuple[list[int], list[int], tuple[str, ...], list[str]]:
    """The class of each line: by its number, or by its name in the order of names."""
    there = sorted(set(texts))
    numbers = [rows.number(text) for text in there]
    whole = all(value is not None and value >= 0 and value.is_integer() for value in numbers)
    if whole and not (wanted.names and set(there) <= set(wanted.names)):
        indices = [int(rows.number(text) or 0) for text in texts]
        return indices, indices, wanted.names, []
    names = wanted.names or classes.in_order(there)
    placed = classes.places(names, there, "labels")
    indices = [placed[text] for text in texts]
    said = [] if wanted.names else [f"classes in the order of their names: {listed(names)}"]
    return indices, indices, names, said
