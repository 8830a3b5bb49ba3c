"""Detects what kind of model a file is, if any. Damaged models are plain bytes to the encoder, never an error."""

from skerry_host.patch.parse_onnx import is_onnx, parse_onnx
from skerry_host.patch.parse_tflite import is_tflite, parse_tflite
from skerry_host.patch.tensors import Layout, LayoutError


def layout_of(data: bytes) -> Layout:
    """Where the numbers of `data` lie; an empty layout if it is not a known model format."""
    try:
        if is_tflite(data):
            return parse_tflite(data)
        if is_onnx(data):
            return parse_onnx(data)
    except LayoutError:
        return Layout(())
    return Layout(())
