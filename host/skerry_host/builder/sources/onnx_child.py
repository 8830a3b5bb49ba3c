"""Makes an ONNX file fit for conversion, in a child process: fixed shapes, folded constants, and TFLite of it.

`python -m skerry_host.builder.sources.onnx_child IN.onnx OUT.onnx SHAPES CONSTANTS` takes these as JSON, {input: sizes}
and {input: value}.
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

from skerry_host.builder.lowering.contributed import KNOWN
from skerry_host.builder.sources.external_data import issues
from skerry_host.builder.sources.onnx_branches import take_branches
from skerry_host.builder.sources.onnx_floats import as_float32
from skerry_host.builder.sources.onnx_foreign import drop_labels, foreign, nodes, own_words, too_new
from skerry_host.builder.sources.onnx_linear import rewrite_linear
from skerry_host.builder.sources.onnx_lowered import as_tflite
from skerry_host.builder.sources.onnx_nms import without_nms
from skerry_host.builder.sources.onnx_prepared import Prepared
from skerry_host.builder.sources.onnx_rewrite import rewrite_hard_sigmoid
from skerry_host.builder.sources.onnx_shapes import fix_shapes, fix_values, sizes, without_unread
from skerry_host.builder.sources.onnx_unfit import UnfitError

_INTEGER = {"QLinearConv", "QLinearMatMul", "ConvInteger", "MatMulInteger", "DynamicQuantizeLinear"}
"""Operators of other quantized forms than QDQ."""
_CLASSICAL = "ai.onnx.ml"
"""The domain of what is no neural network."""
_UNWANTED = ["MatMulAddFusion"]
"""Of onnxruntime's optimizers: it writes products of more than two axes as reshapes around one of two."""


def prepare(
    source: Path, out: Path, shapes: dict[str, list[int]], constants: dict[str, float] | None = None
) -> Prepared:
    """Write the prepared model to `out`, and beside it what it is as TFLite, or its form for onnx2tf."""
    try:
        model, files = _load(source)
        if any(node.op_type == "QuantizeLinear" for node in model.graph.node):
            return _as_it_is(model, files, source, out, shapes)
        opset = _opset(model)
        changes = [*_plain_network(model), *fix_values(model.graph, constants or {})]
        take_branches(model)
        changes += [*fix_shapes(model, shapes), *rewrite_hard_sigmoid(model.graph)]
        model = _folded(model, out)
        while take_branches(model):
            model = _folded(model, out)
        _require_fixed(model)
        changes += ["constants folded", *without_unread(model.graph)]
        domains = sorted({node.domain for node in nodes(model.graph)} - {"", "ai.onnx"})
        del model.opset_import[:]
        model.opset_import.extend([helper.make_opsetid("", opset), *(helper.make_opsetid(each, 1) for each in domains)])
        onnx.save(model, str(out))
        inputs = {value.name: tuple(map(int, sizes(value))) for value in model.graph.input}
        return as_tflite(model, out, Prepared(changes=tuple(changes), inputs=inputs, files=files))
    except UnfitError as error:
        return Prepared(error.problem, error.hint)


def _plain_network(model: Any) -> list[str]:
    """Take off and rewrite what is no network's; raises `UnfitError` for what is left of that kind."""
    classical = any(node.domain == _CLASSICAL for node in nodes(model.graph))
    changes = [*(drop_labels(model.graph) if classical else []), *rewrite_linear(model)]
    own = {f"{function.domain}.{function.name}" for function in model.functions}
    strange = foreign(model.graph, KNOWN | own) or too_new(_opset(model), onnx.defs.onnx_opset_version())
    if strange:
        raise UnfitError(*strange)
    return [*changes, *as_float32(model), *without_nms(model)]


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
        nodes = session.get_inputs()
        inputs = {node.name: tuple(map(int, node.shape)) for node in nodes}
        session.run(None, {node.name: np.zeros(inputs[node.name], _numpy(node.type)) for node in nodes})
    except Exception as error:  # onnxruntime's errors share no base
        raise UnfitError(f"does not run: {own_words(error)}", "export it again") from error
    return inputs


def _numpy(kind: str) -> str:
    """Numpy's name of a type as onnxruntime calls it: tensor(float), tensor(int64)."""
    name = kind.removeprefix("tensor(").removesuffix(")")
    return {"float": "float32", "double": "float64"}.get(name, name)


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
    return onnx.load(str(out))


def _require_fixed(model: Any) -> None:
    open_ones = [v.name for v in model.graph.output if any(isinstance(n, str) for n in sizes(v))]
    if open_ones:
        raise UnfitError(f"output {open_ones[0]} has no fixed shape", "export the model without data-dependent sizes")


def _opset(model: Any) -> int:
    """The version of the standard operators that the file was written with."""
    return int(next((entry.version for entry in model.opset_import if entry.domain in {"", "ai.onnx"}), 1))


if __name__ == "__main__":
    found = prepare(Path(sys.argv[1]), Path(sys.argv[2]), *map(json.loads, sys.argv[3:5]))
    print(json.dumps(msgspec.to_builtins(found)), flush=True)  # noqa: T201  (the protocol)
