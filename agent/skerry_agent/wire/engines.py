"""The names of the runtimes that load a model, as agent.toml and board files spell them. Loads none of them.

What opens one is the module of that name in `skerry_agent.runner.engines`; nothing else names them all.
"""

from typing import Literal

EngineName = Literal["litert", "tflite_runtime", "edgetpu", "onnxruntime"]

EXTRAS: dict[EngineName, str] = {
    "litert": "litert",
    "tflite_runtime": "coral",
    "edgetpu": "litert",
    "onnxruntime": "onnx",
}
"""The extra of the distribution skerry-agent that installs an engine. The Edge TPU's driver is a Debian package."""
