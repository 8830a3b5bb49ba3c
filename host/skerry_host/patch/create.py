"""Makes a patch: builds every candidate, keeps the smallest, and proves it with the device's own decoder.

It does not write files or choose policies.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from skerry_agent.patch import Codec, PatchError, PatchHeader, apply
from skerry_agent.patch.container import FORMAT_VERSION, pack_header
from skerry_agent.wire.errors import SkerryError
from skerry_host.patch.blocks import encode_full, encode_zstd
from skerry_host.patch.programs import encode_programs

# The most that careful settings were seen to save over hurried ones: the share of the hurried size.
ZSTD_GAIN, FULL_GAIN = 0.3, 0.15


class DiffError(SkerryError):
    """An encoder made a patch that its decoder does not turn into the new file: a bug, never a user's mistake."""

    code = "round_trip"

    def __init__(self, message: str) -> None:
        super().__init__(message, hint="report this pair of files; until it is fixed, release the full artifact")


@dataclass(frozen=True, slots=True)
class Patch:
    """A verified patch. `seconds` is the time to make it, `candidates` the size in bytes of each codec's attempt.

    Attempts without hope are made in a hurry. `entropy_bytes` is what the winner's content would take if histograms,
    tables and lanes were free: an empirical limit, not a proof; None for codecs that code no symbols of their own.
    """

    data: bytes
    codec: Codec
    seconds: float
    candidates: dict[str, int]
    entropy_bytes: int | None = None


def create(old: bytes, new: bytes) -> Patch:
    """Return the smallest patch that turns `old` into `new`, already applied once. Raises `DiffError`."""
    started = time.perf_counter()
    whole: dict[Codec, _WholeFile] = {
        "full": _WholeFile(partial(encode_full, new), FULL_GAIN),
        "zstd": _WholeFile(partial(encode_zstd, old, new), ZSTD_GAIN),
    }
    with ThreadPoolExecutor(len(whole)) as pool:  # both compressors leave the lock while the models are looked into
        hurried = {codec: pool.submit(candidate.encode, hurried=True) for codec, candidate in whole.items()}
        programs = encode_programs(old, new)
        payloads: dict[Codec, bytes] = {codec: attempt.payload for codec, attempt in programs.items()}
        bound = min(map(len, payloads.values()), default=len(new))
        careful = {codec: pool.submit(whole[codec].careful, hurried[codec].result(), bound) for codec in whole}
        payloads |= {codec: future.result() for codec, future in careful.items()}
    patches = {codec: _header(codec, old, new) + payload for codec, payload in payloads.items()}
    codec = min(patches, key=lambda name: len(patches[name]))
    _prove(old, patches[codec], new)
    sizes: dict[str, int] = {name: len(patch) for name, patch in patches.items()}
    ideal = programs[codec].ideal if codec in programs else None
    return Patch(patches[codec], codec, time.perf_counter() - started, sizes, ideal)


@dataclass(frozen=True, slots=True)
class _WholeFile:
    """A candidate that looks into no file: how it is made, and the share that care was seen to save over hurry."""

    encode: Callable[..., bytes]
    gain: float

    def careful(self, hurried: bytes, bound: int) -> bytes:
        """Return the hurried attempt, or a careful one where that could win over `bound`."""
        return hurried if (1 - self.gain) * len(hurried) > bound else self.encode(hurried=False)


def _header(codec: Codec, old: bytes, new: bytes) -> bytes:
    digests = hashlib.sha256(old).hexdigest(), hashlib.sha256(new).hexdigest()
    return pack_header(PatchHeader(FORMAT_VERSION, *digests, len(old), len(new), codec))


def _prove(old: bytes, patch: bytes, new: bytes) -> None:
    made = bytearray()
    try:
        apply(old, patch, made.extend, max_new_bytes=len(new))
    except PatchError as error:
        raise DiffError(f"the device refuses the patch: {error.message}") from error
    if made != new:
        raise DiffError("the patch does not make the new file")
