"""Image files as samples: RGB or grey, 8 bits, turned upright; decoded when asked for. Knows no labels.

Only pixels count as they are: nothing is resized here. What is no plain 8-bit image is converted, and it is said how
many were. Images of more than `MAX_PIXELS` are refused by their header, before memory is taken for them.
"""

from collections import Counter, OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock

import numpy as np
from PIL import Image, ImageOps

from skerry_agent.processing import Array
from skerry_host.builder.data.readers.base import DamagedError, Sample
from skerry_host.library_noise import silenced

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"}
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "PPM")
"""What Pillow may take a file for: formats of pixels, never one that runs a program (EPS)."""
MAX_PIXELS = 64_000_000
"""Of one image: 192 MB of colours. The largest camera of a phone has 200 million, which it averages to 12 or 50."""
LARGE = 1_000_000
"""Pixels from which an image is only looked through before it is used."""
CACHED_BYTES = 256 * 1024 * 1024
"""Decoded images that are kept, so that a second model need not decode a small set again."""
_ORIENTATION = 0x0112
_KINDS = {
    "P": "with a palette, as RGB",
    "PA": "with a palette, as RGB",
    "RGBA": "with transparency, without it",
    "LA": "with transparency, without it",
    "La": "with transparency, without it",
    "RGBa": "with transparency, without it",
    "CMYK": "in CMYK, as RGB",
    "YCbCr": "in YCbCr, as RGB",
    "LAB": "in LAB, as RGB",
    "HSV": "in HSV, as RGB",
    "1": "black and white, as grey",
}
_DEEP = {"I;16", "I;16L", "I;16B", "I;16N", "I", "F"}


def is_image(path: Path) -> bool:
    """Whether a file's name says that it is an image."""
    return path.suffix.lower() in SUFFIXES


@dataclass(frozen=True, slots=True)
class Header:
    """What an image file says of itself: its size as it is seen (height, width), and what must be converted."""

    height: int
    width: int
    conversions: tuple[str, ...] = ()


def look(path: Path) -> Header:
    """An image's header, without decoding it. Raises `DamagedError`."""
    try:
        with silenced(), Image.open(path, formats=FORMATS) as image:
            return _header(image)
    except DamagedError:
        raise
    except Image.DecompressionBombError:
        raise DamagedError(f"has more than {MAX_PIXELS // 1_000_000} million pixels") from None
    except Exception as error:  # noqa: BLE001  (the boundary: Pillow's parsers raise what they like)
        raise DamagedError(_why(error)) from None


def decode(path: Path, smaller: int = 1) -> Array:
    """An image as uint8 (H, W, 3), or (H, W, 1) where it is grey, upright; `look` has judged its size.

    `smaller`: so many times, where its format can be decoded so. Raises `DamagedError`.
    """
    try:
        with silenced(), Image.open(path, formats=FORMATS) as image:
            if smaller > 1:
                image.draft(None, (image.width // smaller, image.height // smaller))
            image.load()
            upright = ImageOps.exif_transpose(image)
            pixels = np.asarray(_plain(upright if upright is not None else image))
    except DamagedError:
        raise
    except Exception as error:  # noqa: BLE001  (as above)
        raise DamagedError(_why(error)) from None
    return pixels[..., np.newaxis] if pixels.ndim == 2 else pixels


@dataclass(slots=True)
class ImageFiles:
    """Image files as samples of a model with one input; keeps `limit` bytes of the last decoded ones."""

    paths: Sequence[Path]
    limit: int = CACHED_BYTES
    _headers: dict[int, Header] = field(default_factory=dict)
    _kept: "OrderedDict[int, Array]" = field(default_factory=OrderedDict)
    _bytes: int = 0
    _lock: Lock = field(default_factory=Lock)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Sample:
        with self._lock:
            known = self._kept.get(index)
            if known is not None:
                self._kept.move_to_end(index)
                return (known,)
        self._headers[index] = look(self.paths[index])
        pixels = decode(self.paths[index])
        pixels.flags.writeable = False
        self._keep(index, pixels)
        return (pixels,)

    def check(self, index: int) -> None:
        """Decode it: a large JPEG in an eighth of its size, which reads all of it in a fraction of the time."""
        header = look(self.paths[index])
        if header.height * header.width < LARGE:
            self[index]
            return
        self._headers[index] = header
        decode(self.paths[index], smaller=8)

    def remarks(self) -> list[str]:
        """What was converted of the images that were read."""
        return conversions(list(self._headers.values()))

    def _keep(self, index: int, pixels: Array) -> None:
        with self._lock:
            if index in self._kept or pixels.nbytes > self.limit:
                return
            self._kept[index] = pixels
            self._bytes += pixels.nbytes
            while self._bytes > self.limit:
                _old, dropped = self._kept.popitem(last=False)
                self._bytes -= dropped.nbytes


def conversions(headers: Sequence[Header]) -> list[str]:
    """What was converted, and of how many images: "12 images with a palette, as RGB"."""
    counts = Counter(kind for header in headers for kind in header.conversions)
    return [f"{count} image{'s' if count > 1 else ''} {kind}" for kind, count in sorted(counts.items())]


def _header(image: Image.Image) -> Header:
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise DamagedError(f"has {width} x {height} pixels, more than {MAX_PIXELS // 1_000_000} million")
    if not width or not height:
        raise DamagedError("has no pixels")
    kinds = [_KINDS[image.mode]] if image.mode in _KINDS else []
    if image.mode in _DEEP:
        kinds.append("of more than 8 bits, as 8 bits")
    if getattr(image, "n_frames", 1) > 1 and image.format != "MPO":
        kinds.append("with several frames, the first one")
    turned = image.getexif().get(_ORIENTATION, 1)
    if turned in range(2, 9):
        kinds.append("turned upright, as EXIF says")
    if turned in range(5, 9):
        width, height = height, width
    return Header(height, width, tuple(kinds))


def _plain(image: Image.Image) -> Image.Image:
    """In RGB or in grey, of 8 bits."""
    if image.mode in {"RGB", "L"}:
        return image
    if image.mode in _DEEP:
        return _shallow(image)
    return image.convert("L" if image.mode in {"1", "LA", "La"} else "RGB")


def _shallow(image: Image.Image) -> Image.Image:
    """16 bits as 8, of what is larger the range of its values; Pillow would clip them all to white."""
    values = np.asarray(image).astype(np.float64)
    if not np.isfinite(values).all():
        raise DamagedError("has pixels that are no numbers")
    low, high = (0.0, 65535.0) if values.min() >= 0 and 1.0 < values.max() <= 65535 else (values.min(), values.max())
    scaled = (values - low) * (255.0 / ((high - low) or 1.0))
    return Image.fromarray(np.rint(scaled).astype(np.uint8))


def _why(error: Exception) -> str:
    if type(error).__name__ == "UnidentifiedImageError":
        return "is no image"
    return " ".join(str(error).split())[:120] or type(error).__name__
