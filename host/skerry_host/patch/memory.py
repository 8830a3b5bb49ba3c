"""How the C library keeps memory while patches are made. Linux only; it limits nothing."""

import ctypes
from functools import cache
from typing import Final

_M_MMAP_THRESHOLD: Final = -3
_LARGE: Final = 2 << 20  # smaller blocks come and go so often that fresh pages for each would take a tenth longer


@cache
def give_back_large_blocks() -> None:
    """Have glibc return blocks of 2 MiB and more as soon as they are freed (mallopt(3)), from now on.

    Left alone it keeps ever larger ones, in a heap that breaks into pieces: a fifth of all that a patch takes.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:  # other C libraries have no such option
        mallopt(_M_MMAP_THRESHOLD, _LARGE)
