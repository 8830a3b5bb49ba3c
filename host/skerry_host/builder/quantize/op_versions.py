"""Writes the operator versions that int8 kernels need: the quantizer leaves them at the float model's.

Converters give all operators of a kind the version of its newest feature in the model, and the Edge TPU compiler
rejects a model with one version that it does not know: so a version that no operator of the kind needs is lowered.

Old runtimes and the Edge TPU compiler choose a kernel by version. Source of the table: the lowest version whose
registration takes int8 (tensorflow/lite/tools/versioning/op_version.cc, and what TFLiteConverter 2.21 writes).
"""

from typing import Any

from ai_edge_litert import schema_py_generated as schema

from skerry_host.builder.edgetpu.table import operator_table
from skerry_host.builder.modelfile.graph import op_name
from skerry_host.builder.modelfile.links import kinds
from skerry_host.builder.quantize.step import Draft, Step, int8

INT8_VERSIONS = {
    "ABS": 2,
    "ADD": 2,
    "ARG_MAX": 2,
    "ARG_MIN": 2,
    "AVERAGE_POOL_2D": 2,
    "BATCH_TO_SPACE_ND": 2,
    "CONCATENATION": 2,
    "CONV_2D": 3,
    "DEPTHWISE_CONV_2D": 3,
    "DEPTH_TO_SPACE": 2,
    "DEQUANTIZE": 2,
    "EQUAL": 2,
    "EXP": 2,
    "FULLY_CONNECTED": 4,
    "GATHER": 2,
    "GELU": 2,
    "GREATER": 2,
    "GREATER_EQUAL": 2,
    "L2_NORMALIZATION": 2,
    "LEAKY_RELU": 2,
    "LESS": 2,
    "LESS_EQUAL": 2,
    "LOGISTIC": 2,
    "LOG_SOFTMAX": 2,
    "MAXIMUM": 2,
    "MAX_POOL_2D": 2,
    "MEAN": 2,
    "MINIMUM": 2,
    "MIRROR_PAD": 2,
    "MUL": 2,
    "NOT_EQUAL": 2,
    "PACK": 2,
    "PAD": 2,
    "PADV2": 2,
    "QUANTIZE": 1,
    "REDUCE_MAX": 2,
    "REDUCE_MIN": 2,
    "REDUCE_PROD": 2,
    "RELU": 2,
    "RELU6": 2,
    "RESIZE_BILINEAR": 2,
    "RESIZE_NEAREST_NEIGHBOR": 2,
    "RSQRT": 2,
    "SLICE": 2,
    "SOFTMAX": 2,
    "SPACE_TO_BATCH_ND": 2,
    "SPACE_TO_DEPTH": 2,
    "SPLIT": 2,
    "SPLIT_V": 2,
    "SQUARED_DIFFERENCE": 2,
    "STRIDED_SLICE": 2,
    "SUB": 2,
    "SUM": 2,
    "TANH": 2,
    "TILE": 2,
    "TOPK_V2": 2,
    "TRANSPOSE": 2,
    "TRANSPOSE_CONV": 2,
}


def write_versions(model: Any) -> None:
    """Give each operator code of a fully int8 `schema.ModelT` the version that int8 needs, or keep a higher one.

    None stays above what the Edge TPU compiler knows, but where an operator needs the newer one.
    """
    newest = operator_table().newest
    needed = _needed(model)
    for at, code in enumerate(model.operatorCodes):
        name = op_name(code)
        version = max(code.version, INT8_VERSIONS.get(name, 1))
        limit = newest.get(name, version)
        code.version = version if at in needed else min(version, limit)


def _needed(model: Any) -> set[int]:
    """The operator codes of which an operator has a feature that came after the Edge TPU compiler."""
    main = model.subgraphs[0]
    names = kinds(model)
    return {op.opcodeIndex for op in main.operators if (new := _NEW.get(names[op.opcodeIndex])) and new(main, op)}


def _grouped(main: Any, op: Any) -> bool:
    """CONV_2D 6: each filter reads only some of the channels."""
    return bool(main.tensors[op.inputs[0]].shape[-1] != main.tensors[op.inputs[1]].shape[-1])


def _activated(_main: Any, op: Any) -> bool:
    """TRANSPOSE_CONV 4: a fused activation."""
    return bool(op.builtinOptions.fusedActivationFunction != schema.ActivationFunctionType.NONE)


def _by_channel(main: Any, op: Any) -> bool:
    """FULLY_CONNECTED 12: weights with a scale for each row."""
    form = main.tensors[op.inputs[1]].quantization
    return form is not None and form.scale is not None and len(form.scale) > 1


_NEW = {"CONV_2D": _grouped, "TRANSPOSE_CONV": _activated, "FULLY_CONNECTED": _by_channel}


def _run(draft: Draft) -> Draft:
    write_versions(draft.model)
    return draft


STEP = Step("write operator versions", int8, _run)
