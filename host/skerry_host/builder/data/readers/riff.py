"""WAV files: reads their samples as int16, of any bit depth, one channel. Knows no labels.

Format: Multimedia Programming Interface and Data Specifications 1.0 (RIFF), with WAVE_FORMAT_EXTENSIBLE. Python's own
`wave` opens neither that nor floating point.
"""

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from skerry_agent.processing import Array
from skerry_host.builder.data.readers.base import DamagedError

PCM, FLOAT, EXTENSIBLE = 1, 3, 0xFFFE
MAX_BYTES = 512 * 1024 * 1024
MAX_CHANNELS = 64


@dataclass(frozen=True, slots=True)
class Sound:
    """What a WAV file says of itself; `start` and `length` (bytes) are where its samples lie."""

    rate: int
    channels: int
    bits: int
    floating: bool
    start: int
    length: int

    @property
    def frames(self) -> int:
        """Samples of each channel."""
        return self.length // (self.channels * self.bits // 8)


def look(path: Path) -> Sound:
    """The header of a WAV file; raises `DamagedError`."""
    try:
        with path.open("rb") as file:
            return _chunks(file, path.stat().st_size)
    except (OSError, struct.error) as error:
        raise DamagedError(f"is no WAV file ({error})") from None


def decode(path: Path, start: int = 0, frames: int | None = None) -> Array:
    """Samples of a file as int16 (frames,), the mean of its channels; raises `DamagedError`."""
    sound = look(path)
    count = max(0, sound.frames - start if frames is None else min(frames, sound.frames - start))
    size = sound.channels * sound.bits // 8
    if count * size > MAX_BYTES:
        raise DamagedError(f"has {count * size:,} bytes of sound, at most {MAX_BYTES:,}")
    with path.open("rb") as file:
        file.seek(sound.start + start * size)
        raw = file.read(count * size)
    if len(raw) < count * size:
        raise DamagedError("is cut off")
    real = _real(raw, sound).reshape(-1, sound.channels).mean(axis=1)
    clipped: Array = np.clip(np.rint(real * 32768.0), -32768, 32767).astype(np.int16)
    return clipped


def _real(raw: bytes, sound: Sound) -> Array:
    """Samples in -1..1 as doubles, in the order of the file."""
    if sound.floating:
        real = np.frombuffer(raw, "<f4" if sound.bits == 32 else "<f8").astype(np.float64)
        if not np.isfinite(real).all():
            raise DamagedError("holds NaN or infinity")
        return real
    if sound.bits == 8:  # the only one without a sign
        return (np.frombuffer(raw, np.uint8).astype(np.float64) - 128.0) / 128.0
    if sound.bits == 24:
        parts = np.frombuffer(raw, np.uint8).reshape(-1, 3).astype(np.int32)
        whole = parts[:, 0] | parts[:, 1] << 8 | parts[:, 2] << 16
        return np.where(whole >= 1 << 23, whole - (1 << 24), whole) / float(1 << 23)
    values: Array = np.frombuffer(raw, f"<i{sound.bits // 8}") / float(1 << (sound.bits - 1))
    return values


def _chunks(file: BinaryIO, size: int) -> Sound:
    head = file.read(12)
    if head[:4] not in {b"RIFF", b"RF64"} or head[8:12] != b"WAVE":
        raise DamagedError("is no WAV file")
    form: tuple[int, int, int, int] | None = None
    while True:
        name, length = struct.unpack("<4sI", _exactly(file, 8))
        if name == b"fmt ":
            form = _form(_exactly(file, min(length, 64)))
            file.seek(max(0, length - 64) + length % 2, 1)
        elif name == b"data":
            return _sound(form, file.tell(), min(length, size - file.tell()), length)
        else:
            file.seek(length + length % 2, 1)


def _form(raw: bytes) -> tuple[int, int, int, int]:
    """Format, channels, rate and bits."""
    kind, channels, rate, _bytes, _block, bits = struct.unpack_from("<HHIIHH", raw)
    if kind == EXTENSIBLE and len(raw) >= 26:
        kind = struct.unpack_from("<H", raw, 24)[0]
    return kind, channels, rate, bits


def _sound(form: tuple[int, int, int, int] | None, start: int, there: int, said: int) -> Sound:
    if form is None:
        raise DamagedError("has samples before it says in which format")
    kind, channels, rate, bits = form
    fits = (kind == PCM and bits in {8, 16, 24, 32}) or (kind == FLOAT and bits in {32, 64})
    if not fits or not 1 <= channels <= MAX_CHANNELS or not rate:
        raise DamagedError(f"is a WAV file of format {kind} with {bits} bits and {channels} channels, not of PCM")
    frame = channels * bits // 8
    streamed = said in {0, 0xFFFFFFFF, 0xFFFFFFFF - 1} or said >= 0x7FFFFF00  # a program that wrote into a pipe
    if there < said and not streamed:
        raise DamagedError(f"is cut off: {there} of {said} bytes")
    return Sound(rate, channels, bits, kind == FLOAT, start, there - there % frame)


def _exactly(file: BinaryIO, count: int) -> bytes:
    raw = file.read(count)
    if len(raw) < count:
        raise DamagedError("is a WAV file without samples")
    return raw
