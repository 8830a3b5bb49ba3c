"""Power loss: every state of the disk that can be left when un-synced operations are lost, in two models.

Ordered (ext4 data=ordered, the usual one): names reach the disk in order, un-synced content may be missing, zeroed or
torn. POSIX (the weakest promise): any of the un-synced operations may be missing, whatever came after them.
"""

import hashlib
import itertools
import random
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.lab import fault
from tests.lab.device import identity
from tests.lab.disk_model import TRACED, Op, Reader, Recording, Tree, build, write_tree
from tests.lab.ledger import Ledger
from tests.lab.points import Bench

SUBSETS = 24
SEAL_BYTES = 65


@dataclass(frozen=True)
class Loss:
    """What is left after the power went when `count` operations had been made, and what had been promised by then."""

    model: str
    count: int
    tree: Tree
    kept: tuple[bytes, ...]
    received: tuple[bytes, ...]


def record(at: Bench) -> Recording:
    """What the clean run does to the disk."""
    at.reset()
    reader = Reader(at.state)
    trace = at.folder / "writes"
    ended = fault.run(at.play, Ledger(), "-y", "-xx", "-s", "4000000", "-o", str(trace), "-e", f"trace={TRACED}")
    assert ended.well, ended
    recording = reader.read(trace.read_text(errors="replace"))
    _check_model(recording, at.state)
    return recording


def _check_model(recording: Recording, state: Path) -> None:
    """The model, given every operation, must be what the run really left."""
    real: Tree = {
        str(path.relative_to(state)): None if path.is_dir() else path.read_bytes() for path in sorted(state.rglob("*"))
    }
    assert build(recording, recording.ops) == real, "the disk model differs from the disk"


def losses(recording: Recording, rng: random.Random, moments: int = 0) -> Iterator[Loss]:
    """Every distinct state once, in both models; only of so many moments of the run, if `moments` is not 0."""
    seen: set[str] = set()
    counts = range(len(recording.ops) + 1)
    for count in sorted(rng.sample(counts, min(moments, len(counts)))) if moments else counts:
        promised = _promised(recording, count)
        for model, kept in itertools.chain(_ordered(recording, count), _posix(recording, count, rng)):
            tree = build(recording, kept)
            name = hashlib.sha256(repr((sorted(tree.items()), promised)).encode()).hexdigest()
            if name not in seen:
                seen.add(name)
                yield Loss(model, count, tree, *promised)


def _ordered(recording: Recording, count: int) -> Iterator[tuple[str, list[Op]]]:
    """Names in order; content that was not synced there, gone, zeroed or torn."""
    ops = recording.ops[:count]
    loose = {i for i in recording.unsynced(count) if ops[i].kind in {"data", "size"}}
    yield "ordered", ops
    for damage in (_gone, _zeroed, _torn):
        yield "ordered", [made for i, op in enumerate(ops) for made in (damage(op) if i in loose else [op])]
    for inode in {ops[i].owner for i in loose}:
        yield "ordered", [op for i, op in enumerate(ops) if i not in loose or op.owner != inode]


def _posix(recording: Recording, count: int, rng: random.Random) -> Iterator[tuple[str, list[Op]]]:
    """Any subset of what was not synced: all of them if they are few, else each alone and a seeded choice."""
    ops, loose = recording.ops[:count], recording.unsynced(count)
    if len(loose) <= 4:
        lost = [set(chosen) for size in range(len(loose) + 1) for chosen in itertools.combinations(loose, size)]
    else:
        lost = [{i} for i in loose] + [set(loose) - {i} for i in loose] + [set(loose)]
        lost += [{i for i in loose if rng.random() < 0.5} for _ in range(SUBSETS)]
    for missing in lost:
        yield "posix", [op for i, op in enumerate(ops) if i not in missing]


def _gone(_op: Op) -> list[Op]:
    return []


def _zeroed(op: Op) -> list[Op]:
    return [Op("data", op.owner, offset=op.offset, data=bytes(len(op.data)))] if op.kind == "data" else [op]


def _torn(op: Op) -> list[Op]:
    return [Op("data", op.owner, offset=op.offset, data=op.data[: len(op.data) // 2])] if op.kind == "data" else [op]


def _promised(recording: Recording, count: int) -> tuple[tuple[bytes, ...], tuple[bytes, ...]]:
    """Reports that `put` had said are kept, and those that had been removed because the host has them."""
    outbox = _outbox_inode(recording)
    synced = max((at for at, inode in recording.syncs if inode == outbox and at <= count), default=0)
    contents: dict[int, bytes] = {}
    waiting = (recording.before[outbox].entries or {}) if outbox in recording.before else {}
    kept = {inode: recording.before[inode].content for name, inode in waiting.items() if name.endswith(".json")}
    gone: list[bytes] = []
    for i, op in enumerate(recording.ops[:count]):
        if op.kind == "data":
            contents[op.owner] = contents.get(op.owner, b"") + op.data
        if op.owner == outbox and op.kind == "move" and op.to.endswith(".json") and i < synced:
            kept[op.inode] = contents[op.inode]
        if op.owner == outbox and op.kind == "leave" and op.inode in kept:
            gone.append(kept[op.inode])
    return tuple(kept.values()), tuple(gone)


def _outbox_inode(recording: Recording) -> int:
    made = [op.inode for op in recording.ops if op.kind == "enter" and op.name == "outbox" and op.owner == 0]
    return made[0] if made else (recording.before[0].entries or {}).get("outbox", -1)


def lose(at: Bench, loss: Loss) -> list[str]:
    """Put the state on the disk and boot."""
    shutil.rmtree(at.state, ignore_errors=True)
    at.state.mkdir(parents=True)
    write_tree(loss.tree, at.state)
    at.ledger.clear()
    for kind, reports in (("kept", loss.kept), ("received", loss.received)):
        for sealed in reports:
            at.ledger.note(f"{kind} {identity(sealed[SEAL_BYTES:])}")
    return at.recovered()
