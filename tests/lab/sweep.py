"""`python -m tests.lab.sweep [--sample]`: every case of the laboratory, one table, exit 1 if any point is broken.

The sample is seeded and takes less than a minute on two cores; the full sweep is what docs/reliability.md reports.
"""

import argparse
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from multiprocessing import get_context
from pathlib import Path

from tests.agent.patch import mutate
from tests.lab import fault, flips, hostile, pairs, points, power, small_disk
from tests.lab.points import Bench, bench
from tests.lab.scenarios import SIZES, Scenario, rows
from tests.net import cases

SEED = 20
WORKERS = 2
PATCHES_AT_ONCE = 25_000
MOST_BYTES = 64 << 20
SHOWN = 20


@dataclass(frozen=True)
class Amount:
    """How much of everything: sizes of scenarios, and points per scenario (0: all).

    `firsts` and `seconds`: first kills, and second kills after each. `moments`: instants at which the power goes.
    """

    sizes: int
    kills: int
    firsts: int
    seconds: int
    moments: int
    losses: int
    failures: int
    flip_moments: int
    flip_positions: int
    models: int
    patches: int
    pairs: int


SAMPLE = Amount(
    1,
    kills=14,
    firsts=1,
    seconds=2,
    moments=8,
    losses=24,
    failures=16,
    flip_moments=0,
    flip_positions=1,
    models=400,
    patches=5_000,
    pairs=30,
)
FULL = Amount(
    2,
    kills=0,
    firsts=14,
    seconds=4,
    moments=0,
    losses=0,
    failures=300,
    flip_moments=4,
    flip_positions=4,
    models=60_000,
    patches=1_000_000,
    pairs=10_000,
)


@dataclass
class Result:
    """What came out of one case: how many points were tried, and what broke."""

    case: str
    points: int = 0
    broken: list[str] = field(default_factory=list)
    seconds: float = 0.0
    skipped: str = ""
    remark: str = ""


Point = tuple[str, list[str]]
"""What was done, and which promises it broke."""


def _kills(at: Bench, amount: Amount, rng: random.Random) -> Iterator[Point]:
    for call in _some(at.calls, amount.kills, rng):
        yield str(call), points.kill(at, call)


def _double_kills(at: Bench, amount: Amount, rng: random.Random) -> Iterator[Point]:
    for first in rng.sample(at.calls, amount.firsts):
        for broken in points.kill_twice(at, first, rng, amount.seconds):
            yield str(first), broken


def _power(at: Bench, amount: Amount, rng: random.Random) -> Iterator[Point]:
    for loss in _some(list(power.losses(power.record(at), rng, amount.moments)), amount.losses, rng):
        yield f"{loss.model} after {loss.count}", power.lose(at, loss)


def _failures(at: Bench, amount: Amount, rng: random.Random) -> Iterator[Point]:
    for call, error in _some(points.failures(at.calls), amount.failures, rng):
        yield f"{call} {error}", points.fail(at, call, error)


def _flips(at: Bench, amount: Amount, rng: random.Random) -> Iterator[Point]:
    scenario = at.stage.scenario
    behind = scenario.factory or len(scenario.before) > 1
    if scenario.before and behind and scenario.order:  # there is something to fall back to
        yield from flips.flips(at, rng, amount.flip_moments, amount.flip_positions)
    elif scenario.before and scenario.order:
        yield from flips.flips_without_fallback(at, rng, amount.flip_positions)


def _small_disk(at: Bench, _amount: Amount, _rng: random.Random) -> Iterator[Point]:
    if at.stage.scenario.before and at.stage.scenario.order:
        for shortage in small_disk.SHORTAGES:
            yield shortage.name, small_disk.short(at, shortage)


CASES: dict[str, Callable[[Bench, Amount, random.Random], Iterator[Point]]] = {
    "kill -9 at a system call": _kills,
    "kill -9, and again during recovery": _double_kills,
    "power loss, state of the disk": _power,
    "failing call": _failures,
    "bit flip in a stored file": _flips,
    "disk tiny, full or read-only": _small_disk,
}


def _some(things: list, count: int, rng: random.Random) -> list:
    return things if not count or count >= len(things) else rng.sample(things, count)


def run_case(case: str, scenario: Scenario, amount: Amount, folder: Path) -> Result:
    """One case on one scenario, in this process, below a folder that the caller removes."""
    started, result = time.monotonic(), Result(case)
    at = _bench(scenario, folder / str(os.getpid()))
    for what, broken in CASES[case](at, amount, random.Random(f"{SEED} {case} {scenario.name}")):
        result.points += 1
        result.broken += [f"{scenario.name}: {what}: {line}" for line in broken]
    result.seconds = time.monotonic() - started
    return result


