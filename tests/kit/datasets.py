"""Small data sets as people have them: images, boxes, masks, sound and tables, written into a folder."""

import io
import json
import struct
import wave
from pathlib import Path

import numpy as np
from PIL import Image

from skerry_host.builder.data.readers.base import DamagedError
from skerry_host.builder.recipe.data import Data


def image(path: Path, value: int = 0, size: tuple[int, int] = (8, 8), colours: bool = True) -> Path:
    """An image whose pixels depend on `value` only; `size` is width and height."""
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = (size[1], size[0], 3) if colours else (size[1], size[0])
    Image.fromarray(np.random.default_rng(value).integers(0, 256, shape, dtype=np.uint8)).save(path)
    return path


def class_folders(root: Path, counts: dict[str, int], **kind) -> Path:
    """Images in folders by class."""
    for number, (name, count) in enumerate(counts.items()):
        for at in range(count):
            image(root / name / f"{at:03}.png", 1000 * number + at, **kind)
    return root


def sound(path: Path, values, rate: int = 16000, bits: int = 16, channels: int = 1) -> Path:
    """A WAV file of values in -1..1 (frames,) or (frames, channels), by Python's own writer; 8 to 32 bits."""
    path.parent.mkdir(parents=True, exist_ok=True)
    flat = np.clip(np.asarray(values, np.float64).ravel(), -1, 1)
    if bits == 8:
        raw = (np.rint(flat * 127) + 128).astype(np.uint8).tobytes()
    else:
        whole = np.rint(flat * (2 ** (bits - 1) - 1)).astype("<i4")
        raw = whole.view(np.uint8).reshape(-1, 4)[:, : bits // 8].tobytes()
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(bits // 8)
        file.setframerate(rate)
        file.writeframes(raw)
    return path


def float_sound(values, rate: int = 16000, extensible: bool = False) -> bytes:
    """A WAV file of 32-bit floating point, which Python's writer cannot write."""
    raw = np.asarray(values, "<f4").tobytes()
    kind = 0xFFFE if extensible else 3
    form = struct.pack("<HHIIHH", kind, 1, rate, rate * 4, 4, 32)
    if extensible:
        form += struct.pack("<HHIH14s", 22, 32, 0, 3, b"\0" * 14)
    chunks = b"fmt " + struct.pack("<I", len(form)) + form + b"LIST" + struct.pack("<I", 3) + b"abc\0"
    chunks += b"data" + struct.pack("<I", len(raw)) + raw
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks


def coco(file: Path, images, annotations, categories=((1, "cat"), (2, "dog"))) -> Path:
    """COCO's annotations: images (id, name, width, height), annotations as tables."""
    file.parent.mkdir(parents=True, exist_ok=True)
    table = {
        "info": {"description": "made by a test"},
        "images": [dict(zip(("id", "file_name", "width", "height"), one, strict=False)) for one in images],
        "annotations": [{"id": at, "area": 1.0, "iscrowd": 0, **one} for at, one in enumerate(annotations)],
        "categories": [{"id": number, "name": name, "supercategory": ""} for number, name in categories],
    }
    file.write_text(json.dumps(table), "utf-8")
    return file


def png(array) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(array).save(stream, "PNG")
    return stream.getvalue()


def plan(**keys) -> Data:
    """`[data]` with these keys; where the data are does not matter to a reader."""
    return Data(folder="here", **keys)


def problem(sequence, at: int) -> str:
    """Why a sample, or what is right for it, cannot be read; empty if it can."""
    try:
        sequence[at]
    except DamagedError as error:
        return str(error)
    return ""
