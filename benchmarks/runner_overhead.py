"""What the runner costs over a bare Interpreter: time per inference and memory, on MobileNetV2 224 int8. Prints JSON.

Time: the runner's own path (`Inference.infer`: lock, timing, NaN check, answer, notes) and a bare Interpreter loop take
turns in one process on the same input, in an order that alternates; the extra is the median of the paired differences
(`extra_cpu_us`: in CPU time). Pairs in which another process got the core are left out. Memory: a real runner process
that has proven and served the model, beside a bare Python process that ran it. Measures no HTTP (socket_overhead.py
does) and no supervisor.
"""

import argparse
import gc
import resource
import socket
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter, thread_time
from typing import Any, NamedTuple

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from goals import Goal, finish, skip
from real_bundle import MOBILENET_V2, lay_bundle

from skerry_agent.ports import runner_protocol
from skerry_agent.processing import Array
from skerry_agent.runner.arrays import from_array
from skerry_agent.runner.engines import ModelFile, open_engine
from skerry_agent.runner.inference import Inference
from skerry_agent.wire import codec
from skerry_agent.wire.blobs import describe
from skerry_agent.wire.manifest import Artifact, Bundle

MODEL = MOBILENET_V2
WARM_PAIRS = 20
MIN_QUIET_PAIRS = 100
BARE = """
import sys, numpy
from ai_edge_litert.interpreter import Interpreter
model = Interpreter(sys.argv[1], num_threads=1)
model.allocate_tensors()
detail = model.get_input_details()[0]
model.set_tensor(detail["index"], numpy.zeros(detail["shape"], detail["dtype"]))
model.invoke()
print("ready", flush=True)
sys.stdin.readline()
"""


class Bare:
    """The peer: what anybody would write around the Interpreter."""

    def __init__(self, model: Interpreter) -> None:
        self._model = model
        self._input = model.get_input_details()[0]["index"]
        self._output = model.get_output_details()[0]["index"]

    def infer(self, tensor: Array) -> Array:
        """Set, invoke, get."""
        self._model.set_tensor(self._input, tensor)
        self._model.invoke()
        output: Array = self._model.get_tensor(self._output)
        return output


def measure_time(pairs: int) -> dict[str, float]:
    """Microseconds per inference of both, and their paired difference."""
    interpreter = Interpreter(str(MODEL), num_threads=1)
    interpreter.allocate_tensors()
    engine = open_engine("litert", ModelFile(str(MODEL)))
    artifact = Artifact(MODEL.name, "model", describe(b""))
    bundle = Bundle("cpu", (artifact,), engine.inputs, engine.outputs, task="classification")
    runner, bare = Inference(engine, bundle), Bare(interpreter)
    sample = np.random.default_rng(1).integers(0, 256, engine.inputs[0].shape, np.uint8)
    tensor = from_array(sample)
    assert runner.infer([tensor])[0].data == bare.infer(sample).tobytes()
    gc.collect()
    both = _take_turns(lambda: runner.infer([tensor]), lambda: bare.infer(sample), pairs + WARM_PAIRS)[WARM_PAIRS:]
    quiet = [pair for pair in both if not any(timing.disturbed for timing in pair)]
    quiet = quiet if len(quiet) >= MIN_QUIET_PAIRS else both
    return {
        "pairs": len(both),
        "quiet_pairs": len(quiet),
        "bare_us": round(statistics.median(theirs.wall_us for _, theirs in quiet), 1),
        "runner_us": round(statistics.median(ours.wall_us for ours, _ in quiet), 1),
        "extra_us": round(statistics.median(ours.wall_us - theirs.wall_us for ours, theirs in quiet), 1),
        "extra_cpu_us": round(statistics.median(ours.cpu_us - theirs.cpu_us for ours, theirs in quiet), 1),
        "ratio": round(statistics.median(ours.wall_us / theirs.wall_us for ours, theirs in quiet), 4),
    }


