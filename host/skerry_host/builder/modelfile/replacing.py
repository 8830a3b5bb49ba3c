"""Puts operators of a `schema.ModelT` in place of others, wherever they stand in its graph."""

from collections.abc import Callable
from typing import Any

from skerry_host.builder.modelfile.graph import op_name


def replace_operators(model: Any, make: Callable[[str, Any], "list[Any] | None"]) -> int:
    """Put other operators in place of those for which `make` gives some; how many were replaced."""
    main = model.subgraphs[0]
    made, replaced = [], 0
    for op in main.operators or []:
        parts = make(op_name(model.operatorCodes[op.opcodeIndex]), op)
        replaced += parts is not None
        made += [op] if parts is None else parts
    if replaced:
        main.operators = made
    return replaced
