"""Readers of data as people have it: images, boxes, masks, sound and tables, one damaged file among good ones.

A file is read as far as a build reads it: found, decoded, and what is right for it.
"""

import io
import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from skerry_host.builder.data.readers.base import DamagedError, UnusableDataError, Wanted
from skerry_host.builder.data.readers.formats import READERS as FORMATS
from skerry_host.builder.data.truth import TruthError
from tests.fuzz.arrays import wav_seeds
from tests.fuzz.files import scratch_folder
from tests.kit.datasets import float_sound

REFUSES = (DamagedError, UnusableDataError, TruthError, OSError)


def pixels(kind: str, mode: str = "RGB", **how) -> bytes:
    stream = io.BytesIO()
    image = Image.fromarray(np.random.default_rng(3).integers(0, 4, (6, 8, 3), dtype=np.uint8)).convert(mode)
    image.save(stream, kind, **how)
    return stream.getvalue()


def image_seeds() -> list[bytes]:
    return [
        pixels("PNG"),
        pixels("PNG", "P"),
        pixels("JPEG"),
        pixels("BMP"),
        pixels("GIF", "P"),
        pixels("WEBP"),
        pixels("TIFF", compression="tiff_lzw"),
        pixels("PPM"),
    ]


def coco_seeds() -> list[bytes]:
    image = {"id": 1, "file_name": "a.png", "width": 8, "height": 6}
    box = {"image_id": 1, "category_id": 2, "bbox": [1.0, 2.0, 3.0, 4.0], "iscrowd": 0, "keypoints": [1, 2, 2]}
    table = {"images": [image], "annotations": [box], "categories": [{"id": 2, "name": "cat"}]}
    return [json.dumps(table).encode(), json.dumps({**table, "annotations": []}, indent=1).encode()]


def opened(kind: str, task: str, damaged: str, **good: bytes) -> Callable[[], Callable[[bytes], object]]:
    """Reads a folder whose file `damaged` is the mutant; the others are good, `__` in their names is a folder."""

    def read_all() -> Callable[[bytes], object]:
        folder = scratch_folder()
        for name, content in good.items():
            put(folder, name, content)

        def read(raw: bytes) -> None:
            put(folder, damaged, raw)
            found = FORMATS[kind](folder, Wanted(task))
            for at in range(len(found)):
                for values in found.inputs[at]:
                    assert values.dtype.kind in "uif"
                if found.truth is not None:
                    right = np.asarray(found.truth[at])
                    assert right.dtype.kind not in "fc" or all(map(math.isfinite, right.ravel().tolist()))

        return read

    return read_all


def put(folder: Path, name: str, content: bytes) -> None:
    stem, _, suffix = name.rpartition("_")
    path = folder / f"{stem.replace('__', '/')}.{suffix}"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


PNG = pixels("PNG")
YAML = b"train: images/a\nval: images/b\nnames: [cat, 'a dog']\nnc: 2\n"
TABLE = b'a,b,label\n1,2.5,yes\n"3,0",4,no\n5;6,7,yes\n'
FOLDER = opened("folder", "classification", "x__a_png", y__b_png=PNG)
MASK = opened("masks", "segmentation", "masks__a_png", images__a_png=PNG)
SOUND = opened("wav", "classification", "x__a_wav", y__b_wav=float_sound([0.5] * 9))
LINES = opened("yolo", "detection", "labels__a_txt", images__a_png=PNG, data_yaml=YAML)
SPLITS = opened("yolo", "detection", "data_yaml", images__a_png=PNG, labels__a_txt=b"0 .5 .5 .2 .2\n")
BOXES, POINTS = (opened("coco", task, "x_json", a_png=PNG) for task in ("detection", "keypoints"))
CLASSES, NUMBERS = (opened("csv", task, "x_csv") for task in ("classification", "regression"))


def sound_seeds() -> list[bytes]:
    return [*wav_seeds(), float_sound([0.1] * 20), float_sound([0.1] * 20, extensible=True)]


def line_seeds() -> list[bytes]:
    return [b"0 0.5 0.5 0.2 0.2\n1 0.1 0.1 0.2 0.2\n", b"0 .1 .1 .9 .1 .9 .9\n"]


def yaml_seeds() -> list[bytes]:
    return [YAML, b"path: .\ntrain:\n  - images\nval: images\nnames:\n  0: cat\n  1: dog\n"]


def table_seeds() -> list[bytes]:
    return [TABLE, TABLE.replace(b",", b";"), TABLE.decode().encode("utf-16"), b"1,2,3\n4,5,6\n"]


READERS = (
    ("folders of images", image_seeds, FOLDER, REFUSES, (b"IHDR", b"\xff\xd9")),
    ("masks", image_seeds, MASK, REFUSES, (b"PLTE",)),
    ("folders of sound", sound_seeds, SOUND, REFUSES, (b"RIFF", b"data", b"fmt ")),
    ("boxes", coco_seeds, BOXES, REFUSES, (b'"id": 1', b"1e308", b"[]")),
    ("points", coco_seeds, POINTS, REFUSES, (b'"id": 1', b"-1e308", b"null")),
    ("lines of boxes", line_seeds, LINES, REFUSES, (b"nan", b"1e400", b"1 ")),
    ("yaml of boxes", yaml_seeds, SPLITS, REFUSES, (b": ", b"- ", b"#")),
    ("tables of classes", table_seeds, CLASSES, REFUSES, (b",,", b'"', b"inf", b"1e400")),
    ("tables of numbers", table_seeds, NUMBERS, REFUSES, (b"nan", b"1e39")),
)
