"""Times the operators of a TFLite model by running each one alone on the runtime that devices use.

What the runtime fuses across operators it cannot fuse here, so the time of the whole is given beside the sum.
"""

import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from statistics import median
from typing import Literal

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from msgspec.structs import replace

from skerry_host.build.graph import describe
from skerry_host.build.profile.cut import cut
from skerry_host.build.profile.litert import UnavailableError, profile_kernels
from skerry_host.build.profile.result import OpTime, Profile
from skerry_host.build.progress import Progress, silent, watched
from skerry_host.build.tflite import read_model

RUNS, LEAST, WARM = 50, 5, 2
SECONDS = 0.2
"""After so long no further run of one operator is begun, but for the least number."""
Clock = Callable[[], float]
Unit = Literal["kernels", "operators"]


def profile_file(path: Path, progress: Progress = silent, *, by: Unit = "kernels") -> Profile:
    """The time of each kernel of a file proven to run (`probe`); of each operator if asked, or if the former fails."""
    note = ""
    if by == "kernels":
        progress("running under LiteRT's profiler")
        try:
            return profile_kernels(path)
        except UnavailableError as error:
            note = f"{error}; operators are timed one by one instead"
    return replace(profile_tflite(path.read_bytes(), progress), note=note)


def profile_tflite(data: bytes, progress: Progress = silent, clock: Clock = time.perf_counter) -> Profile:
    """The time of each operator of the main graph; `data` must have been proven to run (`probe`)."""
    model = read_model(data)
    graph = describe(model)
    whole = _time(data, clock)
    assert whole is not None
    found = [
        OpTime(op.index, op.name, _name(graph.tensors[op.outputs[0]].name) if op.outputs else "", us)
        for op in watched(graph.ops, "timing operators", progress)
        for us in [_time(cut(model, op.index, op.name), clock)]
    ]
    runtime = f"ai-edge-litert {metadata.version('ai-edge-litert')}, 1 thread"
    return Profile("each operator alone", runtime, RUNS, whole, tuple(found))


def _time(data: bytes | None, clock: Clock) -> float | None:
    """Median microseconds of a run on zeros; None where the model is none or does not run."""
    if data is None:
        return None
    try:
        interpreter = Interpreter(model_content=data, num_threads=1)
        interpreter.allocate_tensors()
        for detail in interpreter.get_input_details():
            interpreter.set_tensor(detail["index"], np.zeros(detail["shape"], detail["dtype"]))
        return _median(interpreter.invoke, clock)
    except (RuntimeError, ValueError):
        return None


def _median(run: Callable[[], None], clock: Clock) -> float:
    for _ in range(WARM):
        run()
    times: list[float] = []
    end = clock() + SECONDS
    while len(times) < LEAST or (len(times) < RUNS and clock() < end):
        start = clock()
        run()
        times.append(clock() - start)
    return median(times) * 1e6


def _name(text: str) -> str:
    return text.partition(";")[0]
