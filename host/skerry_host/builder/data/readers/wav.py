"""Folders of WAV files as samples: int16, one channel, of one length. Makes no spectrograms, and resamples nothing.

What is right for a file is the folder that it is in, or the row of a CSV file beside it (`file`, then a label, several
separated by | or a text). Files are read when they are asked for.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from skerry_host.builder.data.readers import classes, riff, rows
from skerry_host.builder.data.readers.base import (
    NO_CLASS,
    DamagedError,
    Found,
    Sample,
    UnusableDataError,
    Wanted,
    listed,
)
from skerry_host.builder.data.readers.folder import class_names
from skerry_host.builder.data.readers.walk import walk

SUFFIXES = {".wav", ".wave"}
FILE_COLUMNS = ("file", "filename", "file_name", "path", "wav", "audio", "name", "id")
LABELLED_TASKS = {"classification", "embedding", "multilabel", "sequence", "events"}


def is_sound(path: Path) -> bool:
    """Whether a file's name says that it is a WAV file."""
    return path.suffix.lower() in SUFFIXES


def read(place: Path, wanted: Wanted) -> Found:
    """The WAV files below a folder; raises `UnusableDataError`, `OSError`."""
    table = place if place.suffix.lower() in rows.SUFFIXES else _table(place)
    root = place.parent if place.is_file() else place
    paths = [path for path in walk(root) if is_sound(path)]
    if not paths:
        raise UnusableDataError(f"{place.name}: has no WAV files")
    rate = _rate(place, paths, wanted.plan.sample_rate)
    window = wanted.plan.window or (prod(wanted.shapes[0][1:]) if wanted.shapes else 0)
    sounds = SoundFiles(paths, rate, window)
    notes = [f"sound at {rate:,} samples a second, int16"]
    if wanted.task in LABELLED_TASKS and table is not None:
        return _by_table(table, root, sounds, wanted, notes)
    if wanted.task in LABELLED_TASKS and all(path.parent != root for path in paths):
        names, folders_of, said = class_names(root, paths, wanted)
        placed = classes.places(names, sorted(set(folders_of)), "folders")
        indices = [placed[name] for name in folders_of]
        truth: list[Any] = [_hot([at], len(names)) for at in indices] if _is_hot(wanted.task) else list(indices)
        return replace(_unlabelled(sounds, root), truth=truth, groups=indices, names=names, notes=(*notes, *said))
    return replace(_unlabelled(sounds, root), notes=tuple(notes))


