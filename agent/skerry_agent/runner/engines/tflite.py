"""TFLite models on ai-edge-litert or tflite-runtime: the same Interpreter from two distributions.

ai-edge-litert applies XNNPACK by default, int8 kernels included; tflite-runtime does so for float models only.
"""

import importlib
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from skerry_agent.processing import Array
from skerry_agent.runner.engines.base import About
from skerry_agent.runner.errors import EngineError, InferenceError
from skerry_agent.wire.manifest import TensorSpec


class TfliteEngine:
    """An allocated Interpreter, with or without a delegate."""

    def __init__(self, interpreter: Any, about: About) -> None:
        self._interpreter = interpreter
        self.about = about
        details_in, details_out = interpreter.get_input_details(), interpreter.get_output_details()
        self.inputs = tuple(map(_spec, details_in))
        self.outputs = tuple(map(_spec, details_out))
        self._in = [detail["index"] for detail in details_in]
        self._out = [detail["index"] for detail in details_out]

    def infer(self, inputs: Sequence[Array]) -> list[Array]:
        """See `Engine.infer`."""
        interpreter, outputs = self._interpreter, []
        try:
            for index, tensor in zip(self._in, inputs):  # noqa: B905 - callers give as many as there are inputs
                interpreter.set_tensor(index, tensor)
            interpreter.invoke()
            for index in self._out:
                outputs.append(interpreter.get_tensor(index))  # noqa: PERF401 - in 3.11 a comprehension is a call
        except (RuntimeError, ValueError) as error:
            raise InferenceError(f"inference failed: {_line(error)}") from None
        return outputs

    def close(self) -> None:
        """See `Engine.close`."""
        self._interpreter = None


def open_litert(path: str, threads: int) -> TfliteEngine:
    """Load on ai-edge-litert with its default delegate (XNNPACK)."""
    return open_tflite(litert_module(), path, threads)


def open_tflite_runtime(path: str, threads: int) -> TfliteEngine:
    """Load on tflite-runtime, which needs numpy < 2."""
    return open_tflite(tflite_runtime_module(), path, threads)


def open_tflite(
    module: ModuleType, path: str, threads: int, delegates: Sequence[Any] = (), delegate: str = ""
) -> TfliteEngine:
    """Load with a given Interpreter module; `delegate` names the first one. Raises `EngineError` with the reason."""
    try:
        interpreter = module.Interpreter(
            model_path=path, num_threads=threads, experimental_delegates=list(delegates) or None
        )
        interpreter.allocate_tensors()
        package = module.__name__.partition(".")[0]
        about = About(_NAMES[package], _version(package), delegate or _OWN.get(package, ""))
        return TfliteEngine(interpreter, about)  # a malformed file may be refused only when its tensors are described
    except (RuntimeError, ValueError) as error:
        raise EngineError(
            f"{Path(path).name} does not load: {_line(error)}", hint="build the release again and check it on the host"
        ) from None
    except SystemError:
        raise EngineError(
            f"{module.__name__} does not work with numpy {np.__version__}", hint="pip install 'numpy<2'"
        ) from None


_NAMES = {"ai_edge_litert": "ai-edge-litert", "tflite_runtime": "tflite-runtime"}
_OWN = {"ai_edge_litert": "XNNPACK"}
"""What a runtime applies without being asked."""


def _version(package: str) -> str:
    return str(getattr(importlib.import_module(package), "__version__", "unknown"))


def litert_module() -> ModuleType:
    """ai-edge-litert's interpreter module; raises `EngineError` if it is not installed."""
    return _module("ai_edge_litert.interpreter", "skerry-agent[litert]")


def tflite_runtime_module() -> ModuleType:
    """tflite-runtime's interpreter module; raises `EngineError` if it is not installed."""
    return _module("tflite_runtime.interpreter", "skerry-agent[coral]")


def _module(name: str, extra: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        package = name.partition(".")[0]
        raise EngineError(f"{package} is not usable ({_line(error)})", hint=f"pip install '{extra}'") from None


def _spec(detail: dict[str, Any]) -> TensorSpec:
    scale, zero_point = detail["quantization"]
    shape = tuple(int(n) for n in detail["shape"])
    return TensorSpec(detail["name"], np.dtype(detail["dtype"]).name, shape, float(scale), int(zero_point))


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
