"""Patches of other kinds than int8 TFLite beside generic delta tools, all in one run: floats, ONNX on integers, int4.

A small network is trained here on the project's own pictures and then tuned, by Adam, by SGD with momentum and in its
head alone; it is written as float32, float16 and bfloat16 ONNX, and quantized by ONNX Runtime's own tool. Beside it the
fashion model in float and with 4-bit weights, labels, and a file that did not change. Goals: never above the smallest
generic tool plus 64 bytes, and tuned floats at least 1.3 times below it. Measures no accuracy.
"""

import random
import sys
import tempfile
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
from goals import Goal, finish
from litert_quantizer import quantizer, recipe
from numpy.typing import NDArray
from onnx import TensorProto, helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_dynamic, quantize_static

from skerry_host.patch.bench import bench

FASHION = Path(__file__).parents[1] / "models" / "fashion"
ABOVE_GENERIC_BYTES, TIMES_SMALLER = 64, 1.3
WORDS = ["red", "old", "tall", "ash", "oak", "elm", "fir", "yew", "bay", "river"]
SIZES = (784, 160, 96, 10)
KINDS = {
    "float32": (TensorProto.FLOAT, np.float32),
    "float16": (TensorProto.FLOAT16, np.float16),
    "bfloat16": (TensorProto.BFLOAT16, ml_dtypes.bfloat16),
}

Floats = NDArray[np.float64]
Params = list[list[Floats]]  # weights and bias of each layer


def trained(params: Params, data: tuple[Floats, NDArray[np.int64]], steps: int, rate: float, **how: Any) -> Params:
    """`params` after some steps of Adam, or of SGD with momentum; `only` names the layers that learn."""
    made = [[each.copy() for each in layer] for layer in params]
    first, second = ([[np.zeros_like(each) for each in layer] for layer in params] for _ in range(2))
    rng = np.random.default_rng(1)
    for step in range(1, steps + 1):
        chosen = rng.integers(0, len(data[0]), 64)
        slopes = gradients(made, data[0][chosen], data[1][chosen])
        for layer, part in ((a, b) for a in how.get("only", range(len(made))) for b in range(2)):
            slope, mean, square = slopes[layer][part], first[layer][part], second[layer][part]
            mean += 0.1 * (slope - mean)
            square += 0.001 * (slope * slope - square)
            scale = np.sqrt(square / (1 - 0.999**step)) + 1e-7 if how.get("adam", True) else 0.1
            made[layer][part] -= rate * mean / scale
    return made


def gradients(params: Params, pictures: Floats, labels: NDArray[np.int64]) -> Params:
    """Of the cross entropy."""
    seen = [pictures]
    for number, (weights, bias) in enumerate(params):
        out = seen[-1] @ weights + bias
        seen.append(np.maximum(out, 0) if number + 1 < len(params) else out)
    odds = np.exp(seen[-1] - seen[-1].max(axis=1, keepdims=True))
    slope = odds / odds.sum(axis=1, keepdims=True)
    slope[np.arange(len(labels)), labels] -= 1
    found: Params = []
    for number in reversed(range(len(params))):
        found.insert(0, [seen[number].T @ slope / len(labels), slope.mean(axis=0)])
        slope = (slope @ params[number][0].T) * (seen[number] > 0)
    return found


def versions() -> tuple[Params, dict[str, Params], Floats]:
    """A network, what became of it by tuning, and pictures to calibrate with."""
    data = np.load(FASHION / "evaluation.npz")
    pictures, labels = data["inputs"].reshape(-1, 784) / 255.0, data["labels"].astype(np.int64)
    rng, half = np.random.default_rng(0), len(pictures) // 2
    start = [[rng.normal(0, np.sqrt(2 / a), (a, b)), np.zeros(b)] for a, b in pairwise(SIZES)]
    base = trained(start, (pictures[:half], labels[:half]), 1000, 1e-3)
    later = np.roll(pictures[half:], 1, axis=1), labels[half:]
    tuned = {
        "adam": trained(base, later, 200, 1e-4),
        "adam_few_steps": trained(base, later, 60, 1e-5),
        "sgd": trained(base, later, 30, 1e-3, adam=False),
        "head": trained(base, later, 100, 1e-4, only=[2]),
    }
    return base, tuned, pictures