@cache
def _bench(scenario: Scenario, folder: Path) -> Bench:
    """Set up once for all cases that this process runs: that costs as much as ten points."""
    return bench(scenario, folder)


@contextmanager
def quick_folder() -> Iterator[Path]:
    """On a RAM disk where there is one: what a kill leaves does not depend on the file system."""
    ram = "/dev/shm" if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory(prefix="skerry-lab-", dir=ram) as folder:
        yield Path(folder)


def refusal(case: str) -> str:
    """Why a case cannot run here; empty if it can."""
    if case == "disk tiny, full or read-only":
        return small_disk.refusal()
    return "" if fault.STRACE else "strace is not installed"


def sweep(amount: Amount, done: Callable[[Result], None]) -> list[Result]:
    """Everything; `done` hears of each piece. One result per case."""
    results = {case: Result(case, skipped=refusal(case)) for case in CASES}
    chosen = [case for case in CASES if not results[case].skipped]
    with quick_folder() as folder, ProcessPoolExecutor(WORKERS, mp_context=get_context("fork")) as pool:
        tasks = [(case, row, amount, folder) for row in rows(SIZES[: amount.sizes]) for case in chosen]
        for piece in pool.map(run_case, *zip(*tasks, strict=True), chunksize=len(chosen)):
            done(piece)
            _add(results[piece.case], piece)
    return [*results.values(), _models(amount.models), _patches(amount.patches), _pairs(amount.pairs)]


def _models(count: int) -> Result:
    """Malformed models, signed all the same."""
    started = time.monotonic()
    counts = hostile.sweep(count, SEED, WORKERS)
    seconds = (time.monotonic() - started) * WORKERS
    ends = ", ".join(f"{count} {end}" for end, count in counts.outcomes.most_common())
    return Result("malformed signed model", counts.points, counts.broken, seconds, remark=ends)


def _patches(count: int) -> Result:
    """Damaged patches through the device's decoder: each is refused or makes exactly the file it promised."""
    started, result = time.monotonic(), Result("damaged patch")
    fates: Counter[str] = Counter()
    pieces = max(WORKERS, count // PATCHES_AT_ONCE)
    with ProcessPoolExecutor(WORKERS, mp_context=get_context("fork")) as pool:
        for future in [pool.submit(mutate.run, count // pieces, SEED + piece) for piece in range(pieces)]:
            try:
                found = future.result()
            except AssertionError as error:  # this piece ends there; what it had tried before is not counted
                result.broken.append(str(error)[:400])
                continue
            fates.update(found["fates"])
            if found["grown_bytes"] > MOST_BYTES:
                result.broken.append(f"memory grew by {found['grown_bytes']} B")
    result.points = fates.total()
    result.seconds = (time.monotonic() - started) * WORKERS
    result.remark = ", ".join(f"{count} {fate}" for fate, count in fates.most_common(4))
    return result


def _pairs(count: int) -> Result:
    """Random pairs of real and mutated models through the encoder: every candidate comes off and makes the new file."""
    started = time.monotonic()
    counts = pairs.sweep(count, WORKERS)
    seconds = (time.monotonic() - started) * WORKERS
    ends = ", ".join(f"{count} {codec}" for codec, count in counts.winners.most_common())
    return Result(
        "random pair of models", counts.points, counts.broken, seconds, remark=f"{ends}; {counts.failed} fell back"
    )


def _add(total: Result, piece: Result) -> None:
    total.points += piece.points
    total.broken += piece.broken
    total.seconds += piece.seconds


def table(results: Iterable[Result]) -> str:
    """case | points | broken | seconds (of one core)."""
    lines = [f"{'case':<38}{'points':>8}{'broken':>8}{'seconds':>9}"]
    for r in results:
        remark = f"skipped: {r.skipped}" if r.skipped else r.remark
        lines.append(f"{r.case:<38}{r.points:>8}{len(r.broken):>8}{r.seconds:>9.0f}  {remark}".rstrip())
    return "\n".join(lines)


def main() -> None:
    """Run, print, and exit 1 if anything is broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sample", action="store_true", help="a seeded part, within a minute")
    amount = SAMPLE if parser.parse_args().sample else FULL
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as beside:  # the network's cases mostly wait
        network = beside.submit(cases.results, sample=amount is SAMPLE)
        results = [
            *sweep(amount, lambda piece: print(".", end="", flush=True)),
            *(Result(*row) for row in network.result()),
        ]
    print("\n" + table(results))
    broken = [line for result in results for line in result.broken]
    for line in broken[:SHOWN]:
        print(f"broken: {line}")
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()
