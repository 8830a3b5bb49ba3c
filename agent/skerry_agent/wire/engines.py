"""The names of the runtimes that load a model, as agent.toml and board files spell them. Loads none of them.

What opens one is the module of that name in `skerry_agent.runner.engines`; nothing else names them all.
"""

from collections.abc import Container
from typing import Literal

EngineName = Literal["litert", "tflite_runtime", "edgetpu", "onnxruntime"]

EXTRAS: dict[EngineName, str] = {
    "litert": "litert",
    "tflite_runtime": "coral",
    "edgetpu": "litert",
    "onnxruntime": "onnx",
}
"""The extra of the distribution skerry-agent that installs an engine. The Edge TPU's driver is a Debian package."""

DISTRIBUTIONS: dict[EngineName, tuple[str, ...]] = {
    "litert": ("ai-edge-litert",),
    "tflite_runtime": ("tflite-runtime",),
    "edgetpu": ("tflite-runtime", "ai-edge-litert"),
    "onnxruntime": ("onnxruntime",),
}
"""The distributions that an engine runs on: of several the first that is installed."""


def distribution_of(engine: EngineName, installed: Container[str]) -> str:
    """The distribution that an engine runs on here, or would if it were installed."""
    able = DISTRIBUTIONS[engine]
    return next((name for name in able if name in installed), able[-1])
