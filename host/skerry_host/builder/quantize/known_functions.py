"""Recognises, by its values, a function that one operator with an int8 kernel computes: GELU, ELU, LEAKY_RELU, others.

Converters and people spell them out in many ways (by Erf, by a comparison and a choice); the values are the same. Such
an operator is quicker than a table, and an Edge TPU maps some of them.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from skerry_agent.processing import Array
from skerry_host.builder.quantize.tables import VALUES, evaluate

_B = schema.BuiltinOperator
TOLERANCE = 1e-5
"""Of the value, or of 1 where it is smaller: what formulas of one function differ by in float32."""
REACH = 12.0
"""Functions are compared at least this far to both sides of 0."""
Known = tuple[int, Any]
"""The code of an operator, and its options."""


def known_function(function: bytes, low: float, high: float) -> Known | None:
    """The operator that computes a function, which is looked at over a range; None where there is none."""
    near = np.linspace(-REACH, REACH, VALUES, dtype=np.float32)
    far = np.linspace(min(low, -REACH), max(high, REACH), VALUES, dtype=np.float32)
    numbers = np.concatenate([near, far])
    with np.errstate(all="ignore"):
        values = np.concatenate([evaluate(function, near), evaluate(function, far)]).astype(np.float64)
        for formula, make in _known(evaluate(function, np.full(VALUES, -1.0, np.float32))[0]):
            wanted = formula(numbers.astype(np.float64))
            if np.all(np.abs(values - wanted) <= TOLERANCE * np.maximum(1.0, np.abs(wanted))):
                return make()
    return None


def _known(at_minus_one: float) -> list[tuple[Callable[[Array], Array], Callable[[], Known]]]:
    """Formulas and operators; the value at -1 is the slope that a LEAKY_RELU would have."""
    slope = -float(at_minus_one)
    return [
        (lambda x: np.maximum(x, 0), lambda: (_B.RELU, None)),
        (np.abs, lambda: (_B.ABS, schema.AbsOptionsT())),
        (lambda x: np.where(x > 0, x, slope * x), lambda: _leaky(slope)),
        (lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))), lambda: (_B.ELU, None)),
        (lambda x: 1 / (1 + np.exp(-x)), lambda: (_B.LOGISTIC, None)),
        (np.tanh, lambda: (_B.TANH, None)),
        (_gelu, lambda: _gelu_operator(approximate=False)),
        (_gelu_by_tanh, lambda: _gelu_operator(approximate=True)),
    ]


def _gelu(x: Array) -> Array:
    values: Array = 0.5 * x * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))
    return values


def _gelu_by_tanh(x: Array) -> Array:
    values: Array = 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    return values


def _leaky(slope: float) -> Known:
    options = schema.LeakyReluOptionsT()
    options.alpha = slope
    return _B.LEAKY_RELU, options


def _gelu_operator(*, approximate: bool) -> Known:
    options = schema.GeluOptionsT()
    options.approximate = approximate
    return _B.GELU, options
