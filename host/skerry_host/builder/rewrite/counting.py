"""What operators that count and compare make of constants: integers and truth values, which loops count with. Pure.

Nothing of a network's arithmetic is computed here.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from skerry_agent.processing import Array
from skerry_host.builder.modelfile.constants import DTYPES
from skerry_host.builder.modelfile.parts import NONE, activation_of

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
    """What an operator makes of constants; None for one that is not known here, or that does something more."""
    if activation_of(op) != NONE:
        return None
    if name in _ELEMENTWISE:
        return np.asarray(_ELEMENTWISE[name](*got))
    count = _COUNTED.get(name)
    return (
        None if count is None or (name in _BY_OPTIONS and op.builtinOptions is None) else count(got, op.builtinOptions)
    )


def _sliced(got: list[Array], options: Any) -> Array | None:
    """STRIDED_SLICE by the masks of its options; None with those for an ellipsis or a new axis, or ends by length."""
    if options.ellipsisMask or options.newAxisMask or options.offset:
        return None
    places: list[slice | int] = []
    for axis, (begin, end, step) in enumerate(zip(*map(np.ravel, got[1:]), strict=True)):
        begins, ends, shrinks = (
            mask >> axis & 1 for mask in (options.beginMask, options.endMask, options.shrinkAxisMask)
        )
        whole = slice(None if begins else int(begin), None if ends else int(end), int(step))
        places.append((0 if begins else int(begin)) if shrinks else whole)
    return np.asarray(got[0][tuple(places)])


def _piece(got: list[Array], _options: Any) -> Array:
    begin, size = (np.ravel(part) for part in got[1:])
    ends = [at + n if n >= 0 else None for at, n in zip(begin, size, strict=True)]
    return got[0][tuple(map(slice, begin, ends))]


def _reshaped(got: list[Array], options: Any) -> Array | None:
    """By the second input; old files have the shape in the options alone."""
    shape = got[1] if len(got) > 1 else None if options is None else options.newShape
    return None if shape is None else got[0].reshape(tuple(int(n) for n in np.ravel(shape)))


def _taken(got: list[Array], options: Any) -> Array | None:
    axis, batch = (0, 0) if options is None else (options.axis, options.batchDims)
    return None if batch else np.take(got[0], got[1], axis)


def _cast(got: list[Array], options: Any) -> Array | None:
    dtype = DTYPES.get(options.outDataType)
    return got[0].astype(dtype) if dtype is not None and dtype.kind in "ib" else None


def _product(got: list[Array], options: Any) -> Array:
    axes = tuple(int(axis) for axis in np.ravel(got[1]))
    return np.asarray(np.prod(got[0], axis=axes, keepdims=options.keepDims, dtype=got[0].dtype))


_COUNTED: dict[str, Callable[[list[Array], Any], Array | None]] = {
    "RESHAPE": _reshaped,
    "CONCATENATION": lambda got, options: np.concatenate(got, options.axis),
    "PACK": lambda got, options: np.stack(got, options.axis),
    "EXPAND_DIMS": lambda got, _options: np.expand_dims(got[0], int(np.ravel(got[1])[0])),
    "CAST": _cast,
    "STRIDED_SLICE": _sliced,
    "SLICE": _piece,
    "GATHER": _taken,
    "REDUCE_PROD": _product,
}
_BY_OPTIONS = {"CONCATENATION", "PACK", "CAST", "STRIDED_SLICE", "REDUCE_PROD"}
"""Of these nothing is known where a file has no options."""
