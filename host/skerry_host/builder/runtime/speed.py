"""Whether int8 and threads make a model faster: measured on the build machine, for as many threads as the board uses.

int8 is not always faster, and small models are slower with more threads. Another CPU may behave differently: the result
is labelled and recorded as a recommendation, and changes no artifact.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from skerry_host.boards import Board
from skerry_host.build_record import BuildRecord, Speed
from skerry_host.builder.runtime.latency import Latency, measure

NOTABLE_RATIO = 1.1
"""A setting is reported as faster when another takes this many times as long."""


@dataclass(frozen=True, slots=True)
class Timed:
    """A model, the form that it has, and how long it takes with one thread."""

    form: str
    model: bytes
    latency: Latency


def with_speeds(record: BuildRecord, board: Board, models: Sequence[Timed]) -> BuildRecord:
    """The record with what was measured of the cpu bundle's model and of the float one, if there is one."""
    threads = counts(board, os.cpu_count() or 1)
    return replace(record, speeds_on_this_machine=measured(models, threads))


def counts(board: Board, cores: int) -> list[int]:
    """The numbers of threads to try: 1, 2, 4 and so on, at most what the board uses and this machine has."""
    limit = min(board.runtime.threads, cores)
    return [n for n in (1, 2, 4, 8, 16) if n <= limit]


def measured(models: Sequence[Timed], threads: Sequence[int]) -> tuple[Speed, ...]:
    """Every form with every number of threads, the fastest first; what is known already is not measured again."""
    pairs = [(one, n) for one in models for n in threads]
    found = [(one.form, n, one.latency if n == 1 else measure(one.model, threads=n)) for one, n in pairs]
    speeds = [Speed(form, n, latency.p50_us) for form, n, latency in found]
    return tuple(sorted(speeds, key=lambda speed: speed.p50_us))


def remark(speeds: tuple[Speed, ...]) -> str:
    """One line: what is fastest here, and the best of the other form; empty if nothing was measured."""
    if not speeds:
        return ""
    best = speeds[0]
    other = next((speed for speed in speeds if speed.form != best.form), None)
    line = f"on this machine {_words(best)} is fastest"
    if other is None:
        return line
    near = other.p50_us < best.p50_us * NOTABLE_RATIO
    return f"{line}, {'barely faster than' if near else 'against'} {_words(other)}"


def _words(speed: Speed) -> str:
    return f"{speed.form} with {speed.threads} thread{'s' * (speed.threads > 1)} ({speed.p50_us:.0f} us)"
