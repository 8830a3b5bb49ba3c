"""What a runtime costs a device: runners on litert and on tflite-runtime, in turns, with one bundle.

Start is from the runner's exec until it has proven the model (hash, load, 8 golden inputs, warm); load and memory are
what it reports itself; latency is its median over --seconds of golden inputs at RATE_HZ. One thread; medians of --runs.
tflite-runtime needs its own environment (scripts/setup-coral). Which one is better is a question for each board, so the
goal is only that both serve every model; the figures are in the details. Measures no Edge TPU.
"""

import argparse
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NoReturn

from goals import Goal, finish, skip
from msgspec.structs import replace
from real_bundle import MOBILENET_V1, MOBILENET_V2, lay_bundle

from skerry_agent.ports import runner_protocol
from skerry_agent.wire import codec
from skerry_agent.wire.engines import EngineName
from skerry_agent.wire.manifest import Golden
from skerry_agent.wire.sketch import Sketch

ROOT = Path(__file__).parents[1]
CORAL = ROOT / ".venv" / "coral" / "bin" / "python"
PYTHONS: dict[EngineName, Path] = {"litert": Path(sys.executable), "tflite_runtime": CORAL}
RATE_HZ = 5.0
ANY = Golden(max_lsb=255, min_top1=0.0)
"""The two round differently, and neither is judged here."""


def run(job: runner_protocol.Job, seconds: float) -> dict[str, Any]:
    """One runner's life; what it says of itself."""
    control, theirs = socket.socketpair()
    began = time.perf_counter()
    command = [PYTHONS[job.engine], "-m", "skerry_agent.runner", "--control-fd", str(theirs.fileno())]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "agent")}
    with subprocess.Popen(command, pass_fds=[theirs.fileno()], stderr=subprocess.DEVNULL, env=environment) as child:
        theirs.close()
        lines = control.makefile("rb")
        control.sendall(codec.encode(job) + b"\n")
        loaded = _next(lines, runner_protocol.Loaded)
        _next(lines, runner_protocol.Ready)
        start_s = time.perf_counter() - began
        control.sendall(codec.encode(runner_protocol.Accept(exercise_hz=RATE_HZ)) + b"\n")
        heartbeats = [_next(lines, runner_protocol.Heartbeat) for _ in range(max(2, round(seconds)))]
        child.kill()
    latency = Sketch()
    for heartbeat in heartbeats:
        latency = latency.merged(heartbeat.latency)
    return {
        "engine": f"{loaded.engine} {loaded.engine_version}",
        "delegate": loaded.delegate,
        "start_s": start_s,
        "load_ms": loaded.load_us / 1000,
        "rss_mb": heartbeats[-1].rss_bytes / 2**20,
        "p50_ms": (latency.quantile(0.5) or 0.0) / 1000,
    }


def _next(lines: Any, kind: type[Any]) -> Any:
    """The next message of a kind; others are passed over."""
    for line in lines:
        message = codec.decode(line, runner_protocol.FromRunner)  # type: ignore[arg-type]
        if isinstance(message, kind):
            return message
    raise EOFError("the runner has refused, or died")


def compare(model: Path, runs: int, seconds: float) -> list[dict[str, Any]]:
    """Both runtimes on one model, in turns; medians."""
    with tempfile.TemporaryDirectory() as folder:
        bundle, _ = lay_bundle(Path(folder), model)
        job = runner_protocol.Job("mobilenet", "mobilenet@1.0.0", folder, replace(bundle, golden=ANY))
        rows = [run(replace(job, engine=engine), seconds) for _ in range(runs) for engine in PYTHONS]
    return [
        _median([row for row in rows if row["engine"] == name]) for name in dict.fromkeys(r["engine"] for r in rows)
    ]


def _median(rows: list[dict[str, Any]]) -> dict[str, Any]:
    numbers = ("start_s", "load_ms", "rss_mb", "p50_ms")
    return rows[0] | {key: round(statistics.median(row[key] for row in rows), 2) for key in numbers}


def main() -> NoReturn:
    """Measure both on every model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5.0, help="how long each runner serves")
    arguments = parser.parse_args()
    missing = [str(path) for path in (CORAL, MOBILENET_V1, MOBILENET_V2) if not path.exists()]
    if missing:
        skip("engines", f"missing: {', '.join(missing)}")
    models = {path.stem: compare(path, arguments.runs, arguments.seconds) for path in (MOBILENET_V1, MOBILENET_V2)}
    served = sum(row["p50_ms"] > 0 for rows in models.values() for row in rows)
    goal = Goal("runtimes that serve a model", served, len(PYTHONS) * len(models), "of runtimes x models", ">=")
    finish("engines", [goal], {"models": models})


if __name__ == "__main__":
    main()
