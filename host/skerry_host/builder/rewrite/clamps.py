"""Fuses stand-alone clamps of a `schema.ModelT` into the operator before, or gives them an int8 kernel."""

from collections import Counter
from typing import Any

from ai_edge_litert import schema_py_generated as schema

from skerry_host.builder.modelfile.links import kinds, readers
from skerry_host.builder.modelfile.parts import NONE, RELU6, copy_tensor, multiply_constant

_ACTIVATIONS = {"RELU": schema.ActivationFunctionType.RELU, "RELU6": RELU6}
_FUSING = {"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "ADD", "SUB", "MUL"}


def fuse_clamps(model: Any) -> str | None:
    """Let the operator before do a stand-alone RELU or RELU6, and give the rest of the clamps an int8 kernel in a MUL.

    A fused clamp spends no steps of the integers on what it cuts. clip(x, 0, 6) = RELU6(1 x), and
    clip(x, 0, 1) = RELU6(6 x) / 6; stand-alone these two have no int8 kernel.
    """
    main = model.subgraphs[0]
    names, read = kinds(model), readers(main)
    written: dict[int, Any] = {}
    made, changed = [], 0
    for op in main.operators or []:
        name = names[op.opcodeIndex]
        if name in _ACTIVATIONS and _fuse(op, written, read, names):
            written[int(op.outputs[0])] = written.pop(int(op.inputs[0]))
            changed += 1
            continue
        if name in {"RELU6", "RELU_0_TO_1"}:
            parts = _as_mul(model, main, op, unit=name == "RELU_0_TO_1")
            names = kinds(model)
            changed += 1
        else:
            parts = [op]
        made += parts
        written |= {int(i): part for part in parts for i in part.outputs}
    main.operators = made
    return f"{changed} clamps fused or rewritten" if changed else None


def _fuse(op: Any, written: dict[int, Any], read: "Counter[int]", names: list[str]) -> bool:
    """Let the operator before do the clamp, if it can and nobody else reads what it writes."""
    given = int(op.inputs[0])
    before = written.get(given)
    if before is None or read[given] != 1 or names[before.opcodeIndex] not in _FUSING:
        return False
    options = before.builtinOptions
    if options is None or options.fusedActivationFunction != NONE:
        return False
    options.fusedActivationFunction = _ACTIVATIONS[names[op.opcodeIndex]]
    before.outputs = op.outputs
    return True


def _as_mul(model: Any, main: Any, op: Any, *, unit: bool) -> list[Any]:
    read, written = int(op.inputs[0]), int(op.outputs[0])
    if not unit:
        return [multiply_constant(model, (read, written), 1.0, RELU6)]
    between = copy_tensor(main, written, b"/times6")
    return [
        multiply_constant(model, (read, between), 6.0, RELU6),
        multiply_constant(model, (between, written), 1 / 6),
    ]
