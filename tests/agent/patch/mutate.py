"""`python -m tests.agent.patch.mutate --count N --seed S`: applies damaged patches, and says what became of them.

Every mutant must be refused with a `PatchError` or make exactly the promised file. Anything else ends the run with the
mutant in the message. Prints JSON: refusals by code, how many were harmless, memory growth, the slowest mutant. Many
patches are rewritten with stored sections first, so that damage reaches the fields behind the compression.
"""

import argparse
import json
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from skerry_agent.patch import Codec, PatchError, apply
from skerry_agent.patch.container import FIRST_CODECS, split
from skerry_agent.patch.extents import ALL_PRESENT, Sections
from skerry_agent.patch.program import parse_program
from skerry_agent.patch.section import Section
from skerry_host.patch.blocks import encode_full, encode_zstd
from skerry_host.patch.create import header_of
from skerry_host.patch.programs import encode_programs
from skerry_host.patch.sections import leave_out_empty, pack_stored
from tests.kit.patch_edits import EDITS
from tests.kit.patch_models import Net, float_tflite, layer, tflite

PAYLOAD_AT = {1: 69, 2: 21}  # by format version
LIMIT = 1 << 18  # what a device would allow this artifact to become
CLEAR = Path("/proc/self/clear_refs")  # writing 5 forgets the peak
EXTREMES = (0, 1, 0x7F, 0x80, 0xFE, 0xFF)


@dataclass(frozen=True)
class Seed:
    old: bytes
    new: bytes
    patch: bytes


def seeds() -> list[Seed]:
    rng = np.random.default_rng(11)
    before = [layer(rng, 12, 20), layer(rng, 20, 12), layer(rng, 5, 20)]
    old = tflite(Net(tuple(before)))
    pairs = [(old, tflite(Net(tuple(edit(rng, before)), note=edit.__name__.encode()))) for edit in EDITS]
    found = []
    for old, new in [*pairs, *_float_pairs(rng)]:
        programs = encode_programs(old, new)
        whole: dict[Codec, bytes] = {
            "full": encode_full(new, hurried=True),
            "zstd": encode_zstd(old, new, hurried=True),
        }
        found += [Seed(old, new, header_of(codec, old, new) + payload) for codec, payload in whole.items()]
        for codec, attempt in programs.items():
            patches = [header_of(codec, old, new, 2) + attempt.lean]
            if codec in FIRST_CODECS:
                patches.append(header_of(codec, old, new) + attempt.payload)
            found += [Seed(old, new, patch) for patch in patches]
            found += [Seed(old, new, stored(old, patch)) for patch in patches * 2]
    return found


def _float_pairs(rng: np.random.Generator) -> Iterator[tuple[bytes, bytes]]:
    """Yield models of floats that were tuned, and scaled and pruned."""
    before = rng.normal(0, 0.3, (12, 20))
    for kind in (np.float32, np.float16):
        old = float_tflite([before.astype(kind)])
        yield old, float_tflite([(before + rng.normal(0, 0.003, before.shape)).astype(kind)])
        scaled = before * rng.uniform(0.9, 1.1, (12, 1)) + rng.normal(0, 0.001, before.shape)
        yield old, float_tflite([np.where(np.abs(scaled) < 0.1, 0, scaled).astype(kind)])


def stored(old: bytes, patch: bytes) -> bytes:
    """An equal patch none of whose sections is compressed."""
    header, reader = split(patch)
    head = patch[: len(patch) - reader.left]
    present = ALL_PRESENT if header.format_version == 1 else reader.byte()
    table = _raw(Section(reader))
    preset = [memoryview(old)[at : at + size] for at, size in parse_program(table, len(old)).preset]
    sections = Sections(reader, present)
    parts = [pack_stored(_raw(part)) for part in (sections.next(), sections.next(), sections.next(preset=preset))]
    parts = [pack_stored(table), *parts, *(pack_stored(_raw(sections.next())) for _ in range(2))]
    payload = b"".join(parts) if header.format_version == 1 else leave_out_empty(parts)
    return head + payload + bytes(reader.take(reader.left))


def _raw(section: Section) -> bytes:
    return section.read(section.left)


def mutant(rng: np.random.Generator, patch: bytes) -> bytes:
    out = bytearray(patch)
    for _ in range(int(rng.integers(1, 4))):
        low = 0 if rng.random() < 0.05 else PAYLOAD_AT[patch[3]]
        place = int(rng.integers(low, max(low + 1, len(out))))
        _damage(rng, out, min(place, len(out) - 1))
    return bytes(out)


def _damage(rng: np.random.Generator, out: bytearray, place: int) -> None:
    match int(rng.integers(0, 7)):
        case 0:
            out[place] ^= 1 << int(rng.integers(0, 8))
        case 1:
            out[place] = EXTREMES[int(rng.integers(0, len(EXTREMES)))]
        case 2:
            out[place] = int(rng.integers(0, 256))
        case 3:
            out[place:place] = rng.bytes(int(rng.integers(1, 5)))
        case 4:
            del out[place : place + int(rng.integers(1, 5))]
        case 5:
            del out[max(PAYLOAD_AT[2], place) :]
        case 6:
            out[place : place + 4] = b"\xff\xff\xff\x7f"


def run(count: int, seed: int) -> dict[str, object]:
    rng, corpus = np.random.default_rng(seed), seeds()
    fates: Counter[str] = Counter()
    CLEAR.write_text("5", encoding="ascii")
    slowest, before = 0.0, peak_bytes()
    for _ in range(count):
        case = corpus[int(rng.integers(0, len(corpus)))]
        patch, started = mutant(rng, case.patch), time.perf_counter()
        fates[fate(case, patch)] += 1
        slowest = max(slowest, time.perf_counter() - started)
    grown = peak_bytes() - before
    return {"mutants": count, "fates": dict(fates), "grown_bytes": grown, "slowest_seconds": round(slowest, 3)}


def peak_bytes() -> int:
    """The most memory that this process has held since its peak was last cleared."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return 1024 * int(next(line for line in lines if line.startswith("VmHWM")).split()[1])


def fate(case: Seed, patch: bytes) -> str:
    out = bytearray()
    try:
        apply(case.old, patch, out.extend, max_new_bytes=LIMIT)
    except PatchError as error:
        return error.code
    except Exception as error:
        raise AssertionError(f"{error!r} for {patch.hex()} on {case.old.hex()}") from error
    assert out == case.new, f"a wrong file was accepted from {patch.hex()}"
    return "harmless"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    print(json.dumps(run(chosen.count, chosen.seed)))


if __name__ == "__main__":
    main()
