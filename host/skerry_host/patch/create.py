"""Makes a patch: builds every candidate, keeps the smallest, and verifies it with the device's own decoder.

A candidate that fails is left out and named in the result. It does not write files or choose policies.
"""

import hashlib
import math
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from skerry_agent.patch import Codec, PatchError, PatchHeader, apply
from skerry_agent.patch.container import FIRST_CODECS, pack_header
from skerry_agent.wire.errors import SkerryError
from skerry_host.patch.blocks import encode_full, encode_zstd
from skerry_host.patch.failures import Failed, Failures
from skerry_host.patch.model import Attempt
from skerry_host.patch.programs import Guard, encode_programs

# The most that careful settings were seen to save over hurried ones: the share of the hurried size.
ZSTD_GAIN, FULL_GAIN = 0.3, 0.15

# A patch of a newer version costs a release a second one for old agents: it must be at most this share of the first.
WORTH = 0.95


class EncodeError(SkerryError):
    """No candidate became a patch that the decoder turns into the new file: a bug, never a user's mistake."""

    code = "round_trip"

    def __init__(self, message: str) -> None:
        super().__init__(message, hint="report this pair of files; devices can download the full file")


@dataclass(frozen=True, slots=True)
class Fallback:
    """A verified patch of version 1, for devices that know no other."""

    data: bytes
    codec: Codec
    format_version: int = 1


@dataclass(frozen=True, slots=True)
class Patch:
    """A verified patch. `seconds` is the time to make it, `candidates` the size in bytes of each codec's attempt.

    Attempts without hope are made in a hurry. `entropy_bytes` is what the winner's content would take if histograms,
    tables and lanes were free: an empirical limit, not a proof; None for codecs that code no symbols of their own.
    `failed` names the candidates that an error left out: empty unless the encoder has a bug, or memory ran out.
    `fallback` is the best patch of version 1 of the format where this one is newer and there is one.
    """

    data: bytes
    codec: Codec
    seconds: float
    candidates: dict[str, int]
    entropy_bytes: int | None = None
    failed: tuple[Failed, ...] = ()
    format_version: int = 1
    fallback: "Fallback | None" = None


@dataclass(frozen=True, slots=True)
class Encoders:
    """What makes the candidates."""

    programs: Callable[[bytes, bytes, Guard], dict[Codec, Attempt]] = encode_programs
    full: Callable[..., bytes] = encode_full
    zstd: Callable[..., bytes] = encode_zstd


ENCODERS = Encoders()


def create(old: bytes, new: bytes, encoders: Encoders = ENCODERS) -> Patch:
    """The smallest patch that turns `old` into `new`, already applied once.

    A candidate that fails is left out. Raises `EncodeError` if none remains.
    """
    started, failures = time.perf_counter(), Failures()
    attempts, payloads = _payloads(old, new, encoders, failures)
    everyone = [_Candidate(codec, 1, payload) for codec, payload in payloads.items() if codec in FIRST_CODECS]
    leaner = payloads | {codec: attempt.lean for codec, attempt in attempts.items()}
    newest = [_Candidate(codec, 2, payload) for codec, payload in leaner.items()]
    headed = {one: _header(one, old, new) + one.payload for one in (*everyone, *newest)}
    common = _smallest(old, new, {one: headed[one] for one in everyone}, failures)
    bound = WORTH * len(headed[common]) if common else math.inf
    failed = {failure.codec for failure in failures.found}
    worth = [one for one in newest if len(headed[one]) <= bound and one.codec not in failed]
    newer = _smallest(old, new, {one: headed[one] for one in worth}, failures)
    best = newer or common
    if best is None:
        raise EncodeError(
            f"every candidate failed: {'; '.join(f'{one.codec}: {one.reason}' for one in failures.found)}"
        )
    failed = {failure.codec for failure in failures.found}
    shown = (one for one in (*newest, *everyone, best) if one.codec not in failed)
    sizes: dict[str, int] = {one.codec: len(headed[one]) for one in shown}
    ideal = attempts[best.codec].ideal if best.codec in attempts else None
    older = common if newer else None
    fallback = Fallback(headed[older], older.codec) if older else None
    seconds, found = time.perf_counter() - started, tuple(failures.found)
    return Patch(headed[best], best.codec, seconds, sizes, ideal, found, best.version, fallback)


@dataclass(frozen=True, slots=True)
class _Candidate:
    codec: Codec
    version: int
    payload: bytes


def _payloads(
    old: bytes, new: bytes, encoders: Encoders, failures: Failures
) -> tuple[dict[Codec, Attempt], dict[Codec, bytes]]:
    """The programs, and the payload of every candidate."""
    whole: dict[Codec, _WholeFile] = {
        "full": _WholeFile(partial(encoders.full, new), FULL_GAIN),
        "zstd": _WholeFile(partial(encoders.zstd, old, new), ZSTD_GAIN),
    }
    with ThreadPoolExecutor(len(whole)) as pool:  # both compressors leave the lock while the models are looked into
        hurried = {codec: pool.submit(candidate.encode, hurried=True) for codec, candidate in whole.items()}
        attempts: dict[Codec, Attempt] = {}
        with failures.guard("bsdiff"):  # what both programs rest on, such as the alignment, has no guard of its own
            attempts = encoders.programs(old, new, failures.guard)
        payloads: dict[Codec, bytes] = {codec: attempt.payload for codec, attempt in attempts.items()}
        bound = min(map(len, payloads.values()), default=len(new))
        careful = {codec: pool.submit(whole[codec].careful, hurried[codec], bound) for codec in whole}
        for codec, future in careful.items():
            with failures.guard(codec):
                payloads[codec] = future.result()
    return attempts, payloads


def _smallest(old: bytes, new: bytes, patches: dict[_Candidate, bytes], failures: Failures) -> _Candidate | None:
    """The candidate of the smallest patch that makes the new file; None if none does."""
    for one in sorted(patches, key=lambda one: len(patches[one])):
        with failures.guard(one.codec):
            _verify(old, patches[one], new)
            return one
    return None


@dataclass(frozen=True, slots=True)
class _WholeFile:
    """A candidate that looks into no file: how it is made, and the share that care was seen to save over hurry."""

    encode: Callable[..., bytes]
    gain: float

    def careful(self, hurried: Future[bytes], bound: int) -> bytes:
        """The hurried attempt, or a careful one where that could win over `bound`."""
        quick = hurried.result()
        return quick if (1 - self.gain) * len(quick) > bound else self.encode(hurried=False)


def _header(candidate: _Candidate, old: bytes, new: bytes) -> bytes:
    return header_of(candidate.codec, old, new, candidate.version)


def header_of(codec: Codec, old: bytes, new: bytes, version: int = 1) -> bytes:
    """What opens a patch of `codec` from `old` to `new`."""
    digests = hashlib.sha256(old).hexdigest(), hashlib.sha256(new).hexdigest()
    return pack_header(PatchHeader(version, *digests, len(old), len(new), codec))


def _verify(old: bytes, patch: bytes, new: bytes) -> None:
    made = bytearray()
    try:
        apply(old, patch, made.extend, max_new_bytes=len(new))
    except PatchError as error:
        raise EncodeError(f"the device refuses the patch: {error.message}") from error
    if made != new:
        raise EncodeError("the patch does not reproduce the new file")
