"""Extra memory of applying a patch, by codec and by the size of the result, beside bsdiff4 and zstd in the same run.

Every patch is made to cost the decoder as much as its codec can: streams above the dictionary, all contexts, a full
pool, rows of 65,536 weights, as many rows of floats. Extra memory is the peak of anonymous memory above what was held
before; of zstd, a command, all that it takes; pages of mapped files belong to the kernel's cache and can go at any
time. Measures neither how small patches are nor how long they take: benchmarks/delta.py does. `--sizes` are MB.
"""

import argparse
import lzma
import mmap
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from goals import Goal, finish
from numpy.typing import NDArray

from skerry_agent.patch import MAX_EXTRA_BYTES, Codec, apply
from skerry_agent.patch.container import FIRST_CODECS, FORMAT_VERSION, pack_varint
from skerry_agent.patch.floats import FloatFormat, predict_floats, words_of
from skerry_agent.patch.histograms import MAX_CONTEXTS
from skerry_agent.patch.program import MAX_POOL_WORDS, MAX_PRESET, MAX_SIDE, Origin, Shape
from skerry_agent.patch.section import DICTIONARIES, filters
from skerry_agent.patch.weights import predict
from skerry_agent.ports.heap import give_back_blocks
from skerry_agent.updater.room import LARGE_BLOCK_BYTES
from skerry_host.patch.blocks import encode_zstd
from skerry_host.patch.create import header_of
from skerry_host.patch.fit import Fit
from skerry_host.patch.floats import FloatFit, FloatRegion
from skerry_host.patch.measure import AnonymousPeak, bytes_of_command, own_bytes
from skerry_host.patch.writer import Contexts, FloatContexts, Packed, Writer

MB = 1_000_000
SIZES_MB = (1, 4, 16, 64, 200)
PIECE = 1 << 20
CODED_ROWS = 16  # one row in so many of a large grid has residuals: more would only take time
SHAPE = Shape(0, 20, 4)
FLOAT32 = FloatFormat(4, 23, 0)
FLOAT_LEVEL = 140  # of exponents from 0 to 255: floats below 117 are fresh
POOL, ROWS, COLUMNS, GAINS, THRESHOLDS, TIES = range(80, 86)
FLOAT_CONTEXTS = FloatContexts(0, 78, -60, ROWS, GAINS)


def noise(size: int, seed: int) -> bytes:
    """Bytes that no compressor makes smaller."""
    return np.random.default_rng(seed).bytes(size)


def text(size: int, seed: int) -> bytes:
    """Bytes that compress to half, by LZMA: none of them is 0."""
    return (np.frombuffer(noise(size, seed), np.uint8) % 15 + 1).tobytes()


