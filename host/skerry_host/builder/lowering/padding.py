"""Pad: with a number, by reflection, or with the edge."""

from collections.abc import Sequence

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from skerry_host.builder.lowering.elementwise import Lower
from skerry_host.builder.lowering.order import UNIT, held
from skerry_host.builder.lowering.shaping import part
from skerry_host.builder.lowering.values import Lowering, Node, UnknownFormError, Value


def pad(low: Lowering, node: Node) -> None:
    """Pad: with a number, by reflection, or with the edge where that is one step."""
    value, widths = low.value(node, 0), low.known(node, 1, "pads")
    axes = low.known(node, 3, "", list(range(value.rank)))
    before, after = [0] * value.rank, [0] * value.rank
    for at, axis in enumerate(axes):
        before[axis], after[axis] = widths[at], widths[at + len(axes)]
    mode = node.text("mode", "constant")
    filling = low.known(node, 2, "value", 0.0)
    number = float(np.ravel(filling)[0]) if mode == "constant" else 0.0
    if min(*before, *after, 0) < 0:
        begin = [max(0, -n) for n in before]
        sizes = [n - b - max(0, -a) for n, b, a in zip(value.shape, begin, after, strict=True)]
        value = part(low, value, begin, sizes, f"{node.outputs[0]}/cut")
        before, after = [max(0, n) for n in before], [max(0, n) for n in after]
    pad_value(low, value, (before, after), node.outputs[0], (mode, number))


def pad_value(
    low: Lowering, value: Value, widths: tuple[Sequence[int], Sequence[int]], written: str, how: tuple[str, float]
) -> Value:
    """A value with more around it."""
    before, after = widths
    mode, number = how
    if not any((*before, *after)):
        low.rename(written, value)
        return value
    if (mode == "edge" and max(*before, *after) > 1) or mode not in {"constant", "reflect", "edge", "symmetric"}:
        raise UnknownFormError(f"Pad in mode {mode}")
    order = low.held_order(value)
    shape = tuple(b + n + a for b, n, a in zip(before, value.shape, after, strict=True))
    rows = [[0, 0] if axis == UNIT else [before[axis], after[axis]] for axis in order]
    around = low.writer.constant("pads", np.array(rows, np.int32))
    reads, form = [low.tensor(value, order), around], (held(shape, order), value.dtype)
    if mode != "constant":
        options = schema.MirrorPadOptionsT()
        options.mode = schema.MirrorPadMode.REFLECT if mode == "reflect" else schema.MirrorPadMode.SYMMETRIC
        made = low.emit("MIRROR_PAD", reads, form, written, options)
    elif number == 0:
        made = low.emit("PAD", reads, form, written)
    else:
        made = low.emit("PADV2", [*reads, low.scalar(number)], form, written)
    least = value.least if mode != "constant" else min(value.least, number)
    return low.define(written, made, order, (shape, value.dtype), least)


OPERATORS: dict[str, Lower] = {
    "Pad": pad,
}
