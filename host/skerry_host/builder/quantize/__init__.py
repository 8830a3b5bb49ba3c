"""Float TFLite to int8 TFLite, without TensorFlow: calibration, quantization, and what can be repaired around it."""

from skerry_host.builder.quantize.equalize import equalize
from skerry_host.builder.quantize.make import quantize

__all__ = ["equalize", "quantize"]
