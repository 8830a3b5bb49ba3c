"""How the updater's C library keeps memory. Linux only; it limits nothing."""

import ctypes
from typing import Final

_M_MMAP_THRESHOLD: Final = -3
_LARGE: Final = 128 * 1024


def give_back_large_blocks() -> None:
    """Have glibc return blocks of 128 KiB and more as soon as they are freed (mallopt(3)).

    It does so at first, but each one that is freed raises its bound, and those that come later stay in a heap that
    breaks into pieces: a patch that makes 200 MB then takes a megabyte more than what it holds at a time.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:  # other C libraries have no such option
        mallopt(_M_MMAP_THRESHOLD, _LARGE)
