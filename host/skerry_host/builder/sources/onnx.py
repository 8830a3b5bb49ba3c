"""ONNX to float TFLite: `onnx_child` fixes shapes and simplifies the graph, then onnx2tf; each in a child process.

Only onnx2tf's float32 output is used: its own int8 ones fail on real models. Quantizes nothing.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import numpy as np

from skerry_host.builder.recipe.errors import ModelError
from skerry_host.builder.sources.child import SECONDS, Conversion, answer, run
from skerry_host.builder.sources.converted import Converted
from skerry_host.builder.sources.converters import ONNX2TF, python_with, require_extra
from skerry_host.builder.sources.equivalence import examples
from skerry_host.builder.sources.onnx_prepared import Prepared

PREPARE_SECONDS = 120.0
MAX_BYTES = 512 * 1024**2

_SAMPLES = "calibration_image_sample_data_20x128x128x3_float32.npy"
"""onnx2tf fetches a file of this name from the network, if none is where it works, to try its conversions with."""


def convert(path: Path, shapes: Mapping[str, Sequence[int]], folder: Path) -> Converted:
    """A float TFLite of an ONNX file, and the ONNX with fixed shapes; `folder` is for work. Raises `ModelError`.

    One that is quantized (QDQ) is handed on as it is.
    """
    prepared, found = prepare(path, shapes, folder)
    files = data_files(path, found)
    if found.quantized:
        return Converted(None, found.changes, prepared.read_bytes(), files=files)
    python = python_with(ONNX2TF)
    samples = np.random.default_rng(0).random((20, 128, 128, 3), dtype=np.float32)
    np.save(folder / _SAMPLES, samples)
    command = [python, "-m", "onnx2tf", "-i", str(prepared), "-o", "made", "-osd", "-n"]
    run(Conversion(f"onnx2tf, given {path},", command, folder, SECONDS))
    made = folder / "made" / f"{prepared.stem}_float32.tflite"
    if not made.is_file():
        raise ModelError(f"onnx2tf makes no float32 model of {path}", hint="try another export", code="converter")
    data = prepared.read_bytes()
    changes = (*found.changes, "ONNX converted by onnx2tf, NCHW to NHWC")
    return Converted(made, changes, data, tuple(examples(data)), files)


def data_files(path: Path, found: Prepared) -> tuple[Path, ...]:
    """The files that hold the model's external data."""
    return tuple(path.parent / name for name in found.files)


def prepare(path: Path, shapes: Mapping[str, Sequence[int]], folder: Path) -> tuple[Path, Prepared]:
    """The ONNX file with fixed shapes and what was found and changed; raises `ModelError`."""
    if path.stat().st_size > MAX_BYTES:
        raise ModelError(f"{path} is {path.stat().st_size} bytes", hint=f"the limit is {MAX_BYTES}", code="too_large")
    require_extra("onnx", "onnxruntime", purpose="an ONNX model", extra="onnx")
    out = folder / "model.onnx"
    wanted = json.dumps({name: list(sizes) for name, sizes in shapes.items()})
    command = [sys.executable, "-m", "skerry_host.builder.sources.onnx_child", str(path.absolute()), str(out), wanted]
    output = run(Conversion(f"reading {path}", command, folder, PREPARE_SECONDS))
    found = msgspec.json.decode(answer(output), type=Prepared)
    if found.problem:
        raise ModelError(f"{path} {found.problem}", hint=found.hint, code="unfit")
    return out, found
