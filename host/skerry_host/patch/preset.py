"""LZMA2 with a preset dictionary, which Python's own module cannot encode: the system's liblzma can.

Where no liblzma is found, `available` is false and presets are not used. Struct layouts: lzma/lzma12.h of XZ Utils 5.
"""

import ctypes
import ctypes.util
from functools import cache

_LZMA2 = 0x21
_UNKNOWN = (1 << 64) - 1


class _Options(ctypes.Structure):
    _fields_ = (
        ("dict_size", ctypes.c_uint32),
        ("preset_dict", ctypes.c_char_p),
        ("preset_dict_size", ctypes.c_uint32),
        ("lc", ctypes.c_uint32),
        ("lp", ctypes.c_uint32),
        ("pb", ctypes.c_uint32),
        ("mode", ctypes.c_int),
        ("nice_len", ctypes.c_uint32),
        ("mf", ctypes.c_int),
        ("depth", ctypes.c_uint32),
        ("reserved", ctypes.c_uint8 * 128),
    )


class _Filter(ctypes.Structure):
    _fields_ = (("id", ctypes.c_uint64), ("options", ctypes.c_void_p))


@cache
def _library() -> ctypes.CDLL | None:
    name = ctypes.util.find_library("lzma")
    try:
        return ctypes.CDLL(name or "liblzma.so.5")
    except OSError:
        return None


def available() -> bool:
    """Whether this host can encode with a preset dictionary."""
    return _library() is not None


def encode_with_preset(data: bytes, preset: bytes, chain: dict[str, int]) -> bytes:
    """Raw LZMA2 chunks for `data` that refer back to `preset`, by the filter `chain`. Raises `OSError`."""
    library = _library()
    if library is None:
        raise OSError("no liblzma on this host")
    fields = {key: value for key, value in chain.items() if key != "id"}
    options = _Options(preset_dict=preset, preset_dict_size=len(preset), **fields)
    filters = (_Filter * 2)(_Filter(_LZMA2, ctypes.addressof(options)), _Filter(_UNKNOWN, None))
    room = len(data) + len(data) // 3 + 128
    out, used = ctypes.create_string_buffer(room), ctypes.c_size_t(0)
    failed = library.lzma_raw_buffer_encode(
        filters, None, data, ctypes.c_size_t(len(data)), out, ctypes.byref(used), ctypes.c_size_t(room)
    )
    if failed:
        raise OSError(f"liblzma refused to encode (error {failed})")
    return out.raw[: used.value]
