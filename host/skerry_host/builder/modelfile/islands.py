"""Which operators a recipe's names of layers mean, and what of a model computes on float between integers. Pure.

A name is a layer's (`lstm_3`), a tensor's, a kind of operator (`LOG`), or a pattern of these with `*` and `?`.
"""

import re
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from skerry_host.builder.modelfile.cost import costs
from skerry_host.builder.modelfile.graph import Graph, Op

_BORDERS = {"QUANTIZE", "DEQUANTIZE"}
_OVER_DECADES = {"SQRT", "LOG", "POW"}


def named(graph: Graph, patterns: Iterable[str]) -> dict[str, list[Op]]:
    """The operators that each pattern means, none where it means none."""
    words = [(op, _words(graph, op)) for op in graph.ops]
    return {pattern: [op for op, known in words if _fits(pattern, known)] for pattern in patterns}


def layer_names(graph: Graph) -> list[str]:
    """What layers may be called, for a person who has misspelt one: parts of tensors' names, each once."""
    parts = (part for op in graph.ops for part in sorted(_words(graph, op)) if "/" not in part and ";" not in part)
    return list(dict.fromkeys(parts))


def scope(graph: Graph, op: Op) -> str:
    """The name of an operator: that of what it writes first."""
    return graph.tensors[op.outputs[0]].name if op.outputs else ""


def front_end(graph: Graph, share: float) -> list[str]:
    """The names of the operators that make features of a signal: what the last square root or logarithm is made of.

    Spectra reach over decades, which 256 steps do not. None where that is more than a share of the model's
    multiply-adds: a front end may be most of its operators, which take, pad and turn pieces of the signal.
    """
    makers = {i: op for op in graph.ops for i in op.outputs}
    work = {cost.index: cost.macs for cost in costs(graph)}
    most, found = share * sum(work.values()), set[int]()
    for op in (op for op in graph.ops if op.name in _OVER_DECADES):
        before, waiting = set[int](), [op]
        while waiting:
            one = waiting.pop()
            before.add(one.index)
            waiting += [makers[i] for i in one.inputs if i in makers and makers[i].index not in before]
        found |= before if sum(work[at] for at in found | before) <= most else set()
    return [scope(graph, op) for op in graph.ops if op.index in found]


def float_left(graph: Graph, patterns: Sequence[str] = ()) -> list[Op]:
    """The operators that compute on float and that no pattern means; borders of those that one means are none."""
    floats = graph.float_ops()
    asked = {op.index for ops in named(graph, patterns).values() for op in ops} if patterns else set()
    inside = {i for op in floats if op.index in asked for i in (*op.inputs, *op.outputs)}
    return [
        op
        for op in floats
        if op.index not in asked and not (op.name in _BORDERS and inside & {*op.inputs, *op.outputs})
    ]


def _words(graph: Graph, op: Op) -> set[str]:
    """All that an operator answers to."""
    found = {op.name}
    for index in op.outputs:
        name = graph.tensors[index].name
        found |= {name, *re.split("[;/]", name)}
    return found - {""}


def _fits(pattern: str, known: set[str]) -> bool:
    """Whether one of the words is meant: Keras gives a layer `name` as `name_1` when a model is traced again."""
    if pattern in known:  # a name may have brackets, which a pattern means otherwise
        return True
    return any(fnmatchcase(word, pattern) or fnmatchcase(word, f"{pattern}_1") for word in known)
