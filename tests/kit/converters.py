"""Small ONNX models made here, and what the converters' environment has."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from skerry_host.builder.sources.converters import ONNX2TF, TENSORFLOW, python_with

onnx = pytest.importorskip("onnx")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402


def converter(which) -> str:
    """Why the converter cannot be used, empty if it can."""
    try:
        python_with(which)
    except Exception as error:  # noqa: BLE001
        return str(error)
    return ""


needs_onnx2tf = pytest.mark.skipif(bool(converter(ONNX2TF)), reason=converter(ONNX2TF) or "-")
needs_tensorflow = pytest.mark.skipif(bool(converter(TENSORFLOW)), reason=converter(TENSORFLOW) or "-")


UNKNOWN = "ThresholdedRelu"
"""An operator that we do not write as TFLite, and onnx2tf does."""


def small_onnx(shape=(1, 3, 8, 8), *, middle="Relu", hard_sigmoid=False, opset=13):
    """conv 3 -> 4, a clamp or another, mean, flatten. Names are of the kind that TensorFlow does not take."""
    rng = np.random.default_rng(1)
    weights = numpy_helper.from_array(rng.normal(size=(4, 3, 3, 3)).astype(np.float32), "w@0")
    bias = numpy_helper.from_array(rng.normal(size=4).astype(np.float32), "b")
    middle = "HardSigmoid" if hard_sigmoid else middle
    nodes = [
        helper.make_node("Conv", ["x:0", "w@0", "b"], ["c"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        helper.make_node(middle, ["c"], ["r"]),
        helper.make_node("GlobalAveragePool", ["r"], ["g"]),
        helper.make_node("Flatten", ["g"], ["y@1"]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x:0", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y@1", TensorProto.FLOAT, (shape[0], 4))],
        [weights, bias],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def tensorflow(code: str, folder: Path, *arguments: str) -> None:
    """Run code where TensorFlow is."""
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
    subprocess.run(
        [python_with(TENSORFLOW), "-c", code, *arguments], cwd=folder, env=environment, check=True, capture_output=True
    )


PYTHON = sys.executable
