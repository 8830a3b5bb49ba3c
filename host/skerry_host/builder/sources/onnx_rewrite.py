"""Rewrites of an ONNX graph that keep what it computes. Runs in the child process that has parsed the file."""

import re
from typing import Any

import numpy as np
from onnx import helper, numpy_helper

_EXACT = 1e-6
"""Slopes of one sixth are written with few digits: a factor so near to 1 is none."""


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
        ready = abs(6 * given.get("alpha", 0.2) - 1) < _EXACT
        slope, shift = 6 * given.get("alpha", 0.2), 6 * given.get("beta", 0.5)
        constants = {"a6": slope, "b6": shift, "low": 0.0, "high": 6.0, "sixth": 1 / 6}
        made = {key: f"hard_sigmoid_{done}_{key}" for key in (*constants, "scaled", "shifted", "clipped")}
        graph.initializer.extend(
            numpy_helper.from_array(np.array(value, np.float32), made[key]) for key, value in constants.items()
        )
        scaled = node.input[0] if ready else made["scaled"]
        nodes += [
            *([] if ready else [helper.make_node("Mul", [node.input[0], made["a6"]], [scaled])]),
            helper.make_node("Add", [scaled, made["b6"]], [made["shifted"]]),
            helper.make_node("Clip", [made["shifted"], made["low"], made["high"]], [made["clipped"]]),
            helper.make_node("Mul", [made["clipped"], made["sixth"]], list(node.output)),
        ]
    del graph.node[:]
    graph.node.extend(nodes)
    return [f"{done} HardSigmoid written as RELU6"] if done else []


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
