"""What ai-edge-litert and tflite-runtime share: the same Interpreter from two distributions. Chooses neither."""

import importlib
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np

from skerry_agent.runner.arrays import from_array, to_array
from skerry_agent.runner.engines.base import About, ModelFile
from skerry_agent.runner.errors import EngineError, InferenceError
from skerry_agent.runner.tensor import Tensor
from skerry_agent.wire.manifest import TensorSpec

_NAMES = {"ai_edge_litert": "ai-edge-litert", "tflite_runtime": "tflite-runtime"}
_EMPTY_GRAPH = bytes.fromhex(
    "1800000054464c3300000e00140010000c000800000004000e000000100000001c00000050000000030000000100000008000000"
    "040004000400000001000000100000000c00140010000c00080004000c00000010000000100000001000000010"
) + bytes(23)
"""A TFLite file without an operator: what the runtime needs to show that it works with this numpy."""


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

    def infer(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        """See `Engine.infer`."""
        interpreter, outputs = self._interpreter, []
        try:
            for index, tensor in zip(self._in, inputs):  # noqa: B905 - callers give as many as there are inputs
                interpreter.set_tensor(index, to_array(tensor))
            interpreter.invoke()
            for index in self._out:
                outputs.append(from_array(interpreter.get_tensor(index)))  # noqa: PERF401 - in 3.11 a comprehension is a call
        except (RuntimeError, ValueError) as error:
            raise InferenceError(f"inference failed: {one_line(error)}") from None
        return outputs

    def close(self) -> None:
        """See `Engine.close`."""
        self._interpreter = None


def open_tflite(
    module: ModuleType, model: ModelFile, delegates: Sequence[Any] = (), delegate: str = ""
) -> TfliteEngine:
    """Load with a given Interpreter module; `delegate` names the first one. Raises `EngineError` with the reason."""
    try:
        interpreter = module.Interpreter(
            model_path=model.path, num_threads=model.threads, experimental_delegates=list(delegates) or None
        )
        interpreter.allocate_tensors()
        about = About(_name(module), _version(module), delegate or _own_delegate(interpreter))
        return TfliteEngine(interpreter, about)  # a malformed file may be refused only when its tensors are described
    except (RuntimeError, ValueError) as error:
        raise EngineError(
            f"{model.title} does not load: {one_line(error)}",
            hint="build the release again and check it on the host",
        ) from None
    except SystemError:
        raise _numpy_misfit(module) from None


def check(module: ModuleType) -> str:
    """Name and version of a runtime that can make an Interpreter; raises `EngineError` if it cannot."""
    try:
        module.Interpreter(model_content=_EMPTY_GRAPH).allocate_tensors()
    except SystemError:
        raise _numpy_misfit(module) from None
    except (RuntimeError, ValueError) as error:
        raise EngineError(f"{_name(module)} does not work: {one_line(error)}", hint="install it again") from None
    return f"{_name(module)} {_version(module)}"


def interpreter_module(package: str, extra: str) -> ModuleType:
    """The package's `interpreter`; raises `EngineError` that names the extra of the agent which installs it."""
    try:
        return importlib.import_module(f"{package}.interpreter")
    except ImportError as error:
        raise EngineError(f"{package} is not usable ({one_line(error)})", hint=f"pip install '{extra}'") from None


def one_line(error: Exception) -> str:
    """What an exception says, on one line."""
    return " ".join(str(error).split()) or type(error).__name__


def _numpy_misfit(module: ModuleType) -> EngineError:
    """tflite-runtime 2.14 was built for numpy 1: with numpy 2 it imports, and fails as soon as it is used."""
    return EngineError(f"{_name(module)} does not work with numpy {np.__version__}", hint="pip install 'numpy<2'")


def _name(module: ModuleType) -> str:
    return _NAMES[module.__name__.partition(".")[0]]


def _version(module: ModuleType) -> str:
    return str(getattr(importlib.import_module(module.__name__.partition(".")[0]), "__version__", "unknown"))


def _own_delegate(interpreter: Any) -> str:
    """XNNPACK, the only delegate that either runtime applies unasked, where it has taken a part of this very model.

    There is no public way to ask; both list a node named DELEGATE then (seen in 2.14.0 and 2.3.0).
    """
    operators: list[dict[str, Any]] = getattr(interpreter, "_get_ops_details", list)()
    return "XNNPACK" if any(operator["op_name"] == "DELEGATE" for operator in operators) else ""


def _spec(detail: dict[str, Any]) -> TensorSpec:
    scale, zero_point = detail["quantization"]
    shape = tuple(int(n) for n in detail["shape"])
    return TensorSpec(detail["name"], np.dtype(detail["dtype"]).name, shape, float(scale), int(zero_point))
