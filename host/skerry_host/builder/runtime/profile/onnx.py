"""Times the operators of an ONNX model with onnxruntime's own profiler, in a child process: the file is not trusted."""

import json
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from statistics import median
from typing import Any

import msgspec

from skerry_host import children
from skerry_host.builder.recipe.errors import ModelError
from skerry_host.builder.runtime.profile.result import OpTime, Profile

RUNS, WARM = 50, 3
SECONDS = 120
MISSING = 3
"""The child's exit code where onnxruntime is not installed."""


def profile_onnx(path: Path, python: str = sys.executable) -> Profile:
    """The time of each node, from a child `python`; raises `ModelError` (extra, hang, does_not_run)."""
    command = [python, "-m", "skerry_host.builder.runtime.profile.onnx", str(path.absolute())]
    with tempfile.TemporaryDirectory() as folder:
        try:
            done = subprocess.run(
                command,
                cwd=folder,
                env=children.environment(),
                capture_output=True,
                text=True,
                timeout=SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise ModelError(f"profiling {path} timed out after {SECONDS} s", code="hang") from None
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode == MISSING:
        hint = "pip install 'skerry-host[onnx]'"
        raise ModelError("profiling ONNX needs onnxruntime, which is not installed", hint=hint, code="extra")
    if done.returncode or not lines:
        last = (done.stderr.strip().splitlines() or ["no output"])[-1][:200]
        raise ModelError(f"{path} does not run: {last}", hint="fix open sizes and check the file", code="does_not_run")
    return msgspec.json.decode(lines[-1], type=Profile)


def aggregate(events: list[dict[str, Any]], runs: int, runtime: str) -> Profile:
    """A profile of onnxruntime's events: the median of each node's kernel, and of the whole run, without warm runs."""
    kernels: dict[str, list[float]] = defaultdict(list)
    kinds: dict[str, str] = {}
    whole: list[float] = []
    for event in events:
        name = str(event.get("name", ""))
        if event.get("cat") == "Node" and name.endswith("_kernel_time"):
            node = name.removesuffix("_kernel_time")
            kernels[node].append(float(event["dur"]))
            kinds[node] = str(event.get("args", {}).get("op_name", "?"))
        elif event.get("cat") == "Session" and name == "model_run":
            whole.append(float(event["dur"]))
    ops = tuple(
        OpTime(at, kinds[node], node, median(times[-runs:])) for at, (node, times) in enumerate(kernels.items())
    )
    return Profile("onnxruntime", runtime, runs, median(whole[-runs:]) if whole else 0.0, ops)


def _child(path: Path) -> None:
    """Load the model, run it on zeros, print its profile as one line of JSON. Writes in the working directory."""
    try:
        import numpy as np  # noqa: PLC0415  (the child's)
        import onnxruntime as ort  # noqa: PLC0415  (an extra)
    except ImportError:
        sys.exit(MISSING)
    options = ort.SessionOptions()
    options.enable_profiling, options.log_severity_level = True, 4
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    kinds = {"tensor(float)": np.float32, "tensor(uint8)": np.uint8, "tensor(int8)": np.int8, "tensor(int64)": np.int64}
    feeds = {
        node.name: np.zeros(
            [n if isinstance(n, int) and n > 0 else 1 for n in node.shape], kinds.get(node.type, np.float32)
        )
        for node in session.get_inputs()
    }
    for _ in range(WARM + RUNS):
        session.run(None, feeds)
    events = json.loads(Path(session.end_profiling()).read_text("utf-8"))
    found = aggregate(events, RUNS, f"onnxruntime {ort.__version__}, 1 thread")
    print(msgspec.json.encode(found).decode())  # noqa: T201  (the protocol)


if __name__ == "__main__":
    _child(Path(sys.argv[1]))
