"""Images and masks of the same stem: a mask's pixels are indices of classes. Decodes none of them when it looks.

Masks are PNG with a palette (the index counts, not its colour) or grey, of 8 or 16 bits. `[data] ignore` (255, or 65535
of 16 bits) marks pixels that nothing is known of.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from skerry_agent.processing import Array
from skerry_host.builder.data.readers import classes
from skerry_host.builder.data.readers.base import (
    NO_CLASS,
    DamagedError,
    Found,
    TruthSource,
    UnusableDataError,
    Wanted,
    listed,
)
from skerry_host.builder.data.readers.images import FORMATS, ImageFiles, is_image, look
from skerry_host.builder.data.readers.walk import walk
from skerry_host.library_noise import silenced

MASKS = ("masks", "mask", "labels", "annotations", "segmentationclass", "gt", "labelids")
IMAGES = ("images", "image", "img", "imgs", "jpegimages", "rgb", "leftimg8bit")
ENDINGS = ("_mask", "-mask", ".mask", "_label", "_labels", "_seg", "_gt")
SUFFIXES = {".png", ".bmp", ".tif", ".tiff", ".gif"}
"""Formats without loss: a JPEG has changed the indices."""
INSPECTED = 20
"""Masks whose values are looked at, to tell 0 and 255 of two classes from ignored pixels."""


def read(place: Path, wanted: Wanted) -> Found:
    """The images of a folder with their masks; raises `UnusableDataError`, `OSError`."""
    pairs, alone = pairs_of(place)
    if not pairs:
        hint = "give images/ and masks/ with the same names"
        raise UnusableDataError(f"{place.name}: no image has a mask of the same name: {hint}")
    images, masks = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    notes = [f"{len(alone)} images without a mask are left out: {listed(alone)}"] if alone else []
    binary = wanted.plan.ignore is None and is_binary(masks)
    if binary:
        notes.append("masks hold 0 and 255 only: 255 is class 1")
    truth: TruthSource | None = _Masks(images, masks, wanted.plan.ignore, binary)
    if wanted.task != "segmentation":
        notes.append(f"masks say nothing that {wanted.task} is judged by")
        truth = None
    return Found(
        ImageFiles(images),
        [str(path.relative_to(place)) for path in images],
        pairs,
        truth,
        [NO_CLASS] * len(pairs),
        wanted.names or classes.listed_in(place),
        tuple(notes),
    )


def pairs_of(place: Path) -> tuple[list[tuple[Path, Path]], list[str]]:
    """Images with their masks, and the names of images that have none."""
    files = [path for path in walk(place) if is_image(path)]
    masks: dict[str, list[Path]] = defaultdict(list)
    images = []
    for path in files:
        if _is_mask(path, place):
            masks[_stem(path)].append(path)
        else:
            images.append(path)
    found, alone = [], []
    for image in images:
        there = [mask for mask in masks.get(image.stem, []) if _same_part(image, mask, place)]
        if len(there) == 1:
            found.append((image, there[0]))
        else:
            alone.append(image.name)
    return found, alone


def is_binary(masks: Sequence[Path]) -> bool:
    """Whether masks hold 0 and 255 only, and both: two classes, not one with ignored pixels."""
    values: set[int] = set()
    for mask in masks[:: max(1, len(masks) // INSPECTED)][:INSPECTED]:
        try:
            values |= set(np.unique(indices(mask)).tolist())
        except DamagedError:
            continue
    return values == {0, 255}


def indices(mask: Path) -> Array:
    """The class of each pixel, uint8 or uint16 (H, W); raises `DamagedError`."""
    try:
        look(mask)
        with silenced(), Image.open(mask, formats=FORMATS) as image:
            image.load()
            raw = np.asarray(image.convert("L") if image.mode == "1" else image)
    except Exception as error:  # noqa: BLE001  (the boundary: Pillow's parsers raise what they like)
        raise DamagedError(f"its mask {mask.name} cannot be read: {' '.join(str(error).split())[:100]}") from None
    if raw.ndim == 3 and all((raw[..., 0] == raw[..., plane]).all() for plane in range(min(3, raw.shape[2]))):
        raw = raw[..., 0]
    if raw.ndim != 2:
        raise DamagedError(f"its mask {mask.name} has colours, not indices of classes: save it with a palette or grey")
    if raw.dtype.kind == "b":
        return raw.astype(np.uint8)
    if raw.dtype.kind not in "ui" or raw.min() < 0 or raw.max() > 65535:
        raise DamagedError(f"its mask {mask.name} holds {raw.dtype} from {raw.min()} to {raw.max()}, not indices")
    found: Array = raw if raw.dtype == np.uint8 else raw.astype(np.uint16)
    return found


@dataclass(frozen=True, slots=True)
class _Masks:
    """The mask of each image, of its size, read when it is asked for."""

    images: Sequence[Path]
    masks: Sequence[Path]
    ignore: int | None
    binary: bool

    def __len__(self) -> int:
        return len(self.masks)

    def __getitem__(self, at: int) -> Array:
        found, header = indices(self.masks[at]), look(self.images[at])
        if found.shape != (header.height, header.width):
            mask = f"{found.shape[1]} x {found.shape[0]}"
            raise DamagedError(
                f"its mask {self.masks[at].name} has {mask} pixels, the image {header.width} x {header.height}"
            )
        if self.binary:
            return np.array(found == 255, np.uint8)
        if self.ignore is not None:
            most = np.iinfo(found.dtype).max
            found = np.array(np.where(found == self.ignore, most, found), found.dtype)
        return found


def _is_mask(path: Path, root: Path) -> bool:
    """By its folder, by the end of its name, or a PNG beside a JPEG of the same stem."""
    if path.suffix.lower() not in SUFFIXES:
        return False
    parts = [part.lower() for part in path.relative_to(root).parts[:-1]]
    if any(part in MASKS for part in parts):
        return True
    if any(part in IMAGES for part in parts):
        return False
    if path.stem.lower().endswith(ENDINGS):
        return True
    return any(path.with_suffix(suffix).is_file() for suffix in (".jpg", ".jpeg", ".JPG"))


def _stem(mask: Path) -> str:
    ending = next((end for end in ENDINGS if mask.stem.lower().endswith(end)), "")
    return mask.stem[: len(mask.stem) - len(ending)]


def _same_part(image: Path, mask: Path, root: Path) -> bool:
    """Whether both are of the same part of the folder (`train/x.jpg` and `train/x.png`, not `val/x.png`)."""
    known = {*MASKS, *IMAGES}
    one, two = (
        [part for part in path.relative_to(root).parts[:-1] if part.lower() not in known] for path in (image, mask)
    )
    return one == two
