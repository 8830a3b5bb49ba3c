"""Which samples of a data set are used: split in two without overlap, balanced by class, damaged ones left out.

Everything follows from the files themselves, so the same files give the same sets on every machine. Samples are read
once here, so that a build does not fail in its middle for a damaged one.
"""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from skerry_host.builder.data.readers.base import NAMED, DamagedError, Found, UnusableDataError
from skerry_host.builder.data.truth import TruthError
from skerry_host.builder.recipe.progress import Progress, watched

DAMAGED_SHARE, DAMAGED_COUNT = 0.01, 10
"""How many samples may be damaged and left out: one in a hundred, and ten in any case."""
HEAD_BYTES = 64 * 1024
"""Of a file, enough to tell it from others: with its size."""


@dataclass(frozen=True, slots=True)
class Usable:
    """The places of samples that can be read, and what could not be, with the reason."""

    places: Sequence[int]
    damaged: Sequence[str]


def split(found: Found, share: float) -> tuple[list[int], list[int]]:
    """The places for calibration (`share` of each class) and for evaluation, in an order that their content gives.

    Equal files come into the same part, wherever they lie, so no sample is in both.
    """
    marks = marks_of(found)
    calibration: list[int] = []
    evaluation: list[int] = []
    for places in _by_group(found, range(len(found)), marks).values():
        cut = min(len(places) - 1, max(1, round(share * len(places)))) if len(places) > 1 else 0
        while 0 < cut < len(places) and marks[places[cut - 1]] == marks[places[cut]]:
            cut += 1
        calibration += places[:cut]
        evaluation += places[cut:]
    both = {marks[at] for at in calibration}
    return calibration, [at for at in evaluation if marks[at] not in both]


def balanced(found: Found, places: Sequence[int]) -> list[int]:
    """The places in such an order that the first ones of them have every class as equally often as there are samples.

    Within a class the order follows from the names, not from how they are sorted.
    """
    marks = [_hash(key.encode("utf-8", "surrogateescape")) for key in found.keys]
    queues = [list(reversed(queue)) for _group, queue in sorted(_by_group(found, places, marks).items())]
    ordered = []
    while queues:
        ordered += [queue.pop() for queue in queues]
        queues = [queue for queue in queues if queue]
    return ordered


Check = Callable[[Any], None]
"""Raises `TruthError` for what cannot be right of any sample, such as a class that the model does not have."""


@dataclass(frozen=True, slots=True)
class Selection:
    """How many samples are wanted (None: all), what for, and what must hold of what is right for each."""

    what: str
    count: int | None = None
    check: Check | None = None


def usable(found: Found, places: Sequence[int], wish: Selection, progress: Progress) -> Usable:
    """The first places whose samples can be read; raises `UnusableDataError` where too many cannot.

    Reads each of them once, and keeps none.
    """
    count = wish.count
    wanted = len(places) if count is None else min(count, len(places))
    good: list[int] = []
    damaged = list(found.damaged)
    limit = max(DAMAGED_COUNT, int(DAMAGED_SHARE * (wanted + len(found.damaged))))
    for at in watched(places, f"reading {wish.what} samples", progress, of=wanted):
        if len(good) == wanted or len(damaged) > limit:
            break
        try:
            found.inputs.check(at)
            right = None if found.truth is None else found.truth[at]
            if wish.check is not None and right is not None:
                wish.check(right)
        except (DamagedError, TruthError, OSError) as error:
            damaged.append(f"{found.keys[at]}: {error}")
        else:
            good.append(at)
    if len(damaged) > limit or (damaged and not good):
        many = "no sample can be used" if not good else f"more than {limit} samples cannot be used"
        raise UnusableDataError(f"{many}, the first are: {'; '.join(damaged[:NAMED])}")
    return Usable(sorted(good), damaged)


def marks_of(found: Found) -> list[bytes]:
    """For each sample 16 bytes that follow from the file it is read from; where all are in one file, from its key."""
    if len({files[0] for files in found.files}) < len(found):
        return [_hash(key.encode("utf-8", "surrogateescape")) for key in found.keys]
    return [_mark(files[0]) for files in found.files]


def sha256_of(found: Found, places: Sequence[int]) -> str:
    """One hash over names and contents of all files that these samples are read from."""
    names: dict[Path, str] = {}
    for at in places:
        first, *others = found.files[at]
        names[first] = found.keys[at]
        names |= {file: file.name for file in others}
    digest = hashlib.sha256()
    for file, name in sorted(names.items(), key=lambda item: (item[1], str(item[0]))):
        with file.open("rb") as stream:
            content = hashlib.file_digest(stream, "sha256").digest()
        digest.update(name.encode("utf-8", "surrogateescape") + b"\0" + content)
    return digest.hexdigest()


def file_sha256(path: Path) -> str:
    """The hash of one file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _by_group(found: Found, places: Sequence[int], marks: Sequence[bytes]) -> dict[int, list[int]]:
    """The places of each class, in the order of their marks, so that neighbours in a folder are torn apart."""
    groups: dict[int, list[int]] = defaultdict(list)
    for at in sorted(places, key=lambda at: (marks[at], found.keys[at])):
        groups[found.groups[at] if found.groups is not None else 0].append(at)
    return groups


def _mark(file: Path) -> bytes:
    try:
        with file.open("rb") as stream:
            return _hash(str(file.stat().st_size).encode() + b"\0" + stream.read(HEAD_BYTES))
    except OSError:  # it is found out to be damaged when it is read
        return _hash(file.name.encode("utf-8", "surrogateescape"))


def _hash(raw: bytes) -> bytes:
    return hashlib.blake2b(raw, digest_size=16).digest()
