"""Lines and JSON on standard output and error, without rich: the part of the one printer that is quick to load.

Nothing printed here can hold a control character that it was given; `terminal` says the same of what is laid out.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from skerry_host.json_text import json_text
from skerry_host.text import clean


def write_json(data: object, *, indent: int | None = 2) -> None:
    """Print JSON and a line end; with no indent on one line."""
    sys.stdout.write(json_text(data, indent=indent) + "\n")
    sys.stdout.flush()


def write_line(text: str) -> None:
    """Print one line as it is, however long, for whoever reads it from a pipe."""
    sys.stdout.write(clean(text) + "\n")
    sys.stdout.flush()


def write_error(kind: str, text: str, stream: TextIO | None = None) -> None:
    """Print one line on standard error, such as `error: ...`, or on a stream that stands for it."""
    (stream or sys.stderr).write(f"{kind}: {clean(text)}\n")


@contextmanager
def lasting_stderr() -> Iterator[TextIO]:
    """Standard error as it is now, whatever is done to it meanwhile: noisy libraries are silenced by redirecting it."""
    try:
        copy = os.dup(sys.stderr.fileno())
    except (OSError, ValueError):  # a stand-in without a descriptor
        yield sys.stderr
        return
    with os.fdopen(copy, "w", buffering=1, encoding="utf-8", errors="backslashreplace") as stream:
        yield stream
