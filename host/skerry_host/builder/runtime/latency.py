"""How long one inference takes on this machine. Says nothing of any other machine."""

import time
from collections.abc import Callable

import numpy as np
from msgspec import Struct

from skerry_host.builder.runtime.session import Session

RUNS, WARM = 100, 3
SECONDS = 1.0
"""No further run starts after this time, except for a minimum number."""
MIN_RUNS = 5


class Latency(Struct, frozen=True):
    """Microseconds of one inference, over so many runs."""

    runs: int
    min_us: float
    p50_us: float
    p95_us: float


def measure(model: bytes, clock: Callable[[], float] = time.perf_counter, threads: int = 1) -> Latency:
    """Run a model on zeros, again and again."""
    session = Session(model, threads)
    tensors = [np.zeros(tensor.shape, tensor.dtype) for tensor in session.inputs]
    for _ in range(WARM):
        session.run(tensors)
    times: list[float] = []
    end = clock() + SECONDS
    while len(times) < MIN_RUNS or (len(times) < RUNS and clock() < end):
        start = clock()
        session.run(tensors)
        times.append(clock() - start)
    low, p50, p95 = (float(value) * 1e6 for value in np.percentile(times, [0, 50, 95]))
    return Latency(len(times), low, p50, p95)
