"""The graph of a model file of either format. Parses in this process: give it only bytes that a child has accepted."""

from functools import lru_cache

from skerry_host.builder.modelfile.graph import Graph, describe
from skerry_host.builder.modelfile.tflite import IDENTIFIER, read_model


def is_tflite(data: bytes) -> bool:
    """Whether bytes begin as TFLite does; a model that does not is ONNX."""
    return data[4:8] == IDENTIFIER


@lru_cache(maxsize=4)
def describe_any(model: bytes) -> Graph:
    """The graph of a TFLite or ONNX model; that of the last few is kept, since a build asks dozens of times."""
    if is_tflite(model):
        return describe(read_model(model))
    from skerry_host.builder.modelfile.onnx import describe_onnx  # noqa: PLC0415  (an extra)

    return describe_onnx(model)
