"""Writes functions that TFLite has no operator for by those it has: Erf, Softsign, Atan, Sinh, Cosh, Tan and others.

TensorFlow's converter leaves them as custom operators of these names, or with Flex before them where it was allowed to.
On int8 the whole is one table. erf is formula 7.1.26 of Abramowitz and Stegun, within 1.5e-7; atan is a polynomial for
arguments up to tan(pi/8) (Cephes, atanf.c), to which half angles lead.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from skerry_host.builder.modelfile.constants import add_constant_tensor
from skerry_host.builder.modelfile.parts import copy_tensor, operator
from skerry_host.builder.modelfile.replacing import replace_operators

_B = schema.BuiltinOperator
_ERF = (1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592)
_ERF_P = 0.3275911
_ATAN = (8.05374449538e-2, -1.38776856032e-1, 1.99777106478e-1, -3.33329491539e-1)


class _Writer:
    """Collects the operators of one function; a value is the index of its tensor, or a number."""

    def __init__(self, model: Any, written: int) -> None:
        self._model, self._main, self._written = model, model.subgraphs[0], written
        self.ops: list[Any] = []

    def op(self, name: str, *reads: "int | float") -> int:
        """One operator more; the tensor that it writes."""
        made = copy_tensor(self._main, self._written, b"/%s%d" % (name.lower().encode(), len(self.ops)))
        self.ops.append(operator(self._model, getattr(_B, name), tuple(map(self._tensor, reads)), made, _options(name)))
        return made

    def end(self, last: int) -> list[Any]:
        """All operators, of which the last writes what the function's own did."""
        assert int(self.ops[-1].outputs[0]) == last
        self.ops[-1].outputs = np.array([self._written], np.int32)
        return self.ops

    def _tensor(self, read: "int | float") -> int:
        if isinstance(read, int):
            return read
        name = self._main.tensors[self._written].name + b"/number%d" % len(self._main.tensors)
        return add_constant_tensor(self._model, name, np.array([read], np.float32))


def _options(name: str) -> Any:
    known = {"ADD": "Add", "SUB": "Sub", "MUL": "Mul", "DIV": "Div", "EXP": "Exp", "ABS": "Abs"}
    known["MAXIMUM"] = "MaximumMinimum"
    return getattr(schema, f"{known[name]}OptionsT")() if name in known else None


def _horner(w: _Writer, x: int, factors: tuple[float, ...]) -> int:
    """The polynomial with these factors, highest first, times x."""
    value = w.op("MUL", x, factors[0])
    for factor in factors[1:]:
        value = w.op("MUL", w.op("ADD", value, factor), x)
    return value


def _erf(w: _Writer, x: int) -> int:
    size = w.op("ABS", x)
    t = w.op("DIV", 1.0, w.op("ADD", w.op("MUL", size, _ERF_P), 1.0))
    gauss = w.op("EXP", w.op("MUL", w.op("MUL", size, size), -1.0))
    rest = w.op("MUL", _horner(w, t, _ERF), gauss)
    return w.op("MUL", w.op("SIGN", x), w.op("SUB", 1.0, rest))


def _erfc(w: _Writer, x: int) -> int:
    return w.op("ADD", w.op("MUL", _erf(w, x), -1.0), 1.0)


def _softsign(w: _Writer, x: int) -> int:
    return w.op("DIV", x, w.op("ADD", w.op("ABS", x), 1.0))


def _atan(w: _Writer, x: int) -> int:
    """atan(x) = 2 atan(x / (1 + sqrt(1 + x^2))), twice: the argument is then at most tan(pi/8)."""
    once = w.op("DIV", x, w.op("ADD", w.op("SQRT", w.op("ADD", w.op("MUL", x, x), 1.0)), 1.0))
    small = w.op("DIV", once, w.op("ADD", w.op("SQRT", w.op("ADD", w.op("MUL", once, once), 1.0)), 1.0))
    square = w.op("MUL", small, small)
    series = w.op("ADD", w.op("MUL", _horner(w, square, _ATAN), small), small)
    return w.op("MUL", series, 4.0)


def _exponentials(w: _Writer, x: int) -> tuple[int, int]:
    """exp(x) and exp(-x)."""
    return w.op("EXP", x), w.op("EXP", w.op("MUL", x, -1.0))


def _sinh(w: _Writer, x: int) -> int:
    return w.op("MUL", w.op("SUB", *_exponentials(w, x)), 0.5)


def _cosh(w: _Writer, x: int) -> int:
    return w.op("MUL", w.op("ADD", *_exponentials(w, x)), 0.5)


def _tan(w: _Writer, x: int) -> int:
    return w.op("DIV", w.op("SIN", x), w.op("COS", x))


def _asinh(w: _Writer, x: int) -> int:
    """sign(x) log(|x| + sqrt(x^2 + 1))."""
    size = w.op("ABS", x)
    root = w.op("SQRT", w.op("ADD", w.op("MUL", x, x), 1.0))
    return w.op("MUL", w.op("SIGN", x), w.op("LOG", w.op("ADD", size, root)))


def _acosh(w: _Writer, x: int) -> int:
    """log(x + sqrt(x^2 - 1))."""
    root = w.op("SQRT", w.op("SUB", w.op("MUL", x, x), 1.0))
    return w.op("LOG", w.op("ADD", root, x))


def _atanh(w: _Writer, x: int) -> int:
    """log((1 + x) / (1 - x)) / 2."""
    share = w.op("DIV", w.op("ADD", x, 1.0), w.op("SUB", 1.0, x))
    return w.op("MUL", w.op("LOG", share), 0.5)


def _asin(w: _Writer, x: int) -> int:
    """atan(x / sqrt(1 - x^2)), with the root kept above 0."""
    inner = w.op("MAXIMUM", w.op("SUB", 1.0, w.op("MUL", x, x)), 1e-12)
    return _atan(w, w.op("MUL", x, w.op("RSQRT", inner)))


def _acos(w: _Writer, x: int) -> int:
    return w.op("SUB", math.pi / 2, _asin(w, x))


def _inv(w: _Writer, x: int) -> int:
    return w.op("DIV", 1.0, x)


def _expm1(w: _Writer, x: int) -> int:
    return w.op("SUB", w.op("EXP", x), 1.0)


FUNCTIONS: dict[str, Callable[[_Writer, int], int]] = {
    "Acos": _acos,
    "Acosh": _acosh,
    "Asin": _asin,
    "Asinh": _asinh,
    "Atan": _atan,
    "Atanh": _atanh,
    "Cosh": _cosh,
    "Erf": _erf,
    "Erfc": _erfc,
    "Expm1": _expm1,
    "Inv": _inv,
    "Reciprocal": _inv,
    "Sinh": _sinh,
    "Softsign": _softsign,
    "Tan": _tan,
}


def builtin_functions(model: Any) -> str | None:
    """Write each of these custom operators by builtin ones."""

    def spelt(name: str, op: Any) -> list[Any] | None:
        function = FUNCTIONS.get(name.removeprefix("Flex"))
        tensors = model.subgraphs[0].tensors
        if function is None or len(op.inputs) != 1 or tensors[op.inputs[0]].type != schema.TensorType.FLOAT32:
            return None
        writer = _Writer(model, int(op.outputs[0]))
        return writer.end(function(writer, int(op.inputs[0])))

    done = replace_operators(model, spelt)
    return f"{done} functions without an operator of TFLite written by others" if done else None
