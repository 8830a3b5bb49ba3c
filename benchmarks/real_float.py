"""A float MobileNetV2 with learnt weights, and labelled pictures for it, where no TensorFlow is: for the benchmarks.

The float model is the published uint8 one with every tensor as the real numbers that its integers stand for. The
pictures are cut from photographs at seeded places; each has its photograph's class. Downloads nothing.
"""

import struct
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from real_bundle import MOBILENET_V2, MODELS

from skerry_host.builder.modelfile.tflite import read_model, write_model

SIZE = 224
PHOTOGRAPHS = {"grace_hopper.bmp": 653, "sunflower.bmp": 986}
"""What ImageNet's labels, with "background" as 0, call them: military uniform; daisy comes closest to a sunflower."""
SMALLEST, LIGHT = 0.8, (0.8, 1.2)


def missing() -> str:
    """What of the files is absent; empty if all are there."""
    files = [MOBILENET_V2, *(MODELS / "vision" / name for name in PHOTOGRAPHS)]
    absent = [str(file) for file in files if not file.is_file()]
    return f"no {', '.join(absent)}: set SKERRY_REAL_MODELS" if absent else ""


def float_model(quantized: bytes) -> bytes:
    """The same network in float32, its input and output included."""
    model = read_model(quantized)
    (main,) = model.subgraphs
    for operator in main.operators:
        if main.tensors[operator.outputs[0]].name.endswith(b"Relu6"):  # in integers the output's range is the clipping
            operator.builtinOptions.fusedActivationFunction = schema.ActivationFunctionType.RELU6
    for tensor in main.tensors:
        _to_float(tensor, model.buffers)
    return write_model(model)


def kernels(model: bytes) -> dict[str, np.ndarray[Any, Any]]:
    """Weights (out, height, width, in) and biases of a float model's layers, as `w0`, `b0`, `w1`..., in their order."""
    read = read_model(model)
    (main,) = read.subgraphs
    found: dict[str, np.ndarray[Any, Any]] = {}
    layers = [op for op in main.operators if len(op.inputs) == 3 and main.tensors[op.inputs[2]].shape.size == 1]
    for number, layer in enumerate(layers):
        for name, index in zip("wb", layer.inputs[1:], strict=True):
            tensor = main.tensors[index]
            values = np.frombuffer(bytes(read.buffers[tensor.buffer].data), np.float32)
            found[f"{name}{number}"] = values.reshape(tensor.shape)
    return found


def _to_float(tensor: Any, buffers: list[Any]) -> None:
    """Write a quantized tensor's real values; those that are not quantized, such as shapes, stay."""
    scales = tensor.quantization.scale if tensor.quantization else None
    if scales is None:
        return
    data = buffers[tensor.buffer].data
    if data is not None and len(data):
        kind = np.int32 if tensor.type == schema.TensorType.INT32 else np.uint8
        whole = np.frombuffer(bytes(data), kind).astype(np.float64)
        real = ((whole - tensor.quantization.zeroPoint[0]) * scales[0]).astype(np.float32)
        buffers[tensor.buffer].data = np.frombuffer(real.tobytes(), np.uint8)
    tensor.type, tensor.quantization = schema.TensorType.FLOAT32, None


def pictures(count: int, seed: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Cut pictures (count, 224, 224, 3) uint8 and their classes (count,)."""
    random = np.random.default_rng(seed)
    photographs = [(_read_bmp(MODELS / "vision" / name), label) for name, label in PHOTOGRAPHS.items()]
    inputs, labels = np.empty((count, SIZE, SIZE, 3), np.uint8), np.empty(count, np.int64)
    for n in range(count):
        photograph, labels[n] = photographs[n % len(photographs)]
        inputs[n] = _cut(photograph, random)
    return inputs, labels


def _cut(photograph: np.ndarray[Any, Any], random: np.random.Generator) -> np.ndarray[Any, Any]:
    """A part of it, sometimes mirrored, in another light."""
    sides = [int(side * random.uniform(SMALLEST, 1.0)) for side in photograph.shape[:2]]
    starts = [random.integers(0, whole - side + 1) for whole, side in zip(photograph.shape, sides, strict=False)]
    rows, columns = (start + np.arange(SIZE) * side // SIZE for start, side in zip(starts, sides, strict=True))
    part = photograph[rows][:, columns[:: -1 if random.random() < 0.5 else 1]]
    return np.clip(part * random.uniform(*LIGHT), 0, 255).astype(np.uint8)


def _read_bmp(file: Path) -> np.ndarray[Any, Any]:
    """An uncompressed 24-bit bitmap as (height, width, 3) in RGB."""
    raw = file.read_bytes()
    start, width, height = struct.unpack_from("<I", raw, 10)[0], *struct.unpack_from("<ii", raw, 18)
    stride = (width * 3 + 3) // 4 * 4
    rows = np.frombuffer(raw, np.uint8, stride * abs(height), start).reshape(abs(height), stride)
    picture = rows[:, : width * 3].reshape(abs(height), width, 3)[:, :, ::-1]
    return picture[::-1] if height > 0 else picture
