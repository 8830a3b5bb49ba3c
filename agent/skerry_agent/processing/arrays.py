"""The .npy and .npz formats: reads untrusted bytes, and writes equal content as equal bytes.

Stricter than `numpy.load`: never a pickle, no allocation larger than the input, members bounded by `MAX_BYTES`. Each
reader is one boundary: numpy and zipfile raise whatever their parts raise (`tokenize.TokenError`, `struct.error`,
`MemoryError`), and all of it means that the bytes are no array.
Formats: numpy.lib.format versions 1 and 2 and the zip container of `numpy.savez`. Touches no file.
"""

import io
import warnings
import zipfile
from collections.abc import Mapping
from math import prod
from typing import Any, BinaryIO

import numpy as np
from numpy.lib import format as npy

from skerry_agent.processing.errors import ProcessingError

Array = np.ndarray[Any, Any]
MAX_BYTES = 512 * 1024 * 1024
_EPOCH = (1980, 1, 1, 0, 0, 0)
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


def parse_npy(raw: bytes, what: str = "array") -> Array:
    """The array of a .npy file (read-only). Raises `ProcessingError` if it is damaged, holds objects or is cut."""
    try:
        return _parse_npy(raw, what)
    except ProcessingError:
        raise
    except Exception as error:  # noqa: BLE001 - see the module
        raise ProcessingError(f"{what} is not a .npy array ({_line(error)})", hint="write it with numpy.save") from None


def _parse_npy(raw: bytes, what: str) -> Array:
    stream = io.BytesIO(raw)
    with warnings.catch_warnings():  # of Python's parser, about what stands in the header
        warnings.simplefilter("ignore")
        shape, fortran, dtype = _HEADERS[npy.read_magic(stream)](stream)
    if dtype.hasobject or dtype.fields or dtype.shape or not dtype.itemsize:
        raise ProcessingError(f"{what} holds {dtype} elements, not numbers", hint="write a plain numeric array")
    data = memoryview(raw)[stream.tell() :]
    if any(n < 0 for n in shape) or prod(shape) * dtype.itemsize != len(data):
        raise ProcessingError(f"{what} has {len(data)} bytes of data, its header says {shape} of {dtype}")
    flat = np.frombuffer(data, dtype)
    return flat.reshape(shape[::-1]).T if fortran else flat.reshape(shape)


def parse_npz(raw: bytes | BinaryIO, what: str = "archive") -> dict[str, Array]:
    """The arrays of an .npz file by name. Raises `ProcessingError` if it is damaged or larger than `MAX_BYTES`.

    From an open file it takes no more memory than the arrays and the largest member, packed.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(raw) if isinstance(raw, bytes) else raw) as archive:
            return _parse_members(archive, what)
    except ProcessingError:
        raise
    except Exception as error:  # noqa: BLE001 - see the module
        raise ProcessingError(f"{what} is not a .npz file ({_line(error)})", hint="write it with numpy.savez") from None


def _parse_members(archive: zipfile.ZipFile, what: str) -> dict[str, Array]:
    members = archive.infolist()
    if any(info.compress_type not in _METHODS for info in members):
        raise ProcessingError(f"{what} is compressed in a way numpy does not use", hint="use numpy.savez")
    if sum(info.file_size for info in members) > MAX_BYTES:
        raise ProcessingError(f"{what} unpacks to more than {MAX_BYTES} bytes", hint="use fewer samples")
    return {
        info.filename.removesuffix(".npy"): parse_npy(_read_member(archive, info), f"{what}: {info.filename!a}")
        for info in members
    }


def _read_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    """A member of the size that it says: `ZipFile.read` unpacks all that is there before it looks at that."""
    with archive.open(info) as file:
        raw = file.read(info.file_size)
    if len(raw) != info.file_size:
        raise zipfile.BadZipFile(f"{info.filename!a} is cut off")
    return raw


def write_npz(arrays: Mapping[str, Array]) -> bytes:
    """An .npz file as bytes that depend on nothing but the arrays: fixed times and modes, stored, sorted by name."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(arrays):
            info = zipfile.ZipInfo(f"{name}.npy", _EPOCH)
            info.create_system, info.external_attr = 3, 0o644 << 16
            archive.writestr(info, _npy_bytes(arrays[name]))
    return buffer.getvalue()


def _npy_bytes(array: Array) -> bytes:
    stream = io.BytesIO()
    npy.write_array(stream, np.ascontiguousarray(array), version=(1, 0), allow_pickle=False)
    return stream.getvalue()


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
