"""Names of constants that onnxruntime's quantizer cannot trip over. Changes nothing else, and no other model.

It copies a bias that several operators share and calls the copies NAME0, NAME1 and so on, and it writes NAME_scale and
the like beside NAME, without looking whether something else is called that: then it joins the wrong two.
"""

import re
from collections.abc import Iterator
from itertools import count
from typing import Any

import onnx

_ADDED = re.compile(r"\d+|(_quantized)?(_scale|_zero_point)|_quantized|_(De)?[Qq]uantizeLinear_(In|Out)put")
"""What it puts behind a name."""


def own_names(data: bytes) -> bytes:
    """The model with other names for the constants that something else is named after, or that are named so."""
    model = onnx.load_from_string(data)
    graph, names = model.graph, set(_names(model.graph))
    taken = {base for name in names for base in _bases(name) if base in names}
    clashing = [one for one in graph.initializer if one.name in taken or taken.intersection(_bases(one.name))]
    if not clashing:
        return data
    others = {one.name: next(_free(one.name, names)) for one in clashing}
    for tensor in clashing:
        tensor.name = others[tensor.name]
    for node in graph.node:
        for at, name in enumerate(node.input):
            node.input[at] = others.get(name, name)
    made: bytes = model.SerializeToString()
    return made


def _names(graph: Any) -> Iterator[str]:
    yield from (value.name for value in (*graph.input, *graph.initializer))
    yield from (name for node in graph.node for name in node.output if name)


def _bases(name: str) -> set[str]:
    """What a name could have been made of by putting something behind it."""
    return {name[:at] for at in range(1, len(name)) if _ADDED.fullmatch(name, at)}


def _free(name: str, names: set[str]) -> Iterator[str]:
    """Names that nothing is named after."""
    tries = (f"{name}/constant{'s' * times}" for times in count())
    return (one for one in tries if not any(other.startswith(one) for other in names))
