"""A TFLite model as plain values: operators and tensors, without the weights. Pure; knows no file and no runtime."""

from collections.abc import Iterator, Sequence
from typing import Any

from ai_edge_litert import schema_py_generated as schema
from msgspec import Struct

from skerry_agent.wire.manifest import Join, TensorSpec
from skerry_host.builder.modelfile.joins import read_joins
from skerry_host.builder.modelfile.tflite import text

_DTYPES = {code: name.lower() for name, code in vars(schema.TensorType).items() if not name.startswith("_")}
_OPS = {code: name for name, code in vars(schema.BuiltinOperator).items() if not name.startswith("_")}


class Tensor(Struct, frozen=True):
    """One tensor. A size of -1 in `signature` is dynamic; `channels` counts the scales, 0 if it is not quantized."""

    index: int
    name: str
    dtype: str
    shape: tuple[int, ...]
    signature: tuple[int, ...]
    constant_bytes: int
    channels: int = 0
    scale: float = 0.0
    zero_point: int = 0

    @property
    def dynamic(self) -> bool:
        """Whether a size is known only at run time."""
        return -1 in self.signature


class Op(Struct, frozen=True):
    """One operator; an absent optional input is not listed. `window`: what each output of a pool looks at."""

    index: int
    name: str
    version: int
    custom: bool
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    window: int = 1


class Graph(Struct, frozen=True):
    """The first subgraph of a model, and how many there are. The first signature names inputs and outputs.

    `joins`: outputs of the source that the model gives in parts.
    """

    subgraphs: int
    tensors: tuple[Tensor, ...]
    ops: tuple[Op, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    input_names: dict[str, int] = {}
    output_names: dict[str, int] = {}
    signature: str = ""
    joins: tuple[Join, ...] = ()

    @property
    def parameter_bytes(self) -> int:
        """Bytes of constants."""
        return sum(tensor.constant_bytes for tensor in self.tensors)

    @property
    def custom_ops(self) -> list[Op]:
        """The operators that the runtime alone cannot run."""
        return [op for op in self.ops if op.custom]

    def input_specs(self) -> tuple[TensorSpec, ...]:
        """The inputs in the runtime's order, named as in the signature."""
        return self._specs(self.inputs, self.input_names)

    def output_specs(self) -> tuple[TensorSpec, ...]:
        """The outputs in the runtime's order, named as in the signature."""
        return self._specs(self.outputs, self.output_names)

    def float_ops(self) -> list[Op]:
        """The operators that compute on floating point values."""
        return [op for op in self.ops if any(self.tensors[i].dtype.startswith("float") for i in op.inputs + op.outputs)]

    def _specs(self, indices: Sequence[int], names: dict[str, int]) -> tuple[TensorSpec, ...]:
        public = {index: name for name, index in names.items()}
        found = [self.tensors[index] for index in indices]
        return tuple(TensorSpec(public.get(t.index, t.name), t.dtype, t.shape, t.scale, t.zero_point) for t in found)


def describe(model: Any) -> Graph:
    """The graph of a `schema.ModelT`; raises `ValueError` where it names tensors or buffers that are not there.

    Of a file that is damaged in other ways the generated code raises what it likes.
    """
    main = model.subgraphs[0]
    signatures = model.signatureDefs or []
    first = signatures[0] if signatures else None
    graph = Graph(
        subgraphs=len(model.subgraphs),
        tensors=tuple(_tensor(i, tensor, model.buffers or []) for i, tensor in enumerate(main.tensors)),
        ops=tuple(_op(i, op, model.operatorCodes) for i, op in enumerate(main.operators or [])),
        inputs=tuple(_indices(main.inputs)),
        outputs=tuple(_indices(main.outputs)),
        input_names=_names(first.inputs) if first else {},
        output_names=_names(first.outputs) if first else {},
        signature=text(first.signatureKey) if first else "",
        joins=read_joins(model),
    )
    named = [*graph.inputs, *graph.outputs, *(i for op in graph.ops for i in op.inputs + op.outputs)]
    if any(index >= len(graph.tensors) for index in named):
        raise ValueError("an operator names a tensor that is not there")
    return graph


def op_name(code: Any) -> str:
    """The name of a `schema.OperatorCodeT`: the builtin's, or the custom one."""
    builtin = _builtin(code)
    if builtin == schema.BuiltinOperator.CUSTOM:
        return text(code.customCode)
    return str(_OPS.get(builtin, f"BUILTIN_{builtin}"))


def _builtin(code: Any) -> int:
    """Old files fill the deprecated field only, new ones both or the new one."""
    return int(max(code.builtinCode, code.deprecatedBuiltinCode))


def _tensor(index: int, tensor: Any, buffers: Sequence[Any]) -> Tensor:
    shape = tuple(int(n) for n in _list(tensor.shape))
    quantization = tensor.quantization
    scales = _list(quantization.scale) if quantization else []
    zeros = _list(quantization.zeroPoint) if quantization else []
    data = buffers[tensor.buffer].data
    return Tensor(
        index=index,
        name=text(tensor.name),
        dtype=_DTYPES.get(tensor.type, f"type_{tensor.type}"),
        shape=shape,
        signature=tuple(int(n) for n in _list(tensor.shapeSignature)) or shape,
        constant_bytes=0 if data is None else len(data),
        channels=len(scales),
        scale=float(scales[0]) if len(scales) == 1 else 0.0,
        zero_point=int(zeros[0]) if len(scales) == 1 and len(zeros) else 0,
    )


def _op(index: int, op: Any, codes: Sequence[Any]) -> Op:
    code = codes[op.opcodeIndex]
    return Op(
        index=index,
        name=op_name(code),
        version=int(code.version),
        custom=_builtin(code) == schema.BuiltinOperator.CUSTOM,
        inputs=tuple(_indices(op.inputs)),
        outputs=tuple(_indices(op.outputs)),
        window=_window(op.builtinOptions),
    )


def _window(options: Any) -> int:
    return int(getattr(options, "filterHeight", 1)) * int(getattr(options, "filterWidth", 1))


def _indices(values: Any) -> Iterator[int]:
    return (int(i) for i in _list(values) if i >= 0)


def _names(entries: Any) -> dict[str, int]:
    return {text(entry.name): int(entry.tensorIndex) for entry in entries or []}


def _list(values: Any) -> Any:
    return [] if values is None else values