@dataclass(slots=True)
class SoundFiles:
    """WAV files as samples of `window` values (0: as long as they are), all of one rate; counts what it did to them."""

    paths: Sequence[Path]
    rate: int
    window: int
    done: dict[int, tuple[str, ...]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Sample:
        sound = riff.look(self.paths[index])
        if sound.rate != self.rate:
            raise DamagedError(f"has {sound.rate:,} samples a second, not {self.rate:,}: resample it")
        if not sound.frames:
            raise DamagedError("has no sound in it")
        values = riff.decode(self.paths[index], 0, self.window or None)
        did = [f"of {sound.channels} channels, as their mean"] if sound.channels > 1 else []
        if sound.bits != 16 or sound.floating:
            did.append(f"of {sound.bits} bits, as 16")
        if self.window and len(values) < self.window:
            did.append("shorter than the model's input, padded with zeros")
            values = np.pad(values, (0, self.window - len(values)))
        elif self.window and sound.frames > self.window:
            did.append("longer than the model's input, cut at its end")
        self.done[index] = tuple(did)
        return (values,)

    def check(self, index: int) -> None:
        """Read it."""
        self[index]

    def remarks(self) -> list[str]:
        """What was done to the files that were read, and to how many."""
        counts = Counter(kind for did in self.done.values() for kind in did)
        return [f"{count} WAV files {kind}" for kind, count in sorted(counts.items())]


def _by_table(table: Path, root: Path, sounds: SoundFiles, wanted: Wanted, notes: list[str]) -> Found:
    """The files that a CSV file names, with what it says of them."""
    sheet = rows.open_sheet(table)
    file_at = next((sheet.header.index(name) for name in _named(sheet.header)), 0)
    label_at = _label_column(sheet.header, file_at, wanted)
    place = {str(path.relative_to(root).with_suffix("")): at for at, path in enumerate(sounds.paths)}
    by_stem = {path.stem: at for at, path in enumerate(sounds.paths)}
    order, labels, damaged = [], [], []
    for line, cells in sheet.rows():
        name = cells[file_at].replace("\\", "/")
        stem = name[: -len(Path(name).suffix)] if is_sound(Path(name)) else name
        at = place.get(stem, by_stem.get(Path(stem).name))
        if at is None:
            damaged.append(f"{table.name}:{line}: there is no file {name!r}")
        else:
            order.append(at)
            labels.append(cells[label_at].strip())
    if not order:
        raise UnusableDataError(f"{table.name}: names no WAV file below {root.name}")
    chosen = SoundFiles([sounds.paths[at] for at in order], sounds.rate, sounds.window)
    notes = [*notes, f"labels are column {sheet.header[label_at]!r} of {table.name}"]
    found = replace(_unlabelled(chosen, root, table), notes=tuple(notes), damaged=tuple(damaged))
    if wanted.task == "sequence":
        return replace(found, truth=labels, names=wanted.names)
    tags = [[tag for part in label.split("|") for tag in part.split(";") if tag] for label in labels]
    names = wanted.names or classes.in_order(sorted({tag for some in tags for tag in some}))
    placed = classes.places(names, sorted({tag for some in tags for tag in some}), f"labels of {table.name}")
    if _is_hot(wanted.task):
        truth: list[Any] = [_hot([placed[tag] for tag in some], len(names)) for some in tags]
    elif all(len(some) == 1 for some in tags):
        truth = [placed[some[0]] for some in tags]
    else:
        raise UnusableDataError(f"{table.name}: files have several labels: that is task multilabel")
    groups = [placed[some[0]] if some else NO_CLASS for some in tags]
    return replace(found, truth=truth, groups=groups, names=names)


def _unlabelled(sounds: SoundFiles, root: Path, table: Path | None = None) -> Found:
    """The files without what is right for them; `table` is read for each, too."""
    keys = [str(path.relative_to(root)) for path in sounds.paths]
    files = [(path,) if table is None else (path, table) for path in sounds.paths]
    return Found(sounds, keys, files, groups=[NO_CLASS] * len(keys))


def _rate(place: Path, paths: Sequence[Path], asked: int | None) -> int:
    """The sample rate that is asked for, else that of most files; raises `UnusableDataError` where no file has it."""
    rates: Counter[int] = Counter()
    for path in paths[:: max(1, len(paths) // 500)]:
        try:
            rates[riff.look(path).rate] += 1
        except DamagedError:
            continue
    if not rates:
        raise UnusableDataError(f"{listed([path.name for path in paths])}: none is a WAV file that can be read")
    usual = rates.most_common(1)[0][0]
    if asked and asked not in rates:
        advice = f"nothing is resampled here: resample them, for example with ffmpeg -i IN -ar {asked} OUT"
        raise UnusableDataError(
            f"{place.name}: its WAV files have {usual:,} samples a second, [data] sample_rate says {asked:,}; {advice}"
        )
    return asked or usual


def _table(folder: Path) -> Path | None:
    """The only table in a folder."""
    found = [path for path in sorted(folder.iterdir()) if path.is_file() and path.suffix.lower() in rows.SUFFIXES]
    return found[0] if len(found) == 1 else None


def _named(header: Sequence[str]) -> list[str]:
    return [name for known in FILE_COLUMNS for name in header if name.casefold() == known]


def _label_column(header: Sequence[str], file_at: int, wanted: Wanted) -> int:
    if wanted.plan.label:
        return rows.column(header, wanted.plan.label[0])
    usual = ("text", "sentence", "transcription", "transcript") if wanted.task == "sequence" else ("label", "class")
    found = [header.index(name) for known in usual for name in header if name.casefold() == known]
    rest = [at for at in range(len(header)) if at != file_at]
    if not found and not rest:
        raise UnusableDataError("the table of WAV files has no column with labels")
    return (found or rest)[0]


def _is_hot(task: str) -> bool:
    return task in {"multilabel", "events"}


def _hot(indices: Sequence[int], count: int) -> Any:
    made = np.zeros(count, np.uint8)
    made[list(indices)] = 1
    return made
