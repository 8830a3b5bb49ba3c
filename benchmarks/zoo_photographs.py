"""Photographs out of packages, and makers that cut inputs with people, faces or neither out of them. Tries no model.

Where people are was found by looking. Some photographs serve the evaluation only (`held`), so that it has people whom
no calibration has seen; of the others both have pieces, each with its own places, scales and light. The files stay in
the zoo's work folder, and those in $SKERRY_REAL_MODELS/vision are used where they are: nothing of them is committed.
"""

import os
import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter
from zoo_tools import PROJECT, fetched, work

Pixels = np.ndarray[Any, Any]
Arrays = dict[str, Pixels]
Box = tuple[float, float, float, float]
"""Left, top, right and bottom as parts of a photograph's width and height."""

SKIMAGE, INSIGHTFACE, YOLO = "scikit-image==0.26.0", "insightface==2.1", "yolov5==7.0.14"
CALIBRATION = 1
"""The seed that calibration is made from."""


@dataclass(frozen=True)
class Photograph:
    """`file` in `package`, or in the folder of the test data if it has none, and where faces and people are in it.

    People are whole or down to the hips. Left out are those at whom float models themselves hesitate: bent, from
    behind, or half hidden. Then whether a quantized model agrees says little.
    """

    package: str
    file: str
    faces: tuple[Box, ...] = ()
    people: tuple[Box, ...] = ()
    held: bool = False

    def image(self) -> Image.Image:
        """The picture, fetched when it is first wanted."""
        found = fetched(work() / "packages", self.package, self.file) if self.package else _vision() / self.file
        return Image.open(found).convert("RGB")


PHOTOGRAPHS: tuple[Photograph, ...] = (
    Photograph(
        INSIGHTFACE,
        "insightface/data/images/t1.jpg",
        faces=(
            (0.045, 0.29, 0.135, 0.47), (0.205, 0.17, 0.295, 0.305), (0.365, 0.29, 0.455, 0.485),
            (0.585, 0.36, 0.67, 0.545), (0.705, 0.05, 0.80, 0.235), (0.885, 0.28, 0.965, 0.46),
        ),
        people=(
            (0.0, 0.26, 0.24, 0.9), (0.2, 0.11, 0.47, 0.76), (0.265, 0.24, 0.535, 0.73), (0.5, 0.32, 0.73, 0.71),
        ),
    ),
    Photograph(
        YOLO,
        "yolov5/data/images/bus.jpg",
        faces=((0.135, 0.385, 0.195, 0.438), (0.335, 0.388, 0.38, 0.442)),
        people=(
            (0.065, 0.365, 0.305, 0.84), (0.275, 0.37, 0.425, 0.8),
            (0.065, 0.365, 0.255, 0.63), (0.275, 0.37, 0.425, 0.6),
        ),
    ),
    Photograph(
        YOLO,
        "yolov5/data/images/zidane.jpg",
        faces=((0.705, 0.13, 0.825, 0.41),),
        people=((0.585, 0.05, 0.88, 1.0),),
        held=True,
    ),
    Photograph(
        SKIMAGE, "skimage/data/astronaut.png", faces=((0.345, 0.13, 0.54, 0.37),), people=((0.03, 0.02, 0.75, 1.0),)
    ),
    Photograph(SKIMAGE, "skimage/data/camera.png", faces=((0.36, 0.2, 0.53, 0.39),)),
    Photograph(INSIGHTFACE, "insightface/data/images/Tom_Hanks_54745.png", faces=((0.2, 0.2, 0.78, 0.97),)),
    Photograph("", "grace_hopper.bmp", faces=((0.32, 0.22, 0.72, 0.56),), people=((0.02, 0.03, 1.0, 1.0),)),
    *(
        Photograph(SKIMAGE, f"skimage/data/{name}")
        for name in ("coffee.png", "rocket.jpg", "motorcycle_left.png")
    ),
    *(Photograph("", name) for name in ("parrot.jpg", "sunflower.bmp")),
)  # fmt: skip


def _vision() -> Path:
    return Path(os.environ.get("SKERRY_REAL_MODELS", PROJECT.parent / "shared" / "models")) / "vision"


@cache
def samples() -> list[Image.Image]:
    """Scikit-learn's two."""
    from sklearn.datasets import load_sample_images  # noqa: PLC0415  (slow)

    return [Image.fromarray(image) for image in load_sample_images().images]


@cache
def photographs() -> list[Image.Image]:
    """Photographs that are at hand without fetching: scikit-learn's two, and those of the test data."""
    files = [path for path in sorted(_vision().glob("*")) if path.suffix in {".jpg", ".bmp", ".png"}]
    return samples() + [Image.open(path).convert("RGB") for path in files]


@cache
def pictures() -> list[tuple[Photograph, Image.Image]]:
    """All of the table, but for those of the test data where it is not there."""
    return [(each, each.image()) for each in PHOTOGRAPHS if each.package or (_vision() / each.file).is_file()]


