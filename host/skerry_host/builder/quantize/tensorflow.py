"""The second quantizer: TensorFlow's own (what TFLiteConverter does after its calibration), in a child process.

It takes the ranges that this project has measured, and the same float TFLite as the first one: so it is there for every
kind of source, wherever TensorFlow is installed. It knows operators that litert-quantizer does not. Measures nothing.
"""

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ai_edge_litert import schema_py_generated as schema

from skerry_host.builder.modelfile.constants import has_values
from skerry_host.builder.modelfile.tflite import read_model, text, write_model
from skerry_host.builder.quantize.step import Draft, Ranges
from skerry_host.builder.recipe.errors import ModelError
from skerry_host.builder.sources.child import Conversion, run
from skerry_host.builder.sources.converters import TENSORFLOW, python_with

_CHILD = Path(__file__).with_name("tensorflow_child.py")


def at_hand() -> bool:
    """Whether TensorFlow is installed where it is looked for."""
    try:
        python_with(TENSORFLOW)
    except ModelError:
        return False
    return True


def quantized_by_tensorflow(draft: Draft, kept: Sequence[str] = ()) -> Any:
    """The int8 `schema.ModelT`; operators that write one of the `kept` stay float.

    Raises `ModelError` where TensorFlow is missing or fails, or the plan is not int8.
    """
    plan = draft.plan
    if plan.activations != "int8":
        hint = "leave quantizer out of [quantize]"
        raise ModelError(f"TensorFlow's quantizer makes int8 here, not {plan.activations}", hint=hint, code="quantizer")
    draft.progress("quantizing with TensorFlow")
    with tempfile.TemporaryDirectory(prefix="skerry-tensorflow-") as name:
        folder = Path(name)
        given, out = folder / "float.tflite", folder / "int8.tflite"
        given.write_bytes(with_ranges(draft.source.data, draft.ranges))
        io = "float32" if plan.io == "float" else "int8"
        flags = [io, "1" if plan.per_channel else "0", json.dumps(list(kept))]
        command = [python_with(TENSORFLOW), "-P", str(_CHILD), str(given), str(out), *flags]
        run(Conversion("TensorFlow's quantizer", command, folder))
        return read_model(out.read_bytes())


def with_ranges(data: bytes, ranges: Ranges) -> bytes:
    """The float model with the minimum and the maximum of each activation written into it."""
    model = read_model(data)
    for index, tensor in enumerate(model.subgraphs[0].tensors):
        found = ranges.get(text(tensor.name))
        if found is None or tensor.type != schema.TensorType.FLOAT32 or has_values(model, index):
            continue
        form = schema.QuantizationParametersT()
        form.min, form.max = [float(found["min"].min())], [float(found["max"].max())]
        tensor.quantization = form
    return write_model(model)