def onnx(params: Params, kind: str) -> bytes:
    """The network in `kind` of floats."""
    number, dtype = KINDS[kind]
    nodes, constants, last = [], [], "x"
    for layer, parts in enumerate(params):
        for name, values in zip((f"w{layer}", f"b{layer}"), parts, strict=True):
            raw = np.ascontiguousarray(values.astype(dtype)).tobytes()
            constants.append(TensorProto(name=name, dims=values.shape, data_type=number, raw_data=raw))
        nodes.append(helper.make_node("Gemm", [last, f"w{layer}", f"b{layer}"], [f"h{layer}"]))
        nodes.append(helper.make_node("Relu", [f"h{layer}"], [f"r{layer}"]))
        last = f"r{layer}"
    ends = [helper.make_tensor_value_info(name, number, ["N", size]) for name, size in (("x", 784), (last, 10))]
    graph = helper.make_graph(nodes, "net", ends[:1], ends[1:], constants)
    return bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]).SerializeToString())


class Pictures(CalibrationDataReader):  # type: ignore[misc]
    """Some pictures, as ONNX Runtime's quantizer asks for them."""

    def __init__(self, pictures: Floats) -> None:
        self._batches = iter(np.split(pictures[:500].astype(np.float32), 10))

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        """The next batch."""
        batch = next(self._batches, None)
        return None if batch is None else {"x": batch}


def pairs(folder: Path) -> Iterator[tuple[str, Path, Path, bool]]:
    """Yield name, old file, new file, and whether they are tuned floats."""
    base, tuned, pictures = versions()
    quantizers: dict[str, Callable[[Path, Path], object]] = {
        "dynamic": lambda source, made: quantize_dynamic(source, made, per_channel=True),
        "qoperator": lambda source, made: quantize_static(
            source, made, Pictures(pictures), quant_format=QuantFormat.QOperator, per_channel=True
        ),
    }

    def written(name: str, data: bytes) -> Path:
        (folder / name).write_bytes(data)
        return folder / name

    def quantized(name: str, source: Path, how: str) -> Path:
        quantizers[how](source, folder / name)
        return folder / name

    for change, params in tuned.items():
        for kind in KINDS:
            old, new = written("old.onnx", onnx(base, kind)), written("new.onnx", onnx(params, kind))
            yield f"{kind}_{change}", old, new, change != "head"
        sources = [written(f"{name}.onnx", onnx(each, "float32")) for name, each in (("a", base), ("b", params))]
        for how in quantizers:
            yield f"{how}_{change}", *(quantized(f"{s.stem}.{how}.onnx", s, how) for s in sources), False
    floats = [FASHION / f"fashion-{version}.tflite" for version in ("1.0.0", "1.1.0")]
    yield "fashion_float32", *floats, True
    four = [quantizer.Quantizer(str(path), recipe.dynamic_wi4_afp32()).quantize().quantized_model for path in floats]
    yield "fashion_int4", *(written(f"{i}.tflite", bytes(data)) for i, data in enumerate(four)), False
    yield "unchanged", floats[0], written("same.tflite", floats[0].read_bytes()), False
    names = [" ".join(random.Random(seed).sample(WORDS, 3)) for seed in range(900)]
    texts = [names, [*names[:400], "rowan", *names[400:]], random.Random(1).sample(names, len(names))]
    label = [written(f"{i}.txt", "\n".join(text).encode()) for i, text in enumerate(texts)]
    yield "labels_one_more", label[0], label[1], False
    yield "labels_in_another_order", label[0], label[2], False


def main() -> None:
    """Measure all pairs, or those whose names begin with a word of the command line."""
    goals, details, chosen = [], {}, tuple(sys.argv[1:]) or ("",)
    with tempfile.TemporaryDirectory(prefix="skerry-kinds-") as folder:
        for name, old, new, floats in pairs(Path(folder)):
            if not name.startswith(chosen):
                continue
            found = bench(old, new).as_json()
            details[name] = {tool: row["bytes"] for tool, row in found["tools"].items()} | {"codec": found["codec"]}
            own, best = details[name]["skerry"], found["best_generic"]
            peer = f"{details[name][best]} {best}"
            goals.append(Goal(f"{name}", own, details[name][best] + ABOVE_GENERIC_BYTES, "bytes", peer=peer))
            if floats:
                times = found["times_smaller_than_best_generic"]
                goals.append(Goal(f"{name}: smaller than the best generic", times, TIMES_SMALLER, "times", ">="))
    finish("patch_kinds", goals, details)


if __name__ == "__main__":
    main()