def lit(piece: Image.Image, rng: random.Random) -> Pixels:
    """In other light, perhaps mirrored, perhaps not quite sharp."""
    if rng.random() < 0.5:
        piece = piece.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    for kind in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
        piece = kind(piece).enhance(rng.uniform(0.6, 1.4))
    return np.asarray(piece.filter(ImageFilter.GaussianBlur(rng.uniform(0, 1.2))))


def varied(image: Image.Image, rng: random.Random, size: tuple[int, int]) -> Pixels:
    """A piece of a photograph, at another scale and in other light, as uint8 (height, width, 3)."""
    share = rng.uniform(0.35, 1.0)
    width, height = int(image.width * share), int(image.height * share)
    left, top = rng.randint(0, image.width - width), rng.randint(0, image.height - height)
    return lit(image.crop((left, top, left + width, top + height)).resize((size[1], size[0])), rng)


@dataclass(frozen=True)
class Framing:
    """How a box lies in its square of `size` pixels: the shares that its longer side takes, and how far it is off.

    The box keeps within the square; `loose` is how much of the room around it may be on one side only.
    """

    shares: tuple[float, float]
    loose: float
    size: int


FACES, FACE_CROPS = Framing((0.25, 0.6), 0.6, 192), Framing((0.58, 0.74), 0.25, 192)
PEOPLE = Framing((0.5, 0.8), 0.6, 256)
DEGREES, TURNED = 12, 1.3
"""How far pieces are turned, and how much more is cut out for it, so that they have no empty corners."""


def square(image: Image.Image, x: float, y: float, side: float) -> Image.Image:
    """The square around a place; where it leaves the picture, the picture's edge goes on."""
    begin, end = (round(x - side / 2), round(y - side / 2)), (round(x + side / 2), round(y + side / 2))
    there = image.crop((max(0, begin[0]), max(0, begin[1]), min(image.width, end[0]), min(image.height, end[1])))
    beside = [(max(0, -begin[axis]), max(0, end[axis] - image.size[axis])) for axis in (1, 0)]
    return Image.fromarray(np.pad(np.asarray(there), [*beside, (0, 0)], mode="edge"))


def around(image: Image.Image, box: Box, framing: Framing, rng: random.Random) -> Pixels:
    """A turned square with the box in it, in some light."""
    left, top, right, bottom = box[0] * image.width, box[1] * image.height, box[2] * image.width, box[3] * image.height
    long = max(right - left, bottom - top)
    side = long / rng.uniform(*framing.shares)
    off = (side - long) / 2 * framing.loose
    x, y = (left + right) / 2 + rng.uniform(-off, off), (top + bottom) / 2 + rng.uniform(-off, off)
    more, cut = round(framing.size * TURNED), round(framing.size * (TURNED - 1) / 2)
    piece = square(image, x, y, side * TURNED).resize((more, more))
    turned = piece.rotate(rng.uniform(-DEGREES, DEGREES), Image.Resampling.BICUBIC)
    return lit(turned.crop((cut, cut, cut + framing.size, cut + framing.size)), rng)


def _pieces(framing: Framing, boxes: Callable[[Photograph], tuple[Box, ...]], count: int, seed: int) -> Arrays:
    """Pieces around such boxes, every fourth one of a photograph without anybody.

    None of a cat: the pose detector half takes it for somebody (scores of 0.4 to 0.7).
    """
    rng, size = random.Random(seed), (framing.size, framing.size)
    usable = [(each, image) for each, image in pictures() if not (each.held and seed == CALIBRATION)]
    there = [(image, box) for each, image in usable for box in boxes(each)]
    empty = [*samples(), *(image for each, image in usable if not each.people and not each.faces)]
    made = [
        varied(rng.choice(empty), rng, size) if at % 4 == 3 else around(*rng.choice(there), framing, rng)
        for at in range(count)
    ]
    return {"inputs": np.stack(made)}


def photos(count: int, seed: int) -> Arrays:
    """Pieces of photographs (N, 240, 320, 3)."""
    rng = random.Random(seed)
    return {"inputs": np.stack([varied(rng.choice(photographs()), rng, (240, 320)) for _ in range(count)])}


def faces(count: int, seed: int) -> Arrays:
    """Faces that take a quarter to three fifths of the picture (N, 192, 192, 3)."""
    return _pieces(FACES, lambda each: each.faces, count, seed)


def face_crops(count: int, seed: int) -> Arrays:
    """Faces in the middle of one and a half times their box, as a detector hands them on (N, 192, 192, 3)."""
    return _pieces(FACE_CROPS, lambda each: each.faces, count, seed)


def people(count: int, seed: int) -> Arrays:
    """People, whole or down to the hips (N, 256, 256, 3)."""
    return _pieces(PEOPLE, lambda each: each.people, count, seed)
