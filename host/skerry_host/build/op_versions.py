"""Writes the operator versions that int8 kernels need: the quantizer leaves them at the float model's.

Old runtimes and the Edge TPU compiler choose a kernel by version. Source of the table: the lowest version whose
registration takes int8 (tensorflow/lite/tools/versioning/op_version.cc, and what TFLiteConverter 2.21 writes).
"""

from typing import Any

from skerry_host.build.graph import op_name

INT8_VERSIONS = {
    "ADD": 2,
    "AVERAGE_POOL_2D": 2,
    "CONCATENATION": 2,
    "CONV_2D": 3,
    "DEPTHWISE_CONV_2D": 3,
    "DEQUANTIZE": 2,
    "FULLY_CONNECTED": 4,
    "L2_NORMALIZATION": 2,
    "LEAKY_RELU": 2,
    "LOGISTIC": 2,
    "MAXIMUM": 2,
    "MAX_POOL_2D": 2,
    "MEAN": 2,
    "MINIMUM": 2,
    "MUL": 2,
    "PACK": 2,
    "PAD": 2,
    "PADV2": 2,
    "QUANTIZE": 1,
    "REDUCE_MAX": 2,
    "REDUCE_MIN": 2,
    "RELU": 2,
    "RELU6": 2,
    "RESIZE_BILINEAR": 2,
    "RESIZE_NEAREST_NEIGHBOR": 2,
    "SLICE": 2,
    "SOFTMAX": 2,
    "SPACE_TO_DEPTH": 2,
    "SPLIT": 2,
    "STRIDED_SLICE": 2,
    "SUB": 2,
    "SUM": 2,
    "TANH": 2,
    "TRANSPOSE": 2,
    "TRANSPOSE_CONV": 2,
}


def raise_versions(model: Any) -> None:
    """Raise each operator of a fully int8 `schema.ModelT` to the version that int8 needs; never lower one."""
    for code in model.operatorCodes:
        code.version = max(code.version, INT8_VERSIONS.get(op_name(code), 1))
