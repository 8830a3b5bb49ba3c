"""Looks at data that somebody points at: the format, the classes, sizes of some images. Decodes none of them."""

import zipfile
from pathlib import Path

from skerry_host.builder.data.readers import rows, table
from skerry_host.builder.data.readers.base import DamagedError, Found, UnusableDataError, Wanted
from skerry_host.builder.data.readers.formats import READERS, format_of, parts_of
from skerry_host.builder.data.readers.images import look
from skerry_host.builder.init.guesses import TASK_OF_ARRAY, TASK_OF_FORMAT, DataFacts
from skerry_host.builder.recipe.data import Data

INSPECTED = 100
"""Images whose sizes are looked at, and lines of a table."""
IMAGES = {"folder", "coco", "yolo", "masks"}


def data_facts(place: Path, task: str | None) -> DataFacts:
    """What a place holds; raises `UnusableDataError`, `OSError`."""
    kind = format_of(place)
    if kind == "npz":
        return _of_arrays(place)
    parts = parts_of(place, kind)
    at = parts[0] if parts else place
    if kind == "csv":
        return _of_table(at, task)
    wanted = Wanted(task or TASK_OF_FORMAT[kind][0], (), Data(folder=str(place)))
    found = READERS[kind](at, wanted)
    pixels = _sizes(found) if kind in IMAGES else ()
    return DataFacts(kind, found.names, found.truth is not None, pixels)


def _of_arrays(place: Path) -> DataFacts:
    """What the names of the arrays say."""
    parts = parts_of(place, "npz")
    if parts is None:
        raise UnusableDataError(f"{place}: give a folder with calibration.npz and evaluation.npz")
    try:
        with zipfile.ZipFile(parts[1]) as archive:
            arrays = {name.removesuffix(".npy") for name in archive.namelist()}
    except zipfile.BadZipFile as error:
        raise UnusableDataError(f"{parts[1].name}: is not a .npz file ({error})") from None
    task = next((task for name, task in TASK_OF_ARRAY.items() if name in arrays), "")
    return DataFacts("npz", labelled=bool(task), task=task)


def _sizes(found: Found) -> tuple[tuple[int, int], ...]:
    made = []
    for files in list(found.files)[:: max(1, len(found) // INSPECTED)]:
        try:
            header = look(files[0])
        except DamagedError:
            continue
        made.append((header.height, header.width))
    return tuple(made)


def _of_table(place: Path, task: str | None) -> DataFacts:
    """The label column's texts, and its classes where it names some."""
    file = table.only_file(place) if place.is_dir() else place
    sheet = rows.open_sheet(file)
    labels = table.label_columns(sheet, Wanted(task or "classification", (), Data(folder=str(file.parent))))
    if not labels:
        return DataFacts("csv")
    texts = [cells[labels[0]].strip() for _line, cells in sheet.rows() if cells]
    texts = [text for text in texts if text]
    named = any(not rows.is_number(text) for text in texts)
    names = tuple(sorted(set(texts))) if named else ()
    return DataFacts("csv", names, labelled=True, labels=tuple(texts))
