"""What making patches costs as files grow: the files, and one measured run in a process of its own.

`python benchmarks/delta.py --growth` runs it. The files are made here, from fixed seeds: an int8 TFLite model and its
fine-tuned form, plain weights of which 2 % change by one, and two files that share nothing.
`python -m delta_growth TOOL OLD NEW PATCH` makes one patch and prints its cost as JSON.
"""

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from skerry_host.patch.peers import GENERIC, PEERS

SIZES_MB = (0.3, 1, 4, 16, 64, 200)
SIDE = 512
PEER_LIMIT_S = 120.0


@dataclass(frozen=True)
class Cost:
    """One patch: its size, the seconds it took, and the peak of memory beyond what the process began with."""

    bytes: int
    cpu_s: float
    wall_s: float
    memory_bytes: int


def tuned(megabytes: float, folder: Path) -> tuple[Path, Path]:
    """A model of fully connected layers of 512 x 512 weights, and the same after some training."""
    rng = np.random.default_rng(1)
    count = max(1, round(megabytes * 1e6 / SIDE**2))
    before, after = [], []
    for _ in range(count):
        weights = (rng.laplace(0, 1, (SIDE, SIDE)) * rng.uniform(0.3, 1.5, (SIDE, 1))).astype(np.float32)
        bias = rng.integers(-3000, 3000, SIDE).astype(np.int32)
        before.append(_quantized(weights, bias))
        moved = weights + rng.normal(0, 0.05, weights.shape).astype(np.float32)
        after.append(_quantized(moved, bias + rng.integers(-30, 30, SIDE).astype(np.int32)))
    scales = rng.uniform(0.01, 0.1, count + 1).astype(np.float32)
    shifted = scales * (1 + rng.normal(0, 0.01, count + 1)).astype(np.float32)
    return _kept(folder, _model(before, scales), _model(after, shifted))


def scattered(megabytes: float, folder: Path) -> tuple[Path, Path]:
    """Weights without a model around them, of which 2 % move by one."""
    rng = np.random.default_rng(2)
    old = rng.normal(0, 20, int(megabytes * 1e6)).astype(np.int8).view(np.uint8)
    return _kept(folder, old.tobytes(), (old + (rng.random(len(old)) < 0.02)).astype(np.uint8).tobytes())


def nearly_equal(megabytes: float, folder: Path) -> tuple[Path, Path]:
    """The same bytes but for a few hundred, and a kilobyte put in."""
    rng = np.random.default_rng(3)
    old = rng.normal(0, 20, int(megabytes * 1e6)).astype(np.int8).view(np.uint8)
    new = old.copy()
    new[rng.integers(0, len(new), 300)] += 1
    middle = len(new) // 2
    return _kept(folder, old.tobytes(), new[:middle].tobytes() + rng.bytes(1000) + new[middle:].tobytes())


def unlike(megabytes: float, folder: Path) -> tuple[Path, Path]:
    """Two files of random bytes."""
    rng = np.random.default_rng(4)
    return _kept(folder, rng.bytes(int(megabytes * 1e6)), rng.bytes(int(megabytes * 1e6)))


KINDS: dict[str, Callable[[float, Path], tuple[Path, Path]]] = {
    "tuned": tuned,
    "scattered": scattered,
    "nearly_equal": nearly_equal,
    "unlike": unlike,
}


def costs(old: Path, new: Path, folder: Path) -> dict[str, Cost | str]:
    """The cost of Skerry's patch and of each generic tool's that ends in time."""
    found: dict[str, Cost | str] = {}
    for peer in (peer for peer in PEERS if peer.installed and peer.name in {"skerry", *GENERIC}):
        limit = None if peer.name == "skerry" else PEER_LIMIT_S
        command = [sys.executable, __file__, peer.name, old, new, folder / "patch"]
        try:
            done = subprocess.run([str(word) for word in command], check=True, capture_output=True, timeout=limit)
            found[peer.name] = Cost(**json.loads(done.stdout))
        except subprocess.TimeoutExpired:
            found[peer.name] = f"did not end in {PEER_LIMIT_S:.0f} s"
        except subprocess.CalledProcessError as error:
            found[peer.name] = f"failed: {error.stderr.decode().strip().splitlines()[-1:]}"
    return found


