"""Model files made to take long: their layers are found in time, or they are patched as plain bytes."""

from types import SimpleNamespace

import numpy as np
import pytest

from skerry_host.patch.parse_onnx import parse_onnx
from skerry_host.patch.parse_tflite import parse_tflite
from skerry_host.patch.tensors import LayoutError
from tests.kit import patch_models as made


def test_an_onnx_tensor_of_a_million_dimensions_is_none():
    """Their product has seven million bits; to multiply them takes minutes."""
    sizes = made._field(1, b"\x7f" * 1_000_000)
    tensor = sizes + made._field(8, b"w") + made._field(9, b"1234")
    with pytest.raises(LayoutError, match="too many dimensions"):
        parse_onnx(made._field(7, made._field(5, tensor)))


def test_a_tflite_tensor_of_a_hundred_thousand_dimensions_is_none():
    grid = SimpleNamespace(shape=[2**31 - 1] * 100_000, dtype=np.dtype(np.float32), tobytes=lambda: bytes(8))
    with pytest.raises(LayoutError, match="too many dimensions"):
        parse_tflite(made.float_tflite([grid]))
