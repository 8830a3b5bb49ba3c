"""Makes an ONNX file fit for conversion, in a child process: fixed shapes, folded constants, plain names.

`python -m skerry_host.builder.sources.onnx_child IN.onnx OUT.onnx SHAPES` takes SHAPES as JSON {input: sizes}.
The last line it prints is a `Prepared`. Parses untrusted files: not for the host's own process.
"""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
from onnx import helper, numpy_helper

from skerry_host.builder.sources.external_data import issues
from skerry_host.builder.sources.onnx_foreign import drop_labels, foreign
from skerry_host.builder.sources.onnx_prepared import Prepared

_INTEGER = {"QLinearConv", "QLinearMatMul", "ConvInteger", "MatMulInteger", "DynamicQuantizeLinear"}
"""Operators of other quantized forms than QDQ."""
_OPSET = 17
"""QDQ under it, by channel above all, is written wrongly by some exporters and refused by some runtimes."""


class _UnfitError(Exception):
    def __init__(self, problem: str, hint: str = "") -> None:
        self.problem, self.hint = problem, hint
        super().__init__(problem)


def prepare(source: Path, out: Path, shapes: dict[str, list[int]]) -> Prepared:
    """Write the prepared model to `out`."""
    try:
        model, files = _load(source)
        if any(node.op_type == "QuantizeLinear" for node in model.graph.node):
            return _as_it_is(model, files, source, out, shapes)
        dropped = drop_labels(model.graph)
        strange = foreign(model.graph)
        if strange:
            raise _UnfitError(*strange)
        opset = _opset(model)
        changes = [*dropped, *fix_shapes(model, shapes), *rewrite_hard_sigmoid(model.graph)]
        model = _folded(model, out)
        changes += ["constants folded"]
        rename(model.graph)
        del model.opset_import[:]
        model.opset_import.extend([helper.make_opsetid("", opset)])
        onnx.save(model, str(out))
        inputs = {value.name: tuple(map(int, sizes(value))) for value in model.graph.input}
        return Prepared(changes=tuple(changes), inputs=inputs, files=files)
    except _UnfitError as error:
        return Prepared(error.problem, error.hint)


def _load(source: Path) -> tuple[Any, tuple[str, ...]]:
    """The model and the names of the files that its external data came from."""
    try:
        model = onnx.load(str(source), load_external_data=False)
    except Exception as error:  # protobuf's errors share no base, and any of them means the same
        raise _UnfitError("is damaged, or not an ONNX file", "export it again from its source") from error
    if not model.graph.node or not model.graph.output:
        raise _UnfitError("is damaged, or not an ONNX file", "export it again from its source")
    files = tuple(sorted(locations(model)))
    wrong = issues(source.parent, files)
    if wrong:
        raise _UnfitError("; ".join(wrong), "put the data beside the model as plain files")
    integer = sorted({node.op_type for node in model.graph.node} & _INTEGER)
    if integer:
        raise _UnfitError(f"is quantized already, by {', '.join(integer)}", "give it as QDQ, or give the float model")
    onnx.load_external_data_for_model(model, str(source.parent))
    return model, files


def _as_it_is(model: Any, files: tuple[str, ...], source: Path, out: Path, shapes: dict[str, list[int]]) -> Prepared:
    """A QDQ model that loads and runs: its bytes, unchanged except for a shape that had to be fixed."""
    if _opset(model) < _OPSET:
        problem = f"is quantized already (QDQ), with the operators of version {_opset(model)}"
        raise _UnfitError(problem, f"export it with opset_version={_OPSET}, or give the float model")
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
        raise _UnfitError(f"does not run: {' '.join(str(error).split())[:200]}", "export it again") from error
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


def sizes(value: Any) -> list[int | str]:
    """The sizes of a value; those that are not fixed by their name, or as `?`."""
    return [
        int(d.dim_value) if d.HasField("dim_value") and d.dim_value > 0 else d.dim_param or "?"
        for d in value.type.tensor_type.shape.dim
    ]


def fix_shapes(model: Any, shapes: dict[str, list[int]]) -> list[str]:
    """Give open inputs the sizes asked for; a batch that is alone open becomes 1."""
    initial = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in initial]
    unknown = [name for name in shapes if name not in {value.name for value in inputs}]
    if unknown:
        there = ", ".join(value.name for value in inputs)
        raise _UnfitError(f"has no input {', '.join(unknown)} (it has {there})", "correct [source.shapes]")
    changes = []
    for value in inputs:
        found = sizes(value)
        fixed = _fixed(value.name, found, shapes.get(value.name))
        if fixed != found:
            _set_sizes(value, fixed)
            changes.append(f"input {value.name} fixed to {'x'.join(map(str, fixed))}")
    if changes:
        del model.graph.value_info[:]
        for value in model.graph.output:
            value.type.tensor_type.ClearField("shape")
    return changes


