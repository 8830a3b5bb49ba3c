"""Drops what libraries write to standard error by themselves, for as long as somebody asks for it.

Runtimes and image libraries in C write to descriptor 2, others warn; what is wrong they raise as well. It is the whole
process that falls silent, so threads may ask at once: the first silences, the last one ends it. What is to be seen
meanwhile goes to a copy (`cli.lines.lasting_stderr`). Knows no library.
"""

import contextlib
import os
import warnings
from collections.abc import Iterator
from threading import Lock


class _Silence:
    """How many ask for it, and how it is ended."""

    def __init__(self) -> None:
        self._lock, self._asking, self._end = Lock(), 0, contextlib.ExitStack()

    def begin(self) -> None:
        with self._lock:
            self._asking += 1
            if self._asking == 1:
                self._end.enter_context(warnings.catch_warnings())
                warnings.simplefilter("ignore")
                self._end.enter_context(_nowhere())

    def end(self) -> None:
        with self._lock:
            self._asking -= 1
            if not self._asking:
                self._end.close()


_SILENCE = _Silence()


@contextlib.contextmanager
def silenced() -> Iterator[None]:
    """Nothing that a library writes to standard error, or warns of, is seen inside."""
    _SILENCE.begin()
    try:
        yield
    finally:
        _SILENCE.end()


@contextlib.contextmanager
def _nowhere() -> Iterator[None]:
    """Descriptor 2 leads nowhere; a process that has none is silent already."""
    try:
        kept = os.dup(2)
    except OSError:
        yield
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