class Timing(NamedTuple):
    """One inference; `disturbed` when the kernel gave its core to somebody else meanwhile."""

    wall_us: float
    cpu_us: float
    disturbed: bool


def _take_turns(ours: Callable[[], Any], theirs: Callable[[], Any], pairs: int) -> list[tuple[Timing, Timing]]:
    """Both once per pair, first one first, then the other."""
    timings = []
    for i in range(pairs):
        if i % 2:
            timings.append((_time(ours), _time(theirs)))
        else:
            second = _time(theirs)
            timings.append((_time(ours), second))
    return timings


def _time(call: Callable[[], Any]) -> Timing:
    switches = _preempted()
    wall, cpu = perf_counter(), thread_time()
    call()
    wall, cpu = perf_counter() - wall, thread_time() - cpu
    return Timing(wall * 1e6, cpu * 1e6, _preempted() != switches)


def _preempted() -> int:
    return resource.getrusage(resource.RUSAGE_THREAD).ru_nivcsw


def measure_memory() -> dict[str, dict[str, float]]:
    """Resident and proportional megabytes of a bare process and of a runner, each after it ran the model."""
    return {"bare": _memory_of_bare(), "runner": _memory_of_runner()}


def _memory_of_bare() -> dict[str, float]:
    with subprocess.Popen(
        [sys.executable, "-c", BARE, str(MODEL)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()
        memory = _megabytes(child.pid)
        child.communicate()
    return memory


def _memory_of_runner() -> dict[str, float]:
    control, theirs = socket.socketpair()
    with tempfile.TemporaryDirectory() as folder, socket.create_server(("127.0.0.1", 0)) as listener:
        job = _job(Path(folder), listener.fileno())
        command = [sys.executable, "-m", "skerry_agent.runner", "--control-fd", str(theirs.fileno())]
        with (
            subprocess.Popen(
                command, pass_fds=(theirs.fileno(), listener.fileno()), stderr=subprocess.DEVNULL
            ) as child,
            control,
            control.makefile("rb") as lines,
        ):
            theirs.close()
            control.sendall(codec.encode(job) + b"\n" + codec.encode(runner_protocol.Accept(exercise_hz=50)) + b"\n")
            served = 0
            while served < 100:
                message: Any = codec.decode(lines.readline(), runner_protocol.FromRunner)  # type: ignore[arg-type]
                served += message.inferences if isinstance(message, runner_protocol.Heartbeat) else 0
            memory = _megabytes(child.pid)
            control.sendall(codec.encode(runner_protocol.Stop()) + b"\n")
    return memory


def _job(folder: Path, listen_fd: int) -> runner_protocol.Job:
    bundle, _ = lay_bundle(folder, MODEL)
    return runner_protocol.Job("mobilenet", "mobilenet@1.0.0", str(folder), bundle, listen_fd=listen_fd)


def _megabytes(pid: int) -> dict[str, float]:
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    kilobytes = {words[0]: int(words[1]) for words in map(str.split, rollup.splitlines()[1:])}
    return {"rss_mb": round(kilobytes["Rss:"] / 1024, 1), "pss_mb": round(kilobytes["Pss:"] / 1024, 1)}


def main() -> None:
    """Measure both; ends by the goals."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=1000)
    arguments = parser.parse_args()
    if not MODEL.exists():
        skip("runner_overhead", f"no model at {MODEL}: set SKERRY_REAL_MODELS")
    time, memory = measure_time(arguments.pairs), measure_memory()
    bare = f"a bare Interpreter takes {time['bare_us']:g} us"
    peer = f"Python with the Interpreter that ran the model: {memory['bare']['rss_mb']:g}"
    goals = [
        Goal("extra time of an inference", time["extra_us"], 30, "us", peer=bare),
        Goal("time of an inference over that of a bare Interpreter", time["ratio"], 1.02, ""),
        Goal("resident memory of a runner", memory["runner"]["rss_mb"], 36, "MB", peer=peer),
    ]
    finish("runner_overhead", goals, {"time": time, "memory": memory})


if __name__ == "__main__":
    main()