def _kept(folder: Path, *contents: bytes) -> tuple[Path, Path]:
    paths = folder / "old", folder / "new"
    for path, data in zip(paths, contents, strict=True):
        path.write_bytes(data)
    return paths


def _quantized(weights: np.ndarray, bias: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    scale = (np.abs(weights).max(axis=1) / 127).astype(np.float32)
    return np.clip(np.rint(weights / scale[:, None]), -127, 127).astype(np.int8), bias, scale


def _model(layers: list[tuple[np.ndarray, np.ndarray, np.ndarray]], scales: np.ndarray) -> bytes:
    model, graph = schema.ModelT(), schema.SubGraphT()
    model.version, model.buffers, graph.tensors, graph.operators = 3, [schema.BufferT()], [], []
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.FULLY_CONNECTED
    model.operatorCodes = [code]
    at = _tensor(model, graph, "in", None, (1, SIDE), scales[:1])
    graph.inputs = [at]
    for number, (weights, bias, scale) in enumerate(layers):
        made = schema.OperatorT()
        parts = (
            _tensor(model, graph, f"w{number}", weights, weights.shape, scale),
            _tensor(model, graph, f"b{number}", bias, bias.shape, (scale * scales[number]).astype(np.float32)),
        )
        made.inputs = [at, *parts]
        at = _tensor(model, graph, f"y{number}", None, (1, SIDE), scales[number + 1 : number + 2])
        made.outputs, made.builtinOptionsType = [at], schema.BuiltinOptions.FullyConnectedOptions
        made.builtinOptions = schema.FullyConnectedOptionsT()
        graph.operators.append(made)
    graph.outputs, model.subgraphs = [at], [graph]
    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _tensor(
    model: Any, graph: Any, name: str, data: np.ndarray | None, shape: tuple[int, ...], scale: np.ndarray
) -> int:
    tensor, quantization = schema.TensorT(), schema.QuantizationParametersT()
    tensor.name, tensor.shape, tensor.buffer = name.encode(), list(shape), 0
    tensor.type = schema.TensorType.INT32 if data is not None and data.dtype == np.int32 else schema.TensorType.INT8
    quantization.scale, quantization.zeroPoint = scale, np.zeros(len(scale), np.int64)
    tensor.quantization = quantization
    if data is not None:
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(data.tobytes(), np.uint8)
        model.buffers.append(buffer)
        tensor.buffer = len(model.buffers) - 1
    graph.tensors.append(tensor)
    return len(graph.tensors) - 1


def main() -> None:
    """Make one patch and print what it cost."""
    name, old, new, patch = sys.argv[1], *map(Path, sys.argv[2:])
    peer = next(peer for peer in PEERS if peer.name == name)
    before, cpu, wall = _peak(), os.times(), time.perf_counter()
    peer.make(old, new, patch)
    spent = os.times()
    cpu_s = sum(spent[:4]) - sum(cpu[:4])
    figures = (patch.stat().st_size, round(cpu_s, 3), round(time.perf_counter() - wall, 3), _peak() - before)
    print(json.dumps(dict(zip(Cost.__dataclass_fields__, figures, strict=True))))


def _peak() -> int:
    """The peak resident set of this process, or of a tool that it ran where that had more.

    Not ru_maxrss of the process itself: that starts with what the parent had when it forked.
    """
    status = Path("/proc/self/status").read_text(encoding="ascii")
    own = int(status.split("VmHWM:")[1].split()[0])
    return 1024 * max(own, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)


if __name__ == "__main__":
    main()
