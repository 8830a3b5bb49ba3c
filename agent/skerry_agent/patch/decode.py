"""Applies a patch: checks the base, runs the payload's codec, checks the result.

Pure: bytes in, bytes out through a callable. It does not open, sync or rename files; the caller deletes what it
wrote if this raises.
"""

import hashlib
import mmap
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from skerry_agent.patch.blocks import apply_full, apply_zstd
from skerry_agent.patch.container import PatchHeader, split
from skerry_agent.patch.errors import PatchError
from skerry_agent.patch.extents import apply_extents
from skerry_agent.patch.reader import Reader
from skerry_agent.patch.sink import Sink

MAX_EXTRA_BYTES: Final = 4_000_000
"""The memory that `apply` needs beside the base and the patch, at any size and with any codec."""


def apply(
    old: bytes | memoryview | mmap.mmap,
    patch: bytes | memoryview,
    write: Callable[[bytes | memoryview], object],
    *,
    max_new_bytes: int,
) -> PatchHeader:
    """Pass to `write`, in order and in blocks, the file that `patch` makes of `old`.

    Nothing is written before `old` is known to be the right base. What was written is worthless if this raises
    `PatchError`, whose codes are the keys of `errors.HINTS`. Beside `old` and `patch` it needs `MAX_EXTRA_BYTES`. The
    header that it returns has both digests in full, as they are: whoever knows them from elsewhere compares.
    """
    try:
        return _apply(memoryview(old), patch, write, max_new_bytes)
    except PatchError as error:
        refused = PatchError(error.code, error.message)
    # Raised out here so that no traceback keeps buffers over `old` alive: a mapped file must stay closable.
    raise refused


def _apply(
    old: memoryview, patch: bytes | memoryview, write: Callable[[bytes | memoryview], object], max_new_bytes: int
) -> PatchHeader:
    header, reader = split(patch)
    if header.new_size > max_new_bytes:
        raise PatchError("too_large", f"the result would be {header.new_size} bytes, the limit is {max_new_bytes}")
    old_sha256 = _check_base(old, header)
    sink = Sink(write, header)
    _run(header, old, reader, sink)
    if reader.left:
        raise PatchError("trailing_bytes", f"{reader.left} bytes follow the end of the patch")
    return replace(header, old_sha256=old_sha256, new_sha256=sink.finish())


def _check_base(old: memoryview, header: PatchHeader) -> str:
    """The SHA-256 of `old`, which is the base that `header` names."""
    if len(old) != header.old_size:
        raise PatchError("wrong_base", f"patch is for a base of {header.old_size} bytes, this one has {len(old)}")
    digest = hashlib.sha256(old).hexdigest()
    if not digest.startswith(header.old_sha256):
        raise PatchError("wrong_base", "the base does not have the SHA-256 that the patch was made for")
    return digest


def _run(header: PatchHeader, old: memoryview, reader: Reader, sink: Sink) -> None:
    match header.codec:
        case "full":
            apply_full(reader, sink)
        case "zstd":
            apply_zstd(old, reader, sink)
        case "bsdiff" | "model" | "typed":
            apply_extents(old, reader, sink, header.format_version)
