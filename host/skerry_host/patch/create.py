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
from skerry_host.patch.bounds import WORTH
from skerry_host.patch.failures import Failed, Failures
from skerry_host.patch.memory import give_back_large_blocks
from skerry_host.patch.model import Attempt
from skerry_host.patch.programs import Guard, encode_programs
from skerry_host.patch.progress import Progress, Show, silent
from skerry_host.patch.sections import gain_of_care

# The most that careful settings were seen to save over hurried ones, as a share of the hurried size. Where zstd took
# more than this share of what LZMA takes for the new file alone, the old one is no help, and LZMA is better.
ZSTD_GAIN, HELPED = 0.3, 0.95


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

    programs: Callable[[bytes, bytes, Guard, Progress], dict[Codec, Attempt]] = encode_programs
    full: Callable[..., bytes] = encode_full
    zstd: Callable[..., bytes] = encode_zstd


ENCODERS = Encoders()


def create(old: bytes, new: bytes, encoders: Encoders = ENCODERS, progress: Show = silent) -> Patch:
    """The smallest patch that turns `old` into `new`, already applied once.

    A candidate that fails is left out. Raises `EncodeError` if none remains.
    """
    started, failures = time.perf_counter(), Failures()
    give_back_large_blocks()
    maker = _Maker(old, new, failures)
    attempts, payloads = _payloads(old, new, encoders, failures, Progress(progress))
    everyone = [maker.candidate(codec, 1, payload) for codec, payload in payloads.items() if codec in FIRST_CODECS]
    leaner = payloads | {codec: attempt.lean for codec, attempt in attempts.items()}
    newest = [maker.candidate(codec, 2, payload) for codec, payload in leaner.items()]
    common = maker.smallest(everyone)
    bound = WORTH * common.size if common else math.inf
    failed = {failure.codec for failure in failures.found}
    newer = maker.smallest([one for one in newest if one.size <= bound and one.codec not in failed])
    best = newer or common
    if best is None:
        raise EncodeError(
            f"every candidate failed: {'; '.join(f'{one.codec}: {one.reason}' for one in failures.found)}"
        )
    failed = {failure.codec for failure in failures.found}
    sizes: dict[str, int] = {one.codec: one.size for one in (*newest, *everyone, best) if one.codec not in failed}
    ideal = attempts[best.codec].ideal if best.codec in attempts else None
    fallback = Fallback(common.data, common.codec) if newer and common else None
    seconds, found = time.perf_counter() - started, tuple(failures.found)
    progress(1.0)
    return Patch(best.data, best.codec, seconds, sizes, ideal, found, best.version, fallback)


@dataclass(frozen=True, slots=True)
class _Candidate:
    codec: Codec
    version: int
    header: bytes
    payload: bytes

    @property
    def size(self) -> int:
        return len(self.header) + len(self.payload)

    @property
    def data(self) -> bytes:
        return self.header + self.payload


class _Maker:
    """Puts headers on payloads, and applies patches as a device does."""

    def __init__(self, old: bytes, new: bytes, failures: Failures) -> None:
        self._old, self._new, self._failures = old, new, failures
        self._digests = hashlib.sha256(old).hexdigest(), hashlib.sha256(new).hexdigest()

    def candidate(self, codec: Codec, version: int, payload: bytes) -> _Candidate:
        """The patch of `codec` with that payload."""
        header = PatchHeader(version, *self._digests, len(self._old), len(self._new), codec)
        return _Candidate(codec, version, pack_header(header), payload)

    def smallest(self, candidates: list[_Candidate]) -> _Candidate | None:
        """The candidate of the smallest patch that makes the new file; None if none does."""
        for one in sorted(candidates, key=lambda one: one.size):
            with self._failures.guard(one.codec):
                _verify(self._old, one.data, self._new)
                return one
        return None


def _payloads(
    old: bytes, new: bytes, encoders: Encoders, failures: Failures, progress: Progress
) -> tuple[dict[Codec, Attempt], dict[Codec, bytes]]:
    """The programs, and the payload of every candidate."""
    whole: dict[Codec, Callable[..., bytes]] = {
        "full": partial(encoders.full, new),
        "zstd": partial(encoders.zstd, old, new),
    }
    with ThreadPoolExecutor(len(whole)) as pool:  # both compressors leave the lock while the models are looked into
        hurried = {codec: pool.submit(encode, hurried=True) for codec, encode in whole.items()}
        attempts: dict[Codec, Attempt] = {}
        with failures.guard("bsdiff"):  # what both programs rest on, such as the alignment, has no guard of its own
            attempts = encoders.programs(old, new, failures.guard, progress.part(0.0, 0.85))
        payloads = {codec: attempt.payload for codec, attempt in attempts.items() if attempt.payload is not None}
        bound = min((attempt.size for attempt in attempts.values()), default=len(new))
        gains = _gains(new, hurried)
        careful = {codec: pool.submit(_careful, whole[codec], hurried[codec], gains[codec], bound) for codec in whole}
        for codec, future in careful.items():
            with failures.guard(codec):
                payloads[codec] = future.result()
        progress(0.95)
    return attempts, payloads


def _gains(new: bytes, hurried: dict[Codec, Future[bytes]]) -> dict[Codec, float]:
    """The most that careful settings may save over hurried ones, as a share of what these came to."""
    sizes = {codec: None if future.exception() else len(future.result()) for codec, future in hurried.items()}
    full, zstd = sizes["full"], sizes["zstd"]
    helped = full is None or zstd is None or zstd < HELPED * full
    return {"full": gain_of_care(new), "zstd": ZSTD_GAIN if helped else 0.0}


def _careful(encode: Callable[..., bytes], hurried: Future[bytes], gain: float, bound: int) -> bytes:
    """The hurried attempt, or a careful one where that could win over `bound`."""
    quick = hurried.result()
    return quick if (1 - gain) * len(quick) > bound else encode(hurried=False)


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
