"""How the C library of a child process keeps memory that it has freed. Linux only; it limits nothing."""

import ctypes

_M_MMAP_THRESHOLD = -3
_M_ARENA_MAX = -8


def give_back_blocks(least_bytes: int) -> None:
    """Have glibc return blocks of so many bytes and more as soon as they are freed (mallopt(3)).

    It does so at first, but each one that is freed raises its bound, and those that come later stay in a heap that
    breaks into pieces.
    """
    _set(_M_MMAP_THRESHOLD, least_bytes)


def share_heaps(most: int) -> None:
    """Have all threads share so many heaps, instead of 8 a core (mallopt(3))."""
    _set(_M_ARENA_MAX, most)


def _set(option: int, value: int) -> None:
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:  # other C libraries have no such option
        mallopt(option, value)
