"""What operators that count and compare make of constants: integers and truth values, which loops count with. Pure.

Nothing of a network's arithmetic is computed here.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from skerry_agent.processing import Array

_ELEMENTWISE: dict[str, Callable[..., Array]] = {
    "ADD": np.add,
    "SUB": np.subtract,
    "MUL": np.multiply,
    "FLOOR_DIV": np.floor_divide,
    "MINIMUM": np.minimum,
    "MAXIMUM": np.maximum,
    "LESS": np.less,
    "LESS_EQUAL": np.less_equal,
    "GREATER": np.greater,
    "GREATER_EQUAL": np.greater_equal,
    "EQUAL": np.equal,
    "NOT_EQUAL": np.not_equal,
    "LOGICAL_AND": np.logical_and,
    "LOGICAL_OR": np.logical_or,
    "LOGICAL_NOT": np.logical_not,
    "SELECT_V2": np.where,
}


def evaluate(name: str, op: Any, got: list[Array]) -> Array | None:
    """What an operator makes of constants; None for one that is not known here."""
    if name in _ELEMENTWISE:
        return np.asarray(_ELEMENTWISE[name](*got))
    if name == "RESHAPE":
        return got[0].reshape(tuple(got[1]))
    if name == "CONCATENATION":
        return np.concatenate(got, op.builtinOptions.axis)
    if name == "PACK":
        return np.stack(got, op.builtinOptions.axis)
    if name == "EXPAND_DIMS":
        return np.expand_dims(got[0], int(np.ravel(got[1])[0]))
    return None