def full(old: bytes) -> tuple[bytes, bytes]:
    """Noise, which LZMA2 stores, with text between, which it compresses."""
    piece = noise(PIECE - 4096, 1) + b"text " * 820
    hurried = {"mode": lzma.MODE_FAST, "mf": lzma.MF_HC4, "nice_len": 32, "depth": 4}
    packed = lzma.compress(piece, lzma.FORMAT_RAW, filters=[{**filters(max(DICTIONARIES))[0], **hurried}])[:-1]
    count = max(1, len(old) // len(piece))
    body = packed * count + b"\0"
    head = bytes([max(DICTIONARIES)]) + pack_varint(count * len(piece)) + pack_varint(len(body))
    return piece * count, head + body


def zstd(old: bytes) -> tuple[bytes, bytes]:
    """Every other block out of a dictionary of 1 MiB, every other one of noise."""
    new = b"".join(
        noise(PIECE, at) if at // PIECE % 2 else old[at : at + PIECE][::-1] for at in range(0, len(old), PIECE)
    )
    return new[: len(old)], encode_zstd(old, new[: len(old)], hurried=True)


def bsdiff(old: bytes) -> tuple[bytes, bytes]:
    """Bytes of its own, dense changes and copies in turn; of the first two 2 % of the file each."""
    writer, new = Writer(len(old)), []
    for start in range(0, len(old), PIECE):
        part = np.frombuffer(old[start : start + PIECE], np.uint8)
        own, changed = text(len(part) // 50, start), len(part) // 25
        change = np.frombuffer(text(changed - len(own), start + 1), np.uint8)
        writer.insert(own)
        writer.add(start + len(own), change)
        writer.copy(start + changed, len(part) - changed)
        new += [own, (part[len(own) : changed] + change).tobytes(), part[changed:].tobytes()]
    return b"".join(new), writer.pack(0, [], [(0, min(MAX_PRESET, len(old)))], old).payload


def model(old: bytes) -> tuple[bytes, bytes]:
    """Rows of 65,536 weights with columns, gains and thresholds."""
    new, packed = _program(old, _weights)
    return new, packed.payload


def typed(old: bytes) -> tuple[bytes, bytes]:
    """Two programs: weights, then up to 65,536 rows of floats with columns and gains."""
    half = old[: len(old) // 2]
    parts = [_program(half, grid) for grid in (_weights, _floats)]
    return b"".join(new for new, _ in parts), b"".join(packed.lean for _, packed in parts)


def _program(old: bytes, grid: Callable[[Writer, bytes, np.random.Generator], bytes]) -> tuple[bytes, Packed]:
    """Bytes of its own, what `grid` makes of most of the file, then the pool and words."""
    writer, rng = Writer(len(old)), np.random.default_rng(3)
    count = min(MAX_POOL_WORDS, len(old) // 32)
    own = text(len(old) // 50, 4)
    vector_at = len(old) - 8 * count - len(own)
    steps = rng.integers(-9, 9, (2, count))
    writer.vector(Origin.RESIDUAL, count, vector_at, (POOL,))
    writer.recorder.numbers(steps[0], POOL)
    writer.insert(own)
    made = grid(writer, old[:vector_at], rng)
    writer.pool(0, count)
    writer.words(steps[1], POOL, vector_at + 4 * count, None)
    words = np.frombuffer(old, "<u4", 2 * count, vector_at) + steps.reshape(-1).astype(np.uint32)
    packed = writer.pack(MAX_CONTEXTS, [SHAPE], [(0, min(MAX_PRESET, len(old)))], old)
    return own + made + words.astype("<u4").tobytes(), packed


def _weights(writer: Writer, old: bytes, rng: np.random.Generator) -> bytes:
    rows = len(old) // MAX_SIDE
    fit = _tuned(np.frombuffer(old, np.uint8, rows * MAX_SIDE).reshape(rows, MAX_SIDE), rng)
    writer.weights(fit, (SHAPE, 0), Contexts(ROWS, COLUMNS, GAINS, THRESHOLDS, TIES), (0, MAX_SIDE, 1))
    return fit.new.tobytes()


def _floats(writer: Writer, old: bytes, rng: np.random.Generator) -> bytes:
    cols = max(8, len(old) // (4 * MAX_SIDE))
    rows = min(MAX_SIDE, len(old) // (4 * cols))
    fit = _moved(np.frombuffer(old, "<u4", rows * cols).reshape(rows, cols), rng)
    writer.floats(FloatRegion(0, 0, fit), FLOAT_CONTEXTS)
    return fit.new.tobytes()


def _tuned(grid: NDArray[np.uint8], rng: np.random.Generator) -> Fit:
    """Made of `grid` by small steps in one row of sixteen, the others by gain and threshold alone."""
    rows, cols = grid.shape
    fit = Fit(np.zeros_like(grid), grid, 0, across=True)
    fit.levels = np.where(np.arange(rows) % CODED_ROWS, -1, 3).astype(np.int32)
    fit.columns = rng.integers(0, 9, cols).astype(np.int32)
    fit.gains = rng.integers(-60, 60, (1, cols)).astype(np.int32)
    fit.thresholds = rng.integers(1, 3, (1, cols)).astype(np.int32)
    for row in range(rows):
        block = predict(fit.plan(SHAPE, TIES), slice(row, row + 1), grid[row : row + 1])
        step = rng.integers(-2, 3, (1, cols)) * block.coded
        fit.new[row] = (block.value + step).astype(np.uint8)[0]
    return fit


def _moved(grid: NDArray[np.uint32], rng: np.random.Generator) -> FloatFit:
    """Made of `grid` by other low bits in one row of sixteen, the others by gain alone; half the floats are fresh."""
    rows, cols = grid.shape
    unchanged, levels = np.arange(rows) % CODED_ROWS > 0, np.full(rows, FLOAT_LEVEL)
    gains = rng.integers(-9, 9, (rows, 1))
    fit = FloatFit(grid.copy(), grid, False, FLOAT32, levels, unchanged, rng.integers(0, 3, cols), gains)
    plan = fit.plan(FLOAT_CONTEXTS.first, FLOAT_CONTEXTS.spread, FLOAT_CONTEXTS.lowest)
    for block in fit.blocks():
        predicted = words_of(FLOAT32, predict_floats(plan, block, grid[block]).ordered)
        other = rng.integers(0, 1 << 12, predicted.shape) * plan.coded[block, None]
        fit.new[block] = (predicted ^ other).astype(np.uint32)
    return fit


CODECS: dict[Codec, Callable[[bytes], tuple[bytes, bytes]]] = {
    "full": full,
    "zstd": zstd,
    "bsdiff": bsdiff,
    "model": model,
    "typed": typed,
}
"""The new file that a worst case makes of an old one, and the payload."""


def extra_bytes(tool: str, old: Path, patch: Path, new: Path) -> int:
    """Extra memory of one tool, in a process of its own."""
    command = [sys.executable, __file__, "--apply", tool, str(old), str(patch), str(new.with_suffix(".made"))]
    found = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    made = new.with_suffix(".made")
    if made.read_bytes() != new.read_bytes():
        raise RuntimeError(f"{tool} does not reproduce the file")
    made.unlink()
    return found


def apply_and_print(tool: str, old: Path, patch: Path, new: Path) -> None:
    """The child process: what applying took, in bytes."""
    give_back_blocks(LARGE_BLOCK_BYTES)
    sys.setswitchinterval(0.0002)
    with AnonymousPeak(bytes_of_command(tool) if tool == "zstd" else own_bytes) as peak, new.open("wb") as out:
        if tool == "zstd":
            subprocess.run(["zstd", "-d", "--long=28", "-qf", f"--patch-from={old}", patch, "-o", new], check=True)
        elif tool == "bsdiff4":
            out.write(bsdiff4().patch(old.read_bytes(), patch.read_bytes()))
        else:
            apply(_mapped(old), _mapped(patch), lambda piece: (out.write(piece), peak.look()), max_new_bytes=1 << 32)
    print(peak.grown)


def _mapped(path: Path) -> memoryview:
    with path.open("rb") as file:
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def bsdiff4() -> Any:
    """A peer, which need not be there."""
    return import_module("bsdiff4")


def peers(folder: Path, old: bytes, new: bytes) -> dict[str, float]:
    """MB that other tools take for a file of that size; bsdiff4's base is short, because it would sort for minutes."""
    found, paths = {}, (folder / "old", folder / "patch", folder / "new")
    paths[2].write_bytes(new)
    if shutil.which("zstd"):
        paths[0].write_bytes(old)
        make = ["zstd", "-1", "--long=28", "-qf", f"--patch-from={paths[0]}", paths[2], "-o", paths[1]]
        subprocess.run(make, check=True)
        found["zstd"] = extra_bytes("zstd", *paths) / MB
    if find_spec("bsdiff4"):
        paths[0].write_bytes(old[:1000])
        paths[1].write_bytes(bsdiff4().diff(old[:1000], new))
        found["bsdiff4"] = extra_bytes("bsdiff4", *paths) / MB
    return {name: round(extra, 1) for name, extra in found.items()}


def measured(folder: Path, size_mb: int) -> tuple[dict[Codec, float], dict[str, float]]:
    """MB of every codec at one size, and of the peers."""
    old, found = noise(size_mb * MB, 0), {}
    paths = (folder / "old", folder / "patch", folder / "new")
    for codec, make in CODECS.items():
        print(f"{codec}, {size_mb} MB", file=sys.stderr)
        new, payload = make(old)
        header = header_of(codec, old, new, 1 if codec in FIRST_CODECS else FORMAT_VERSION)
        for path, data in zip(paths, (old, header + payload, new), strict=True):
            path.write_bytes(data)
        found[codec] = round(extra_bytes("skerry", *paths) / MB, 2)
    return found, peers(folder, old, new)


def main() -> None:
    """Measure all codecs at the sizes asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES_MB)
    parser.add_argument("--apply", nargs=4, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.apply:
        apply_and_print(chosen.apply[0], *map(Path, chosen.apply[1:]))
        return
    rows, goals = {}, []
    with tempfile.TemporaryDirectory(prefix="skerry-apply-") as folder:
        for size in chosen.sizes:
            own, others = measured(Path(folder), size)
            rows[f"{size} MB"] = {**own, **{f"{name} (peer)": extra for name, extra in others.items()}}
            beside = ", ".join(f"{name} {extra:g}" for name, extra in others.items())
            worst = max(own, key=lambda codec: own[codec])
            goals.append(Goal(f"{size} MB, {worst}", own[worst], MAX_EXTRA_BYTES / MB, "MB", peer=beside))
    finish("apply_memory", goals, {"extra_mb": rows})


if __name__ == "__main__":
    main()
