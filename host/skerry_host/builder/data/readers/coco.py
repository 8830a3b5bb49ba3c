"""COCO's annotations: one JSON file with images, categories, and boxes or keypoints. Decodes no image.

Format: https://cocodataset.org/#format-data. Classes are the categories in the order of their ids, unless the recipe
names them. Images are looked for by name, beside the file and in the folders around it.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec
import numpy as np
from msgspec import Struct

from skerry_agent.processing import Array
from skerry_host.builder.data.readers import classes
from skerry_host.builder.data.readers.base import NO_CLASS, DamagedError, Found, UnusableDataError, Wanted, listed
from skerry_host.builder.data.readers.boxes import boxes_of, rarest
from skerry_host.builder.data.readers.images import ImageFiles, is_image, look
from skerry_host.builder.data.readers.walk import walk

MAX_BYTES = 1024 * 1024 * 1024
SAME_FORM = 0.02
"""How far the proportions of an image may be from those that were annotated."""
Id = int | str


class _Image(Struct):
    id: Id
    file_name: str
    width: float | None = None
    height: float | None = None


class _Category(Struct):
    id: Id
    name: str


class _Annotation(Struct):
    image_id: Id
    category_id: Id
    bbox: list[float] | None = None
    keypoints: list[float] | None = None
    iscrowd: int | bool | None = 0


class _File(Struct):
    images: list[_Image]
    categories: list[_Category] = []
    annotations: list[_Annotation] = []


def is_coco(file: Path) -> bool:
    """Whether a file looks like COCO's: its name, and that its first bytes are a JSON object."""
    if file.suffix.lower() != ".json":
        return False
    with file.open("rb") as stream:
        return stream.read(64).lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{")


def read(place: Path, wanted: Wanted) -> Found:
    """The images that a COCO file names, with their boxes; raises `UnusableDataError`, `OSError`."""
    file = _only_file(place) if place.is_dir() else place
    parsed = _parse(file)
    images = sorted(parsed.images, key=lambda image: image.file_name)
    paths = _find(file, [image.file_name for image in images])
    missing = [f"{image.file_name}: there is no such image" for image in images if image.file_name not in paths]
    images = [image for image in images if image.file_name in paths]
    if not images:
        raise UnusableDataError(f"{file.name}: none of its {len(parsed.images)} images is below {file.parent}")
    names, index_of = _classes(parsed.categories, wanted)
    notes: list[str] = []
    by_image = _by_image(parsed, index_of, images, notes)
    at = [paths[image.file_name] for image in images]
    own = [by_image.get(image.id, []) for image in images]
    truth: Any = _Truth(at, images, own, index_of, wanted.task)
    groups = rarest([[index_of[one.category_id] for one in annotations] for annotations in own])
    keys = [image.file_name for image in images]
    files = [(path, file) for path in at]
    if wanted.task not in {"detection", "keypoints"}:
        notes.append(f"boxes say nothing that {wanted.task} is judged by")
        truth, groups = None, [NO_CLASS] * len(images)
    return Found(ImageFiles(at), keys, files, truth, groups, names, tuple(notes), tuple(missing))


@dataclass(frozen=True, slots=True)
class _Truth:
    """What is right for each image; reads an image's header where the file does not say its size."""

    paths: Sequence[Path]
    images: Sequence[_Image]
    annotations: Sequence[Sequence[_Annotation]]
    index_of: Mapping[Id, int]
    task: str

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, at: int) -> Array:
        height, width = _size(self.images[at], self.paths[at])
        if self.task == "keypoints":
            return _keypoints(self.annotations[at], height, width)
        rows = [
            (self.index_of[one.category_id], (y / height, x / width, (y + h) / height, (x + w) / width))
            for one in self.annotations[at]
            for x, y, w, h in [_numbers(one.bbox)]
        ]
        return boxes_of(rows)


def _numbers(bbox: list[float] | None) -> list[float]:
    if bbox is None or len(bbox) != 4:
        raise DamagedError(f"has a bbox of {0 if bbox is None else len(bbox)} numbers, not of x, y, width and height")
    return bbox


def _size(image: _Image, path: Path) -> tuple[float, float]:
    """The size that boxes are measured in (height, width); raises `DamagedError` where the image has another form."""
    real = look(path)
    if not image.width or not image.height:
        return real.height, real.width
    if abs(image.width * real.height / (image.height * real.width) - 1) > SAME_FORM:
        annotated = f"{image.width:g} x {image.height:g}"
        raise DamagedError(f"was annotated as {annotated} pixels, and has {real.width} x {real.height}")
    return image.height, image.width


