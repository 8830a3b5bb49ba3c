"""Writes a prepared ONNX model as TFLite in the child process, and tries it: only one that answers alike counts.

Where that fails, the model is written once more for onnx2tf, which knows other operators.
"""

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx

from skerry_agent.processing import Array
from skerry_host.builder.judge.signal import decibels, energies
from skerry_host.builder.lowering.convert import Lowered, lower
from skerry_host.builder.lowering.values import UnknownFormError
from skerry_host.builder.modelfile.onnx import describe_onnx, image_planes
from skerry_host.builder.sources.onnx_prepared import Prepared, plain
from skerry_host.builder.sources.onnx_rewrite import rename

MIN_DB = 40.0
"""Rounding alone leaves over 100 dB; what has less was written wrongly."""
NOISE_FLOOR = 1e-3


def as_tflite(model: Any, out: Path, found: Prepared) -> Prepared:
    """Write `out` as TFLite beside it; if that cannot be, say why, and write a copy with plain names."""
    data = model.SerializeToString()
    try:
        made = lower(model, image_planes(describe_onnx(data)))
        unlike = _difference(data, made)
    except UnknownFormError as error:
        made, unlike = None, str(error)
    except (ValueError, TypeError, KeyError, IndexError, RuntimeError, AttributeError) as error:
        made, unlike = None, f"{type(error).__name__} ({' '.join(str(error).split())[:100]})"
    if made is None or unlike:
        rename(model.graph)
        onnx.save(model, str(plain(out)))
        return msgspec.structs.replace(found, unknown=unlike)
    out.with_suffix(".tflite").write_bytes(made.data)
    return msgspec.structs.replace(found, lowered=True, orders={**made.inputs, **made.outputs})


def _difference(source: bytes, made: Lowered) -> str:
    """How the TFLite answers otherwise than the ONNX, on random inputs; empty if it does not."""
    import onnxruntime as ort  # noqa: PLC0415  (after the file was looked at)
    from ai_edge_litert.interpreter import Interpreter  # noqa: PLC0415

    options = ort.SessionOptions()
    options.log_severity_level = 4
    session = ort.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    random = np.random.default_rng(0)
    given = {node.name: _values(random, node) for node in session.get_inputs()}
    wanted = session.run(None, given)
    interpreter = Interpreter(model_content=made.data, num_threads=1)
    interpreter.allocate_tensors()
    for (name, order), detail in zip(made.inputs.items(), interpreter.get_input_details(), strict=True):
        interpreter.set_tensor(detail["index"], given[name].transpose(order).astype(detail["dtype"], order="C"))
    interpreter.invoke()
    for (name, order), detail, right in zip(
        made.outputs.items(), interpreter.get_output_details(), wanted, strict=True
    ):
        found = _compared(np.asarray(right).transpose(order), interpreter.get_tensor(detail["index"]))
        if found < MIN_DB:
            return f"output {name}, which came out otherwise ({found:.0f} dB)"
    return ""


def _values(random: np.random.Generator, node: Any) -> Array:
    """Reals of 0 to 1; of integers ids that every table has."""
    if "float" in node.type:
        return np.asarray(random.random(node.shape, np.float32))
    dtype = np.bool_ if "bool" in node.type else np.int64 if "int64" in node.type else np.int32
    return np.asarray(random.integers(0, 2, node.shape)).astype(dtype)


def _compared(right: Array, got: Array) -> float:
    """Decibels of what is right against what is wrong of it; none where the shapes differ."""
    if right.shape != got.shape:
        return -np.inf
    if not np.isfinite(right).all():
        return np.inf
    signal, noise = energies(right.astype(np.float32).ravel(), got.astype(np.float32).ravel())
    return decibels(max(signal, right.size * NOISE_FLOOR**2), noise)
