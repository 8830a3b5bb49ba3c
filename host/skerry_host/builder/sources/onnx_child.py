"""Makes an ONNX file fit for conversion, in a child process: fixed shapes, folded constants, and TFLite of it.

`python -m skerry_host.builder.sources.onnx_child IN.onnx OUT.onnx SHAPES` takes SHAPES as JSON {input: sizes}.
The last line it prints is a `Prepared`. Parses untrusted files: not for the host's own process.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
from onnx import helper

from skerry_host.builder.sources.external_data import issues
from skerry_host.builder.sources.onnx_foreign import drop_labels, own_words, require_standard
from skerry_host.builder.sources.onnx_lowered import as_tflite
from skerry_host.builder.sources.onnx_prepared import Prepared
from skerry_host.builder.sources.onnx_rewrite import rewrite_hard_sigmoid
from skerry_host.builder.sources.onnx_shapes import fix_shapes, sizes
from skerry_host.builder.sources.onnx_unfit import UnfitError

_INTEGER = {"QLinearConv", "QLinearMatMul", "ConvInteger", "MatMulInteger", "DynamicQuantizeLinear"}
"""Operators of other quantized forms than QDQ."""
_UNWANTED = ["MatMulAddFusion"]
"""Of onnxruntime's optimizers: it writes products of more than two axes as reshapes around one of two."""
_OPSET = 17
"""QDQ under it, by channel above all, is written wrongly by some exporters and refused by some runtimes."""


def prepare(source: Path, out: Path, shapes: dict[str, list[int]]) -> Prepared:
    """Write the prepared model to `out`, and beside it what it is as TFLite, or its form for onnx2tf."""
    try:
        model, files = _load(source)
        if any(node.op_type == "QuantizeLinear" for node in model.graph.node):
            return _as_it_is(model, files, source, out, shapes)
        dropped = drop_labels(model.graph)
        opset = _opset(model)
        require_standard(model.graph, opset)
        changes = [*dropped, *fix_shapes(model, shapes), *rewrite_hard_sigmoid(model.graph)]
        model = _folded(model, out)
        changes += ["constants folded"]
        del model.opset_import[:]
        model.opset_import.extend([helper.make_opsetid("", opset)])
        onnx.save(model, str(out))
        inputs = {value.name: tuple(map(int, sizes(value))) for value in model.graph.input}
        return as_tflite(model, out, Prepared(changes=tuple(changes), inputs=inputs, files=files))
    except UnfitError as error:
        return Prepared(error.problem, error.hint)


def _load(source: Path) -> tuple[Any, tuple[str, ...]]:
    """The model and the names of the files that its external data came from."""
    try:
        model = onnx.load(str(source), load_external_data=False)
    except Exception as error:  # protobuf's errors share no base, and any of them means the same
        raise UnfitError("is damaged, or not an ONNX file", "export it again from its source") from error
    if not model.graph.node or not model.graph.output:
        raise UnfitError("is damaged, or not an ONNX file", "export it again from its source")
    files = tuple(sorted(locations(model)))
    wrong = issues(source.parent, files)
    if wrong:
        raise UnfitError("; ".join(wrong), "put the data beside the model as plain files")
    integer = sorted({node.op_type for node in model.graph.node} & _INTEGER)
    if integer:
        raise UnfitError(f"is quantized already, by {', '.join(integer)}", "give it as QDQ, or give the float model")
    onnx.load_external_data_for_model(model, str(source.parent))
    return model, files


def _as_it_is(model: Any, files: tuple[str, ...], source: Path, out: Path, shapes: dict[str, list[int]]) -> Prepared:
    """A QDQ model that loads and runs: its bytes, unchanged except for a shape that had to be fixed."""
    if _opset(model) < _OPSET:
        problem = f"is quantized already (QDQ), with the operators of version {_opset(model)}"
        raise UnfitError(problem, f"export it with opset_version={_OPSET}, or give the float model")
    changes = fix_shapes(model, shapes)
    data = model.SerializeToString() if changes or files else source.read_bytes()
    out.write_bytes(data)
    return Prepared(changes=tuple(changes), inputs=_run(data), quantized=True, files=files)


def _run(data: bytes) -> dict[str, tuple[int, ...]]:
    """The inputs' sizes of a model that runs on zeros."""
    import onnxruntime as ort  # noqa: PLC0415  (after the file was looked at)

    options = ort.SessionOptions()
    options.log_severity_level = 4
    try:
        session = ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        inputs = {node.name: tuple(map(int, node.shape)) for node in session.get_inputs()}
        session.run(None, {name: np.zeros(shape, np.float32) for name, shape in inputs.items()})
    except Exception as error:  # onnxruntime's errors share no base
        raise UnfitError(f"does not run: {own_words(error)}", "export it again") from error
    return inputs


def locations(model: Any) -> set[str]:
    """The files in which the model keeps tensors, subgraphs and attributes included."""
    return {entry.value for tensor in _tensors(model) for entry in tensor.external_data if entry.key == "location"}


def _tensors(message: Any) -> Iterator[Any]:
    """Every TensorProto anywhere in a message."""
    if isinstance(message, onnx.TensorProto):
        yield message
        return
    for field, value in message.ListFields():
        if field.message_type is not None:
            for part in value if not hasattr(value, "ListFields") else [value]:
                yield from _tensors(part)


def _folded(model: Any, out: Path) -> Any:
    """The model after onnxruntime's basic optimization: shapes known, constants folded, batch normalization fused."""
    import onnxruntime as ort  # noqa: PLC0415  (after the file was looked at)

    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(out)
    options.log_severity_level = 4
    try:
        inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
        ort.InferenceSession(
            inferred.SerializeToString(), options, providers=["CPUExecutionProvider"], disabled_optimizers=_UNWANTED
        )
    except Exception as error:  # onnxruntime's errors share no base
        raise UnfitError(f"does not load: {own_words(error)}", "export it again") from error
    folded = onnx.load(str(out))
    open_ones = [v.name for v in folded.graph.output if any(isinstance(n, str) for n in sizes(v))]
    if open_ones:
        raise UnfitError(f"output {open_ones[0]} has no fixed shape", "export the model without data-dependent sizes")
    return folded


def _opset(model: Any) -> int:
    """The version of the standard operators that the file was written with."""
    return int(next((entry.version for entry in model.opset_import if entry.domain in {"", "ai.onnx"}), 1))


if __name__ == "__main__":
    found = prepare(Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3]))
    print(json.dumps(msgspec.to_builtins(found)), flush=True)  # noqa: T201  (the protocol)