def _keypoints(annotations: Sequence[_Annotation], height: float, width: float) -> Array:
    """Of the largest one in the image: y and x in 0..1, and whether it is to be seen."""
    pointed = [one for one in annotations if one.keypoints]
    if not pointed:
        raise DamagedError("has nothing with keypoints in it")
    best = max(pointed, key=lambda one: one.bbox[2] * one.bbox[3] if one.bbox and len(one.bbox) == 4 else 0.0)
    if len(best.keypoints or []) % 3:
        raise DamagedError(f"has {len(best.keypoints or [])} numbers for keypoints, not x, y and visible of each")
    points = np.array(best.keypoints, np.float32).reshape(-1, 3)
    return np.stack([points[:, 1] / height, points[:, 0] / width, points[:, 2] > 0], axis=1).astype(np.float32)


def _classes(categories: Sequence[_Category], wanted: Wanted) -> tuple[tuple[str, ...], dict[Id, int]]:
    """The classes in their order, and the place of each category's id among them."""
    ordered = sorted(categories, key=lambda one: (isinstance(one.id, str), one.id))
    names = wanted.names or tuple(one.name for one in ordered)
    if wanted.names:
        placed = classes.places(wanted.names, [one.name for one in ordered], "categories")
        return names, {one.id: placed[one.name] for one in ordered}
    return names, {one.id: at for at, one in enumerate(ordered)}


def _by_image(
    parsed: _File, index_of: Mapping[Id, int], images: Sequence[_Image], notes: list[str]
) -> dict[Id, list[_Annotation]]:
    unknown = {one.category_id for one in parsed.annotations} - set(index_of)
    if unknown:
        raise UnusableDataError(f"annotations of categories that are not listed: {listed(sorted(map(str, unknown)))}")
    known, found = {image.id for image in images}, defaultdict(list)
    crowds = sum(bool(one.iscrowd) for one in parsed.annotations)
    if crowds:
        notes.append(f"{crowds} boxes of crowds (iscrowd) are left out")
    for one in parsed.annotations:
        if not one.iscrowd and one.image_id in known:
            found[one.image_id].append(one)
    return found


def _parse(file: Path) -> _File:
    if file.stat().st_size > MAX_BYTES:
        raise UnusableDataError(f"{file.name}: has more than {MAX_BYTES:,} bytes")
    try:
        return msgspec.json.decode(file.read_bytes().removeprefix(b"\xef\xbb\xbf"), type=_File)
    except (msgspec.DecodeError, RecursionError) as error:
        raise UnusableDataError(f"{file.name}: is not in COCO's format ({error})") from None


def _only_file(folder: Path) -> Path:
    found = [path for path in walk(folder) if is_coco(path)]
    if len(found) != 1:
        names = f" ({listed([path.name for path in found])})" if found else ""
        raise UnusableDataError(f"{folder.name}: has {len(found)} JSON files{names}: name the one with the annotations")
    return found[0]


def _find(file: Path, names: Sequence[str]) -> dict[str, Path]:
    """The path of each image, by its name: relative to the file, else by the end of its path somewhere around it."""
    root = file.parent.parent if file.parent.name.lower() in {"annotations", "labels"} else file.parent
    beside = {name: file.parent / name for name in names if _is_below(name) and (file.parent / name).is_file()}
    if len(beside) == len(names):
        return beside
    ends: dict[str, list[Path]] = defaultdict(list)
    for path in walk(root):
        if is_image(path):
            ends[path.name].append(path)
    found = {}
    for name in names:
        parts = PurePosixPath(name.replace("\\", "/")).parts
        there = ends.get(parts[-1], []) if parts else []
        best = _nearest(there, parts, file)
        if best is not None:
            found[name] = best
    return found


def _nearest(paths: Sequence[Path], parts: tuple[str, ...], file: Path) -> Path | None:
    """The one whose path ends most like the name, else in a folder that the file is called after (val2017)."""
    if not paths:
        return None

    def likeness(path: Path) -> tuple[int, bool]:
        same = 0
        for one, two in zip(reversed(path.parts), reversed(parts), strict=False):
            if one != two:
                break
            same += 1
        return same, any(part in file.stem for part in path.parts[-3:-1])

    best = max(paths, key=likeness)
    alike = [path for path in paths if likeness(path) == likeness(best)]
    return best if len(alike) == 1 else None


def _is_below(name: str) -> bool:
    return bool(name) and not Path(name).is_absolute() and ".." not in Path(name).parts
