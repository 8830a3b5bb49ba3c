"""What the runner costs over a bare Interpreter: time per inference and memory, on MobileNetV2 224 int8. Prints JSON.

Time: the runner's path (`Inference.infer`: engine, lock, timing, NaN check, answer, notes) and a bare Interpreter loop
take turns in one process on the same input, in an order that alternates. The extra is taken of CPU time, in the least
disturbed tenth of each (`*_us`): the two are different models in memory, and a wait for the core, or a cache that
another process has emptied, is neither's. `runner_alone_us` is what the path adds to the runner's own engine. Memory:
a real runner process that has proven and served the model, beside a bare Python process that ran it. Measures no HTTP
(socket_overhead.py does) and no supervisor.
"""

import argparse
import gc
import socket
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from time import thread_time
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from goals import Goal, finish, skip
from real_bundle import INTERPRETER, MOBILENET_V2, lay_bundle

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
    """CPU microseconds per inference of both, and their difference."""
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
    ways = (lambda: runner.infer([tensor]), lambda: bare.infer(sample), lambda: engine.infer([tensor]))
    rounds = _take_turns(ways, pairs + WARM_PAIRS)[WARM_PAIRS:]
    ours, theirs, alone = map(_quiet, zip(*rounds, strict=True))
    return {
        "pairs": pairs,
        "runner_us": round(ours, 1),
        "bare_us": round(theirs, 1),
        "extra_us": round(ours - theirs, 1),
        "ratio": round(ours / theirs, 4),
        "runner_alone_us": round(ours - alone, 1),
    }


def _take_turns(ways: Sequence[Callable[[], Any]], rounds: int) -> list[list[float]]:
    """CPU microseconds of each way in each round, the first one first, then another."""
    taken = []
    for i in range(rounds):
        order = [(i + k) % len(ways) for k in range(len(ways))]
        times = {k: _time(ways[k]) for k in order}
        taken.append([times[k] for k in range(len(ways))])
    return taken


def _time(call: Callable[[], Any]) -> float:
    began = thread_time()
    call()
    return (thread_time() - began) * 1e6


def _quiet(times: Sequence[float]) -> float:
    return statistics.quantiles(times, n=10)[0]


def measure_memory() -> dict[str, dict[str, float]]:
    """Resident and proportional megabytes of a bare process and of a runner, each after it ran the model."""
    return {"bare": _memory_of_bare(), "runner": _memory_of_runner()}


def _memory_of_bare() -> dict[str, float]:
    with subprocess.Popen(
        [sys.executable, "-c", INTERPRETER, str(MODEL)],
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
