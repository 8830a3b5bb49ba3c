"""How the operators of a `schema.ModelT` hang together: who reads and writes a tensor, and what nobody needs."""

from collections import Counter
from typing import Any

from skerry_host.builder.modelfile.graph import op_name
from skerry_host.builder.modelfile.parts import NONE, activation_of


def kinds(model: Any) -> list[str]:
    """The name of each operator code, at the place that an operator's `opcodeIndex` gives."""
    return [op_name(code) for code in model.operatorCodes]


def readers(main: Any) -> "Counter[int]":
    """How often each tensor of a subgraph is read: by an operator, or as an output."""
    return Counter(int(i) for op in main.operators or [] for i in op.inputs) + Counter(map(int, main.outputs))


def writers(main: Any) -> dict[int, Any]:
    """The operator that writes each tensor of a subgraph."""
    return {int(i): op for op in main.operators or [] for i in op.outputs}


class Written:
    """By which operator each tensor of the first subgraph is written, as it was when this was made."""

    def __init__(self, model: Any) -> None:
        self._kinds = kinds(model)
        self._by_output = writers(model.subgraphs[0])

    def by(self, index: int, *names: str) -> Any:
        """The operator if it is of one of these kinds and does nothing more, no activation either; else None."""
        op = self._by_output.get(index)
        if op is None or self._kinds[op.opcodeIndex] not in names:
            return None
        return op if activation_of(op) == NONE else None


def drop_unread(model: Any) -> None:
    """Drop the operators of the first subgraph that no output needs; those that write variables, or nothing, stay."""
    main = model.subgraphs[0]
    needed = {int(i) for i in main.outputs}
    kept = []
    for op in reversed(main.operators or []):
        written = {int(o) for o in op.outputs}
        if not written or written & needed or _writes_state(main, op):
            kept.append(op)
            needed |= {int(i) for i in op.inputs if i >= 0}
    main.operators = kept[::-1]


def _writes_state(main: Any, op: Any) -> bool:
    return any(i >= 0 and main.tensors[int(i)].isVariable for i in op.inputs)