def _fixed(name: str, found: list[int | str], asked: list[int] | None) -> list[int]:
    shown = "x".join(map(str, found))
    if asked is None:
        fixed = [1 if at == 0 and isinstance(n, str) else n for at, n in enumerate(found)]
        if any(isinstance(n, str) for n in fixed):
            hint = f'give its sizes in the recipe: [source.shapes] "{name}" = [1, ...]'
            raise _UnfitError(f"input {name} has the open shape {shown}", hint)
        return [int(n) for n in fixed]
    clash = len(asked) != len(found) or any(isinstance(n, int) and n != m for n, m in zip(found, asked, strict=False))
    if clash or min(asked, default=1) < 1:
        wanted = "x".join(map(str, asked))
        raise _UnfitError(f"input {name} is {shown}, [source.shapes] says {wanted}", "give sizes that fit")
    return asked


def _set_sizes(value: Any, fixed: list[int]) -> None:
    dims = value.type.tensor_type.shape.dim
    for dim, n in zip(dims, fixed, strict=True):
        dim.Clear()
        dim.dim_value = n


def rewrite_hard_sigmoid(graph: Any) -> list[str]:
    """HardSigmoid as clip(6 a x + 6 b, 0, 6) / 6: the clip becomes a RELU6, which fuses and has an int8 form.

    HardSigmoid(x) = max(0, min(1, a x + b)), a = 0.2 and b = 0.5 by default (ONNX operators, HardSigmoid-6).
    """
    nodes, done = [], 0
    for node in graph.node:
        if node.op_type != "HardSigmoid":
            nodes.append(node)
            continue
        done += 1
        given = {a.name: a.f for a in node.attribute}
        slope, shift = 6 * given.get("alpha", 0.2), 6 * given.get("beta", 0.5)
        constants = {"a6": slope, "b6": shift, "low": 0.0, "high": 6.0, "sixth": 1 / 6}
        made = {key: f"hard_sigmoid_{done}_{key}" for key in (*constants, "scaled", "shifted", "clipped")}
        graph.initializer.extend(
            numpy_helper.from_array(np.array(value, np.float32), made[key]) for key, value in constants.items()
        )
        nodes += [
            helper.make_node("Mul", [node.input[0], made["a6"]], [made["scaled"]]),
            helper.make_node("Add", [made["scaled"], made["b6"]], [made["shifted"]]),
            helper.make_node("Clip", [made["shifted"], made["low"], made["high"]], [made["clipped"]]),
            helper.make_node("Mul", [made["clipped"], made["sixth"]], list(node.output)),
        ]
    del graph.node[:]
    graph.node.extend(nodes)
    return [f"{done} HardSigmoid written as RELU6"] if done else []


def _folded(model: Any, out: Path) -> Any:
    """The model after onnxruntime's basic optimization: shapes known, constants folded, batch normalization fused."""
    import onnxruntime as ort  # noqa: PLC0415  (after the file was looked at)

    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(out)
    options.log_severity_level = 4
    try:
        inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
        ort.InferenceSession(inferred.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors share no base
        raise _UnfitError(f"does not load: {' '.join(str(error).split())[:200]}", "export it again") from error
    folded = onnx.load(str(out))
    open_ones = [v.name for v in folded.graph.output if any(isinstance(n, str) for n in sizes(v))]
    if open_ones:
        raise _UnfitError(f"output {open_ones[0]} has no fixed shape", "export the model without data-dependent sizes")
    return folded


def rename(graph: Any) -> None:
    """Give every value and node a name that TensorFlow accepts as a scope: letters, digits and `_.-/`."""
    names: dict[str, str] = {"": ""}

    def plain(name: str) -> str:
        if name not in names:
            base = re.sub(r"[^A-Za-z0-9_.\-/]", "_", name).lstrip("_./-") or "value"
            names[name] = base if base not in names.values() else f"{base}_{len(names)}"
        return names[name]

    for value in [*graph.input, *graph.output, *graph.value_info, *graph.initializer]:
        value.name = plain(value.name)
    for at, node in enumerate(graph.node):
        node.input[:] = [plain(name) for name in node.input]
        node.output[:] = [plain(name) for name in node.output]
        node.name = f"{node.op_type}_{at}"


def _opset(model: Any) -> int:
    """The version of the standard operators that the file was written with."""
    return int(next((entry.version for entry in model.opset_import if entry.domain in {"", "ai.onnx"}), 1))


if __name__ == "__main__":
    found = prepare(Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3]))
    print(json.dumps(msgspec.to_builtins(found)), flush=True)  # noqa: T201  (the protocol)
