"""YOLO's boxes: a text file for each image, one line a box, and data.yaml with the names. Decodes no image.

Format: https://docs.ultralytics.com/datasets/detect/. A line is the class and centre x, centre y, width and height in
0..1 of the image, or the class and a polygon, whose bounding box counts. An image without a text file has no boxes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from skerry_agent.processing import Array
from skerry_host.builder.data.readers import classes, simple_yaml
from skerry_host.builder.data.readers.base import NO_CLASS, DamagedError, Found, UnusableDataError, Wanted
from skerry_host.builder.data.readers.boxes import Corners, boxes_of, rarest
from skerry_host.builder.data.readers.images import ImageFiles, is_image
from skerry_host.builder.data.readers.walk import walk

YAMLS = {".yaml", ".yml"}
LEVELS = 4
"""How many folders above the images data.yaml may be."""


def read(place: Path, wanted: Wanted) -> Found:
    """The images of a folder, of a list of images, or of data.yaml; raises `UnusableDataError`, `OSError`."""
    images = images_of(place)
    if not images:
        raise UnusableDataError(f"{place.name}: has no images")
    texts = [label_file(path) for path in images]
    if not any(text.is_file() for text in texts):
        raise UnusableDataError(f"{place.name}: no image has a text file with boxes, such as {texts[0]}")
    names, order = _names(place, wanted)
    truth = _Boxes(texts, order)
    groups = rarest([_indices(text, order) for text in texts])
    notes, without = [], sum(not text.is_file() for text in texts)
    if without:
        notes.append(f"{without} images without a text file count as images without boxes")
    files = [(path, text) if text.is_file() else (path,) for path, text in zip(images, texts, strict=True)]
    keys = [_key(path, place) for path in images]
    if wanted.task != "detection":
        notes.append(f"boxes say nothing that {wanted.task} is judged by")
        return Found(ImageFiles(images), keys, files, None, [NO_CLASS] * len(images), names, tuple(notes))
    return Found(ImageFiles(images), keys, files, truth, groups, names, tuple(notes))


def images_of(place: Path) -> list[Path]:
    """The images of a folder, of a text file that lists them, or of all splits of a data.yaml."""
    if place.is_dir():
        return [path for path in walk(place) if is_image(path)]
    if place.suffix.lower() in YAMLS:
        return sorted({path for part in splits(place).values() for one in part for path in images_of(one)})
    lines = place.read_text("utf-8-sig").splitlines()
    return sorted(_below(place.parent, line.strip()) for line in lines if line.strip())


def label_file(image: Path) -> Path:
    """Where the boxes of an image are: in `labels` where the image is in `images`, else beside it."""
    parts = list(image.parts)
    for at in range(len(parts) - 2, -1, -1):
        if parts[at] == "images":
            return Path(*parts[:at], "labels", *parts[at + 1 :]).with_suffix(".txt")
    return image.with_suffix(".txt")


def yaml_of(place: Path) -> Path | None:
    """The data.yaml that a place belongs to: itself, or in it, or in a folder above."""
    if place.suffix.lower() in YAMLS:
        return place
    folder = place if place.is_dir() else place.parent
    for above in [folder, *folder.parents][:LEVELS]:
        there = sorted(path for path in above.iterdir() if path.suffix.lower() in YAMLS and "names" in _table(path))
        if there:
            return there[0]
    return None


def splits(yaml: Path) -> dict[str, list[Path]]:
    """The places of a data.yaml by split (train, val, test), those that are there."""
    table, found = _table(yaml), {}
    base = table.get("path", "")
    roots = [yaml.parent / base, yaml.parent] if isinstance(base, str) else [yaml.parent]
    for split in ("train", "val", "valid", "test"):
        said = table.get(split, "")
        texts = [said] if isinstance(said, str) else list(said)
        places = [place for text in texts if text and (place := _place(roots, text)) is not None]
        if places:
            found["val" if split == "valid" else split] = places
    return found


@dataclass(frozen=True, slots=True)
class _Boxes:
    """The boxes of each image, read when they are asked for."""

    texts: Sequence[Path]
    order: dict[int, int]

    def __len__(self) -> int:
        return len(self.texts)

    def __getitem__(self, at: int) -> Array:
        return boxes_of([_row(words, self.order) for words in _lines(self.texts[at])])


def _row(words: list[str], order: dict[int, int]) -> tuple[int, Corners]:
    try:
        numbers = [float(word) for word in words]
        index = int(numbers[0])
    except (ValueError, IndexError, OverflowError):
        raise DamagedError(f"has a line that is no box: {' '.join(words)[:60]!r}") from None
    if numbers[0] != index or (order and index not in order) or index < 0:
        raise DamagedError(f"has a box of class {words[0]}, which data.yaml does not name")
    at = order.get(index, index)
    values = numbers[1:]
    if len(values) in {4, 5}:  # five: with a confidence, as a detector writes it
        x, y, width, height = values[:4]
        return at, (y - height / 2, x - width / 2, y + height / 2, x + width / 2)
    if len(values) < 6 or len(values) % 2:
        raise DamagedError(f"has a line of {len(words)} numbers, which is neither a box nor a polygon")
    across, down = values[::2], values[1::2]
    return at, (min(down), min(across), max(down), max(across))


def _lines(text: Path) -> list[list[str]]:
    try:
        return [line.split() for line in text.read_text("utf-8-sig").splitlines() if line.strip()]
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as error:
        raise DamagedError(f"its boxes cannot be read ({error})") from None


def _indices(text: Path, order: dict[int, int]) -> list[int]:
    """The classes of the boxes of one image; none of those that cannot be read, which is said when they are."""
    found = []
    try:
        for words in _lines(text):
            index = int(float(words[0]))
            found.append(order.get(index, index))
    except (DamagedError, ValueError, OverflowError):
        return []
    return found


def _names(place: Path, wanted: Wanted) -> tuple[tuple[str, ...], dict[int, int]]:
    """The classes in their order, and the place of each class number among them (empty: as they are)."""
    own = _own_names(place)
    if not wanted.names:
        return own, {at: at for at in range(len(own))}
    if not own:
        return wanted.names, {at: at for at in range(len(wanted.names))}
    placed = classes.places(wanted.names, own, "classes")
    return wanted.names, {at: placed[name] for at, name in enumerate(own)}


def _own_names(place: Path) -> tuple[str, ...]:
    yaml = yaml_of(place)
    if yaml is None:
        folder = place if place.is_dir() else place.parent
        near = [folder, *folder.parents][:LEVELS]
        return next((found for one in near for sub in (one, one / "labels") if (found := classes.listed_in(sub))), ())
    said = _table(yaml)["names"]
    if isinstance(said, dict):
        strange = [key for key in said if key.isdecimal() and len(key) >= classes.MOST_DIGITS]
        if strange:
            raise UnusableDataError(f"{yaml.name}: names has a class {strange[0][:30]}: they are counted from 0")
        numbers = {int(key): name for key, name in said.items() if key.isascii() and key.isdecimal()}
        return tuple(numbers.get(at, f"class {at}") for at in range(max(numbers, default=-1) + 1))
    return tuple(said) if isinstance(said, list) else ()


def _table(yaml: Path) -> dict[str, simple_yaml.Value]:
    try:
        return simple_yaml.parse(yaml.read_text("utf-8-sig"))
    except (OSError, UnicodeDecodeError) as error:
        raise UnusableDataError(f"{yaml.name}: is not a text file in UTF-8 ({error})") from None


def _place(roots: Sequence[Path], text: str) -> Path | None:
    """A place of data.yaml; many are written relative to a folder beside it (`../train/images`)."""
    tries = [root / text for root in roots] + [roots[-1] / text.removeprefix("../")]
    return next((one for one in tries if one.exists()), None)


def _below(folder: Path, text: str) -> Path:
    return folder / text.replace("\\", "/")


def _key(path: Path, place: Path) -> str:
    root = place if place.is_dir() else place.parent
    return str(path.relative_to(root)) if path.is_relative_to(root) else path.name
