"""Small float TFLite graphs made by hand, and what they compute on the plain kernels."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from skerry_host.builder.modelfile.graph import describe
from skerry_host.builder.modelfile.tflite import read_model, write_model
from skerry_host.builder.rewrite.interface import signature
from skerry_host.builder.sources.load import SourceModel
from tests.kit.edgetpu.models import Maker


def options(name: str, **values: Any) -> Any:
    """The options of an operator: `options("Conv2D", strideW=1)`."""
    made = getattr(schema, f"{name}OptionsT")()
    for key, value in values.items():
        setattr(made, key, value)
    return made


class FloatMaker(Maker):
    """A maker of float tensors, with constants by their values."""

    def real(self, name: str, shape: Sequence[int]) -> str:
        return self.tensor(name, tuple(shape), "float32")

    def constant(self, name: str, values: Any, dtype: str = "float32") -> str:
        array = np.asarray(values)
        return self.tensor(name, array.shape, dtype, array, 0)


def answers(data: bytes, samples: Sequence[Any]) -> Any:
    """Real values of the first output for each sample, quantized or not, on the plain kernels."""
    interpreter = Interpreter(
        model_content=data,
        num_threads=1,
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    interpreter.allocate_tensors()
    read, written = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    found = []
    for sample in samples:
        interpreter.set_tensor(read["index"], _given(sample, read))
        interpreter.invoke()
        found.append(_real(interpreter.get_tensor(written["index"]), written))
    return np.array(found)


def _given(sample: Any, read: Any) -> Any:
    if read["dtype"] == np.float32:
        return sample.astype(np.float32)
    scale, zero = read["quantization"]
    limits = np.iinfo(read["dtype"])
    return np.clip(np.rint(sample / scale) + zero, limits.min, limits.max).astype(read["dtype"])


def _real(values: Any, written: Any) -> Any:
    scale, zero = written["quantization"]
    return values.astype(np.float64) if written["dtype"] == np.float32 else (values.astype(np.float64) - zero) * scale


def kinds(data: bytes) -> list[str]:
    """The operators of a file, in order."""
    return [op.name for op in describe(read_model(data)).ops]


def source_of(data: bytes) -> SourceModel:
    """A file as a source model, with a signature, without the child process that looks at foreign ones."""
    model = read_model(data)
    signature(model)
    data = write_model(model)
    return SourceModel(data, describe(read_model(data)), "", len(data), ())
