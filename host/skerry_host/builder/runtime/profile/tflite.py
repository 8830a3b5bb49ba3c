"""Times the operators of a TFLite model by running each one alone on the runtime that devices use.

Fusion across operators is lost that way, so the time of the whole model is given beside the sum. The extracted models
have not been probed, so they run in a child process.
"""

import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from importlib import metadata
from pathlib import Path
from statistics import median
from threading import Timer
from typing import Literal

import msgspec
import numpy as np
from ai_edge_litert.interpreter import Interpreter
from msgspec.structs import replace

from skerry_host import children
from skerry_host.builder.modelfile.graph import describe
from skerry_host.builder.modelfile.tflite import read_model
from skerry_host.builder.recipe.errors import ModelError
from skerry_host.builder.recipe.progress import Progress, silent, watched
from skerry_host.builder.runtime.probe import MEMORY_BYTES
from skerry_host.builder.runtime.profile.cut import cut
from skerry_host.builder.runtime.profile.litert import UnavailableError, profile_kernels
from skerry_host.builder.runtime.profile.result import OpTime, Profile

RUNS, MIN_RUNS, WARM = 50, 5, 2
SECONDS = 0.2
"""No further run of one operator starts after this time, except for a minimum number."""
LIMIT_SECONDS = 900.0
Clock = Callable[[], float]
Unit = Literal["kernels", "operators"]
Kernels = Callable[[Path], Profile]
"""What times kernels; raises `UnavailableError` where it cannot."""


def profile_file(
    path: Path, progress: Progress = silent, *, by: Unit = "kernels", kernels: Kernels = profile_kernels
) -> Profile:
    """The time of each kernel of a file known to run (`probe`); of each operator if asked, or if the former fails."""
    note = ""
    if by == "kernels":
        progress("running under LiteRT's profiler")
        try:
            return kernels(path)
        except UnavailableError as error:
            note = f"{error}; operators are timed individually instead"
    return replace(profile_operators(path, progress), note=note)


def profile_operators(path: Path, progress: Progress = silent, seconds: float = LIMIT_SECONDS) -> Profile:
    """`profile_tflite` of a file in a child process; raises `ModelError` when that dies or takes too long."""
    command = [sys.executable, "-m", "skerry_host.builder.runtime.profile.tflite", str(path.absolute())]
    env = children.environment()
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as child:
        assert child.stdout is not None
        timer = Timer(seconds, child.kill)
        timer.start()
        try:
            at, found = _follow(child.stdout, progress)
        finally:
            timer.cancel()
    if child.returncode or not found:
        hint = "time kernels instead: leave out --by"
        raise ModelError(f"operator {at} of {path} cannot be run alone: its process ended", hint=hint, code="crash")
    return msgspec.json.decode(found, type=Profile)


def _follow(lines: Iterable[str], progress: Progress) -> tuple[int, str]:
    """Which operator the child came to, and the profile that it printed, empty if it did not."""
    at, found = 0, ""
    for line in lines:
        if line.startswith("{"):
            found = line
        else:
            at, of = map(int, line.split())
            progress("timing operators", at, of)
    return at, found


def profile_tflite(data: bytes, progress: Progress = silent, clock: Clock = time.perf_counter) -> Profile:
    """The time of each operator of the main graph; `data` must be known to run (`probe`)."""
    model = read_model(data)
    graph = describe(model)
    whole = _time(data, clock)
    if whole is None:
        raise ModelError(
            "the model does not run on zeros", hint="`skerry model inspect` says more", code="does_not_run"
        )
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
        graph = describe(read_model(data))  # not the runtime's details: it refuses names that are not UTF-8
        interpreter = Interpreter(model_content=data, num_threads=1)
        interpreter.allocate_tensors()
        for tensor in (graph.tensors[index] for index in graph.inputs):
            interpreter.set_tensor(tensor.index, np.zeros(tensor.shape, tensor.dtype))
        return _median(interpreter.invoke, clock)
    except (RuntimeError, ValueError, TypeError):
        return None


def _median(run: Callable[[], None], clock: Clock) -> float:
    for _ in range(WARM):
        run()
    times: list[float] = []
    end = clock() + SECONDS
    while len(times) < MIN_RUNS or (len(times) < RUNS and clock() < end):
        start = clock()
        run()
        times.append(clock() - start)
    return median(times) * 1e6


def _name(text: str) -> str:
    return text.partition(";")[0]


def _child(path: Path) -> None:
    """What the child does: prints how far it is, then the profile as one line of JSON."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    found = profile_tflite(path.read_bytes(), lambda _step, done=0, of=0, /: print(done, of, flush=True))  # noqa: T201
    print(msgspec.json.encode(found).decode())  # noqa: T201  (the protocol)


if __name__ == "__main__":
    _child(Path(sys.argv[1]))
