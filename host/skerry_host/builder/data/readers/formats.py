"""The table of formats, and how a folder or file shows which one it is. Reads no sample.

A new format is a reader and a line of `READERS`.
"""

from collections.abc import Callable
from pathlib import Path

from skerry_host.builder.data.readers import coco, folder, masks, rows, table, wav, yolo
from skerry_host.builder.data.readers.base import Found, UnusableDataError, Wanted
from skerry_host.builder.data.readers.images import SUFFIXES, is_image
from skerry_host.builder.data.readers.walk import folders, walk
from skerry_host.builder.recipe.data import DataFormat

Reader = Callable[[Path, Wanted], Found]

READERS: dict[str, Reader] = {
    "folder": folder.read,
    "coco": coco.read,
    "yolo": yolo.read,
    "masks": masks.read,
    "wav": wav.read,
    "csv": table.read,
}
CALIBRATION = ("train", "training", "calibration")
EVALUATION = ("val", "valid", "validation", "test", "testing", "evaluation")
"""Names of folders that data are split into, the ones that are taken first before the others."""


def format_of(place: Path) -> DataFormat:
    """Which format a place is in; raises `UnusableDataError` where it shows none, `OSError`."""
    if place.is_file():
        return _of_file(place)
    if not place.is_dir():
        raise UnusableDataError(f"{place}: there is no such file or folder")
    files = walk(place)
    suffixes = {path.suffix.lower() for path in files}
    if suffixes & wav.SUFFIXES:
        return "wav"
    if suffixes & SUFFIXES:
        return _of_images(place, files)
    if suffixes & rows.SUFFIXES:
        return "csv"
    if ".npz" in suffixes:
        return "npz"
    raise UnusableDataError(f"{place}: has no images, no WAV files and no tables")


def parts_of(place: Path, kind: str) -> tuple[Path, Path] | None:
    """What a data set that is split already has for calibration and for evaluation, None where it is not."""
    if place.suffix.lower() in yolo.YAMLS and place.is_file():
        return _splits_of(place)
    if not place.is_dir():
        return None
    if kind == "coco":
        return _named(_annotations(place))
    if kind in {"csv", "npz"}:
        suffixes = rows.SUFFIXES if kind == "csv" else {".npz"}
        return _named([path for path in walk(place) if path.suffix.lower() in suffixes])
    return _named(folders(place)) or next((found for one in folders(place) if (found := _named(folders(one)))), None)


def _annotations(folder_of: Path) -> list[Path]:
    """COCO's files of boxes: one that is called `instances` stands beside captions and keypoints of the same images."""
    found = [path for path in walk(folder_of) if coco.is_coco(path)]
    return [path for path in found if path.stem.startswith("instances")] or found


def _splits_of(yaml: Path) -> tuple[Path, Path] | None:
    """What a data.yaml says, where each split is one place."""
    found = {split: places[0] for split, places in yolo.splits(yaml).items() if len(places) == 1}
    judged = found.get("val", found.get("test"))
    return (found["train"], judged) if "train" in found and judged is not None else None


def _of_file(place: Path) -> DataFormat:
    suffix = place.suffix.lower()
    if suffix == ".npz":
        return "npz"
    if suffix in yolo.YAMLS:
        return "yolo"
    if suffix in rows.SUFFIXES:
        return "wav" if _names_sounds(place) else "csv"
    if coco.is_coco(place):
        return "coco"
    if suffix == ".txt":
        return "yolo"
    raise UnusableDataError(f"{place.name}: is no .npz, .csv, .json (COCO) or data.yaml (YOLO) file")


def _of_images(place: Path, files: list[Path]) -> DataFormat:
    if any(path.suffix.lower() in yolo.YAMLS and yolo.yaml_of(path.parent) is not None for path in files):
        return "yolo"
    images = [path for path in files if is_image(path)]
    there = set(files)
    if any(yolo.label_file(path) in there for path in images[:: max(1, len(images) // 200)]):
        return "yolo"
    if any(_has_boxes(path) for path in files if coco.is_coco(path)):
        return "coco"
    return "masks" if masks.pairs_of(place)[0] else "folder"


def _has_boxes(file: Path) -> bool:
    """Whether a JSON file mentions what COCO's must have; one of several hundred MB is not read for that."""
    with file.open("rb") as stream:
        head = stream.read(1 << 20)
        stream.seek(max(0, file.stat().st_size - (1 << 20)))
        both = head + stream.read()
    return b'"images"' in both and (b'"annotations"' in both or b'"categories"' in both)


def _names_sounds(table_file: Path) -> bool:
    sheet = rows.open_sheet(table_file)
    first = next(iter(sheet.rows()), (0, [""]))[1]
    return any(cell.lower().endswith(tuple(wav.SUFFIXES)) for cell in first)


def _named(places: list[Path]) -> tuple[Path, Path] | None:
    """The places whose names say train and val, or train and test."""

    def first(names: tuple[str, ...]) -> Path | None:
        for name in names:
            for place in places:
                if name in place.stem.lower().replace("-", "_").split("_") or _numbered(place.stem.lower(), name):
                    return place
        return None

    one, two = first(CALIBRATION), first(EVALUATION)
    return (one, two) if one is not None and two is not None and one != two else None


def _numbered(stem: str, name: str) -> bool:
    """`train2017` and `instances_train2017`, not `trainer`."""
    return any(part.startswith(name) and part[len(name) :].isdecimal() for part in stem.replace("-", "_").split("_"))
