"""Operators that runtimes compute on integers and the quantizer has no entry for: how their numbers are scaled. Data.

Each row was run on the kernels of ai-edge-litert 2.3.0 and of tflite-runtime 2.14. Operators whose integer kernel only
the newer one has (LOG, SQRT, NEG) are not here: they are looked up (`tables`), or rewritten in float.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

ScaleRule = Literal["own", "input", "output", "none"]
"""Whose scale an output has: one of `own` from its measured range, its `input`'s; `output`: inputs take the output's;
`none`: the outputs are no real values, and each input keeps its own."""


@dataclass(frozen=True, slots=True)
class Kernel:
    """How one operator is quantized. `values`: which inputs are real values, empty for all.

    `fixed`: the scale and zero point that the kernel demands of its output, by type; `int16`: it takes that, too.
    """

    rule: ScaleRule
    values: tuple[int, ...] = (0,)
    fixed: Mapping[str, tuple[float, int]] = field(default_factory=dict)
    int16: bool = False

    def takes(self, dtype: str) -> bool:
        """Whether it computes on a type."""
        return dtype == "int8" or self.int16


_ALL: tuple[int, ...] = ()
_MOVES = Kernel("input")
_COMPARES = Kernel("none", _ALL)

KERNELS: Mapping[str, Kernel] = {
    "ABS": Kernel("own", int16=True),
    "ELU": Kernel("own"),
    "EXP": Kernel("own", int16=True),
    "LEAKY_RELU": Kernel("own", int16=True),
    "PRELU": Kernel("own", (0, 1)),
    "REDUCE_PROD": Kernel("own"),
    "RELU_0_TO_1": Kernel("own"),
    "RELU_N1_TO_1": Kernel("own"),
    "RELU6": Kernel("own", int16=True),
    "L2_NORMALIZATION": Kernel("own", fixed={"int8": (1 / 128, 0)}),
    "LOG_SOFTMAX": Kernel("own", fixed={"int8": (16 / 256, 127)}),
    "REDUCE_MAX": Kernel("input", int16=True),
    "REDUCE_MIN": Kernel("input", int16=True),
    "BATCH_TO_SPACE_ND": _MOVES,
    "DEPTH_TO_SPACE": _MOVES,
    "EXPAND_DIMS": Kernel("input", int16=True),
    "REVERSE_V2": _MOVES,
    "SPACE_TO_BATCH_ND": _MOVES,
    "SPLIT_V": _MOVES,
    "SQUEEZE": Kernel("input", int16=True),
    "TILE": _MOVES,
    "TOPK_V2": _MOVES,
    "MAXIMUM": Kernel("output", _ALL, int16=True),
    "MINIMUM": Kernel("output", _ALL, int16=True),
    "ONE_HOT": Kernel("output", (2, 3)),
    "SELECT": Kernel("output", (1, 2)),
    "SELECT_V2": Kernel("output", (1, 2)),
    "ARG_MAX": Kernel("none"),
    "ARG_MIN": Kernel("none"),
    "EQUAL": _COMPARES,
    "GREATER": _COMPARES,
    "GREATER_EQUAL": _COMPARES,
    "LESS": _COMPARES,
    "LESS_EQUAL": _COMPARES,
    "NOT_EQUAL": _COMPARES,
}
