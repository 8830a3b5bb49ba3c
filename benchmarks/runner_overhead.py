"""What the runner costs over a bare Interpreter: time per inference and memory, on MobileNetV2 224 int8. Prints JSON.

Time: the runner's own path (`Inference.infer`: lock, timing, NaN check, answer, notes) and a bare Interpreter loop take
turns in one process on the same input, in an order that alternates; the extra is the median of the paired differences
(`extra_cpu_us`: in CPU time, for a busy machine). Both use the same Interpreter: two would differ by where their memory
happens to lie. Goals: at most 30 us and a ratio of 1.02. Memory: a real runner process that has proven and served the
model, beside a bare Python process that ran it. Goal: 60 MB resident. Measures no HTTP and no supervisor.
"""

import argparse
import gc
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter, thread_time
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from skerry_agent.processing import Array, GoldenSet, save_golden
from skerry_agent.runner import protocol
from skerry_agent.runner.engines import open_engine
from skerry_agent.runner.engines.tflite import TfliteEngine
from skerry_agent.runner.inference import Inference
from skerry_agent.wire import codec
from skerry_agent.wire.blobs import describe
from skerry_agent.wire.manifest import Artifact, Bundle

MODELS = Path(os.environ.get("SKERRY_REAL_MODELS", Path(__file__).parents[2] / "shared" / "models"))
MODEL = MODELS / "edgetpu" / "mobilenet_v2_1.0_224_quant.tflite"
GOLDEN_SAMPLES = 8
WARM_PAIRS = 20
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
    engine = TfliteEngine(interpreter)
    artifact = Artifact(MODEL.name, "model", describe(b""))
    bundle = Bundle("cpu", (artifact,), engine.inputs, engine.outputs, task="classification")
    runner, bare = Inference(engine, bundle), Bare(interpreter)
    sample = np.random.default_rng(1).integers(0, 256, engine.inputs[0].shape, np.uint8)
    assert np.array_equal(runner.infer([sample])[0], bare.infer(sample))
    gc.collect()
    ours, theirs = [], []
    for i in range(pairs + WARM_PAIRS):
        for mine in (i % 2 == 0, i % 2 == 1):
            wall, cpu = perf_counter(), thread_time()
            if mine:
                runner.infer([sample])
            else:
                bare.infer(sample)
            (ours if mine else theirs).append(((perf_counter() - wall) * 1e6, (thread_time() - cpu) * 1e6))
    both = list(zip(ours, theirs, strict=True))[WARM_PAIRS:]
    bare_us, runner_us = (statistics.median(pair[side][0] for pair in both) for side in (1, 0))
    return {
        "pairs": pairs,
        "bare_us": round(bare_us, 1),
        "runner_us": round(runner_us, 1),
        "extra_us": round(statistics.median(mine[0] - other[0] for mine, other in both), 1),
        "extra_cpu_us": round(statistics.median(mine[1] - other[1] for mine, other in both), 1),
        "ratio": round(runner_us / bare_us, 4),
    }


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
            control.sendall(codec.encode(job) + b"\n" + codec.encode(protocol.Accept(exercise_hz=50)) + b"\n")
            served = 0
            while served < 100:
                message: Any = codec.decode(lines.readline(), protocol.FromRunner)  # type: ignore[arg-type]
                served += message.inferences if isinstance(message, protocol.Beat) else 0
            memory = _megabytes(child.pid)
            control.sendall(codec.encode(protocol.Stop()) + b"\n")
    return memory


def _job(folder: Path, listen_fd: int) -> protocol.Job:
    (folder / MODEL.name).write_bytes(MODEL.read_bytes())
    engine = open_engine("litert", str(MODEL), 1)
    inputs = np.random.default_rng(1).integers(0, 256, (GOLDEN_SAMPLES, *engine.inputs[0].shape[1:]), np.uint8)
    outputs = np.concatenate([engine.infer([sample[np.newaxis]])[0] for sample in inputs])
    (folder / "golden.npz").write_bytes(save_golden(GoldenSet((inputs,), (outputs,))))
    artifacts = (Artifact(MODEL.name, "model", describe(b"")), Artifact("golden.npz", "golden", describe(b"")))
    bundle = Bundle("cpu", artifacts, engine.inputs, engine.outputs, task="classification")
    return protocol.Job("mobilenet", "mobilenet@1.0.0", str(folder), bundle, listen_fd=listen_fd)


def _megabytes(pid: int) -> dict[str, float]:
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    kilobytes = {words[0]: int(words[1]) for words in map(str.split, rollup.splitlines()[1:])}
    return {"rss_mb": round(kilobytes["Rss:"] / 1024, 1), "pss_mb": round(kilobytes["Pss:"] / 1024, 1)}


def main() -> None:
    """Measure both and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=1000)
    arguments = parser.parse_args()
    if not MODEL.exists():
        print(json.dumps({"benchmark": "runner_overhead", "skipped": f"no model at {MODEL}: set SKERRY_REAL_MODELS"}))
        return
    time, memory = measure_time(arguments.pairs), measure_memory()
    ok = time["extra_us"] <= 30 and time["ratio"] <= 1.02 and memory["runner"]["rss_mb"] <= 60
    goals = {"extra_us": 30, "ratio": 1.02, "runner_rss_mb": 60}
    print(json.dumps({"benchmark": "runner_overhead", "time": time, "memory": memory, "goals": goals, "ok": ok}))


if __name__ == "__main__":
    main()
