"""Makes a patch: builds every candidate, keeps the smallest, and proves it with the device's own decoder.

It does not write files or choose policies.
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass

from skerry_agent.patch import Codec, PatchError, PatchHeader, apply
from skerry_agent.patch.container import FORMAT_VERSION, pack_header
from skerry_host.release.diff.blocks import encode_full, encode_zstd
from skerry_host.release.diff.programs import encode_programs


class DiffError(RuntimeError):
    """An encoder made a patch that its decoder does not turn into the new file: a bug, never a user's mistake."""

    code = "round_trip"
    hint = "report this pair of files; until it is fixed, release the full artifact"


@dataclass(frozen=True, slots=True)
class Patch:
    """A verified patch. `seconds` is the time to make it, `candidates` the size in bytes of each codec's attempt."""

    data: bytes
    codec: Codec
    seconds: float
    candidates: dict[str, int]


def create(old: bytes, new: bytes) -> Patch:
    """Return the smallest patch that turns `old` into `new`, already applied once. Raises `DiffError`."""
    started = time.perf_counter()
    payloads = encode_programs(old, new)
    payloads["zstd"] = encode_zstd(old, new)
    # Where a difference is far smaller, the whole file's exact size is of no interest and not worth its time.
    payloads["full"] = encode_full(new, hurried=3 * min(map(len, payloads.values())) < len(new))
    patches = {codec: _header(codec, old, new) + payload for codec, payload in payloads.items()}
    codec = min(patches, key=lambda name: len(patches[name]))
    _prove(old, patches[codec], new)
    sizes: dict[str, int] = {name: len(patch) for name, patch in patches.items()}
    return Patch(patches[codec], codec, time.perf_counter() - started, sizes)


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
