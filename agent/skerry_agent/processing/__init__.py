"""Pre- and postprocessing and golden comparison: the same code on host and device. Pure numpy, no file, no runtime."""

from skerry_agent.processing.arrays import Array, parse_npy, parse_npz, write_npz
from skerry_agent.processing.errors import ProcessingError
from skerry_agent.processing.golden import (
    GoldenResult,
    GoldenSet,
    compare_golden,
    constant,
    load_golden,
    save_golden,
)
from skerry_agent.processing.tensors import (
    CLASSIFICATION,
    Answer,
    dequantize,
    invalid,
    postprocess,
    preprocess,
    quantize,
)

__all__ = [
    "CLASSIFICATION",
    "Answer",
    "Array",
    "GoldenResult",
    "GoldenSet",
    "ProcessingError",
    "compare_golden",
    "constant",
    "dequantize",
    "invalid",
    "load_golden",
    "parse_npy",
    "parse_npz",
    "postprocess",
    "preprocess",
    "quantize",
    "save_golden",
    "write_npz",
]
