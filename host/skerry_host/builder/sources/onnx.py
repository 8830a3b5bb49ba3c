"""ONNX to float TFLite: `onnx_child` fixes shapes, simplifies the graph and writes it as TFLite, in a child process.

For an operator that it does not know there is onnx2tf, in another, if that is installed.

Only onnx2tf's float32 output is used: its own int8 ones fail on real models. Quantizes nothing.
"""

import json
import sys
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np

from skerry_host.builder.modelfile.describe import describe_any
from skerry_host.builder.recipe.errors import ModelError
from skerry_host.builder.recipe.recipe import SourcePlan
from skerry_host.builder.sources.child import SECONDS, Conversion, answer, run
from skerry_host.builder.sources.converted import Converted
from skerry_host.builder.sources.converters import ONNX2TF, python_with, require_extra
from skerry_host.builder.sources.equivalence import Example, examples
from skerry_host.builder.sources.onnx_prepared import Prepared, plain

PREPARE_SECONDS = 300.0
PREPARED = "model.onnx"
MAX_BYTES = 512 * 1024**2

_UNROLL = "export it unrolled, or without the part that repeats"
_HOPELESS = {
    "Loop": ("which repeats a part of the model: TFLite models here have one graph", _UNROLL),
    "Scan": ("which repeats a part of the model: TFLite models here have one graph", _UNROLL),
    "If": (
        "whose condition depends on an input",
        "fix that input: [source.constants] NAME = VALUE, or export one side",
    ),
    "NonMaxSuppression": ("whose number of boxes depends on the picture", "export the model without it"),
    **dict.fromkeys(
        ("NonZero", "Unique", "Compress"), ("whose size depends on the input", "export it without data-dependent sizes")
    ),
}
"""What no converter turns into a TFLite model of one graph and fixed sizes: why, and what to do."""
_SAMPLES = "calibration_image_sample_data_20x128x128x3_float32.npy"
"""onnx2tf fetches a file of this name from the network, if none is where it works, to try its conversions with."""


def convert(path: Path, plan: SourcePlan | None, folder: Path) -> Converted:
    """A float TFLite of an ONNX file, and the ONNX with fixed shapes; `folder` is for work. Raises `ModelError`.

    One that is quantized (QDQ) is handed on as it is.
    """
    prepared, found = prepare(path, plan, folder)
    files = data_files(path, found)
    data = prepared.read_bytes()
    if found.quantized:
        return Converted(None, found.changes, data, files=files)
    if found.lowered:
        changes = (*found.changes, *_orders(found))
        return Converted(prepared.with_suffix(".tflite"), changes, data, tuple(_ordered(data, found)), files)
    made = _by_onnx2tf(path, found, folder)
    changes = (*found.changes, f"ONNX converted by onnx2tf, NCHW to NHWC (for {found.unknown})")
    return Converted(made, changes, data, tuple(examples(data)), files)


def _orders(found: Prepared) -> list[str]:
    """What is said of inputs and outputs that have another order of axes than in the source."""
    moved = [name for name, order in found.orders.items() if list(order) != sorted(order)]
    return ["ONNX written as TFLite", *(f"{name} is pixels, (N, H, W, C)" for name in moved)]


def _ordered(data: bytes, found: Prepared) -> list[Example]:
    """The source's outputs for random inputs, both in the order of axes of the TFLite."""
    graph = describe_any(data)
    ins, outs = ([found.orders[spec.name] for spec in specs] for specs in (graph.input_specs(), graph.output_specs()))
    return [
        replace(
            one,
            inputs=[np.ascontiguousarray(array.transpose(order)) for array, order in zip(one.inputs, ins, strict=True)],
            outputs=[array.transpose(order) for array, order in zip(one.outputs, outs, strict=True)],
            exact=True,
        )
        for one in examples(data)
    ]


def _by_onnx2tf(path: Path, found: Prepared, folder: Path) -> Path:
    """What onnx2tf makes of a file with an operator that we do not write; raises `ModelError`."""
    kind = found.unknown.partition(" ")[0]
    if kind in _HOPELESS or "." in kind:
        why, hint = _HOPELESS.get(kind, ("of onnxruntime's own", "export it without that program's optimizations"))
        raise ModelError(f"{path} has {kind}, {why}", hint=hint, code="unfit")
    try:
        python = python_with(ONNX2TF)
    except ModelError as error:
        problem = f"{path} has {found.unknown}, which is not known here; onnx2tf may know it, but is not installed"
        raise ModelError(problem, hint=error.hint, code=error.code) from None
    source = plain(folder / PREPARED)
    samples = np.random.default_rng(0).random((20, 128, 128, 3), dtype=np.float32)
    np.save(folder / _SAMPLES, samples)
    command = [python, "-m", "onnx2tf", "-i", str(source), "-o", "made", "-osd", "-n"]
    run(Conversion(f"onnx2tf, given {path} (for {found.unknown}),", command, folder, SECONDS))
    made = folder / "made" / f"{source.stem}_float32.tflite"
    if not made.is_file():
        raise ModelError(f"onnx2tf makes no float32 model of {path}", hint="try another export", code="converter")
    return made


def data_files(path: Path, found: Prepared) -> tuple[Path, ...]:
    """The files that hold the model's external data."""
    return tuple(path.parent / name for name in found.files)


def prepare(path: Path, plan: SourcePlan | None, folder: Path) -> tuple[Path, Prepared]:
    """The ONNX file with fixed shapes and what was found and changed; raises `ModelError`."""
    if path.stat().st_size > MAX_BYTES:
        raise ModelError(f"{path} is {path.stat().st_size} bytes", hint=f"the limit is {MAX_BYTES}", code="too_large")
    require_extra("onnx", "onnxruntime", purpose="an ONNX model", extra="onnx")
    out = folder / PREPARED
    shapes, constants = (plan.shapes, plan.constants) if plan else ({}, {})
    wanted = (json.dumps({name: list(sizes) for name, sizes in shapes.items()}), json.dumps(constants))
    command = [sys.executable, "-m", "skerry_host.builder.sources.onnx_child", str(path.absolute()), str(out), *wanted]
    output = run(Conversion(f"reading {path}", command, folder, PREPARE_SECONDS))
    found = msgspec.json.decode(answer(output), type=Prepared)
    if found.problem:
        raise ModelError(f"{path} {found.problem}", hint=found.hint, code="unfit")
    return out, found
