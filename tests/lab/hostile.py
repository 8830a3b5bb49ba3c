"""Malformed but validly signed models through the runner's own load and proof: the supervising process survives.

A pool child does what a runner does, one model after the other, until one of them kills it; the watcher notes how it
died, as the supervisor would, and starts another. A model that hangs is ended by an alarm. Reads real models, writes
mutants into a folder of its own.
"""

import faulthandler
import os
import random
import resource
import signal
import struct
import tempfile
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path

from msgspec.structs import replace

from skerry_agent.ports.runner_protocol import Job
from skerry_agent.runner.errors import UnfitError
from skerry_agent.runner.session import open_job
from skerry_agent.runner.validation import load, read_golden, validate
from skerry_agent.wire.blobs import describe
from tests.kit.tiny_models import make_job, tiny_inputs, tiny_model

FASHION = Path(__file__).resolve().parents[2] / "models" / "fashion" / "fashion-1.0.0.tflite"
HANG_S = 10
MEMORY_BYTES = 4 << 30
KINDS = ("add", "log", "zero", "copy", "fashion")
STRUCTURE = 4096
RAISED = 71
_ENDED = struct.Struct("<Ic")


@dataclass
class HostileCounts:
    """What became of the models: served, refused, died (by signal), hung. `broken` are those without an answer."""

    points: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)


def mutant(original: bytes, rng: random.Random) -> bytes:
    """A model with a few bytes changed, mostly where the tables are; or cut, or spliced."""
    data = bytearray(original)
    if rng.random() < 0.1:
        return bytes(data[: rng.randrange(len(data))])
    if rng.random() < 0.1:
        start, length, at = rng.randrange(len(data)), rng.randrange(1, 256), rng.randrange(len(data))
        data[at : at + length] = data[start : start + length]
    for _ in range(rng.randint(1, 8)):
        at = _position(len(data), rng)
        if rng.random() < 0.5:
            data[at] ^= 1 << rng.randrange(8)
        else:
            word = rng.choice((0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, rng.getrandbits(32), len(data)))
            data[at : at + 4] = word.to_bytes(4, "little")
    return bytes(data)


def _position(size: int, rng: random.Random) -> int:
    """The tables of such a file lie at its outcomes, the weights between them."""
    if rng.random() < 0.2:
        return rng.randrange(size)
    edge = min(STRUCTURE, size)
    return rng.randrange(edge) if rng.random() < 0.5 else size - 1 - rng.randrange(edge)


def originals(folder: Path) -> dict[str, Job]:
    """A job for each model that mutants are made of; its bundle promises what the original does."""
    jobs = {}
    for kind in KINDS:
        place = folder / kind
        place.mkdir(parents=True)
        model = FASHION.read_bytes() if kind == "fashion" else tiny_model(kind)
        (place / "model.tflite").write_bytes(model)
        jobs[kind] = make_job(place, golden=None if kind == "fashion" else tiny_inputs(kind))
    return jobs


def _try(job: Job, model: bytes) -> bytes:
    """What a runner makes of a bundle whose model is `model`, as its manifest says: s(erves it) or r(efuses it)."""
    (Path(job.bundle_dir) / "model.tflite").write_bytes(model)
    first, *rest = job.bundle.artifacts
    bundle = replace(job.bundle, artifacts=(replace(first, blob=describe(model)), *rest))
    job = replace(job, bundle=bundle)
    try:
        validate(job, load(job, open_job), read_golden(job))
    except UnfitError:
        return b"r"
    return b"s"


def _work(jobs: dict[str, Job], models: dict[str, bytes], seeds: range, out: int) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    faulthandler.disable()
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    for seed in seeds:
        rng = random.Random(seed)
        kind = rng.choice(KINDS)
        signal.alarm(HANG_S)
        end = _try(jobs[kind], mutant(models[kind], rng))
        os.write(out, _ENDED.pack(seed, end))


def watch(seeds: range) -> HostileCounts:
    """Try every seed; a child that dies is replaced, and the model that killed it counted."""
    counts = HostileCounts()
    with tempfile.TemporaryDirectory(prefix="skerry-hostile-") as folder:
        jobs = originals(Path(folder))
        models = {kind: (Path(job.bundle_dir) / "model.tflite").read_bytes() for kind, job in jobs.items()}
        following = seeds.start
        while following < seeds.stop:
            following = _one_child(jobs, models, range(following, seeds.stop), counts)
    return counts


def _one_child(jobs: dict[str, Job], models: dict[str, bytes], seeds: range, counts: HostileCounts) -> int:
    """Let one child work until it outcomes; the seed to go on with."""
    ours, theirs = os.pipe()
    pid = os.fork()
    if pid == 0:
        code = RAISED
        try:
            _work(jobs, models, seeds, theirs)
            code = 0
        finally:
            os._exit(code)
    os.close(theirs)
    following = seeds.start
    with os.fdopen(ours, "rb") as answers:
        while len(answer := answers.read(_ENDED.size)) == _ENDED.size:
            seed, end = _ENDED.unpack(answer)
            counts.outcomes["served" if end == b"s" else "refused"] += 1
            following = seed + 1
    _, status = os.waitpid(pid, 0)
    if status:
        counts.outcomes[_how(status)] += 1
        following += 1
    counts.points += following - seeds.start
    return following


def _how(status: int) -> str:
    """An exit as the supervisor would report it. A runner that raises outcomes with an exit status, and says why."""
    code = os.waitstatus_to_exitcode(status)
    if code == -signal.SIGALRM:
        return "hung"
    return signal.Signals(-code).name if code < 0 else "raised" if code == RAISED else f"exit {code}"


def sweep(models: int, seed: int, workers: int = 2) -> HostileCounts:
    """Try `models` mutants on some cores; counts of all."""
    share = -(-models // workers)
    starts = [seed * 1_000_000 + worker * share for worker in range(workers)]
    total = HostileCounts()
    with ProcessPoolExecutor(workers, mp_context=get_context("fork")) as pool:
        for counts in pool.map(watch, [range(start, start + share) for start in starts]):
            total.points += counts.points
            total.outcomes += counts.outcomes
    if total.points != share * workers:
        total.broken.append(f"{total.points} of {share * workers} models were accounted for")
    return total
