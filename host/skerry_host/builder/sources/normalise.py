"""Makes a float TFLite model fit for the quantizer without changing what it computes. Refuses what it cannot make fit.

Each step changes a `schema.ModelT` in place and says what it did, or None. Steps are independent of each other.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from skerry_host.builder.modelfile.graph import Graph, Tensor
from skerry_host.builder.sources.repair import flatten_biases, fold_float16, fuse_clamps, grouped_to_depthwise

SIGNATURE = "serving_default"
_INTEGERS = {"int8", "uint8", "int16"}
_FLOATS: dict[int, np.dtype[Any]] = {
    schema.TensorType.FLOAT32: np.dtype("<f4"),
    schema.TensorType.FLOAT16: np.dtype("<f2"),
}
_OLD_CODE_LIMIT = 127
"""Codes up to 127 once stood in an int8 field, `deprecated_builtin_code`; old files fill that one only (schema.fbs)."""


def unique_names(model: Any) -> str | None:
    """Give tensors names of their own, in UTF-8: the quantizer knows activations by name and refuses two of one."""
    seen: set[bytes] = set()
    changed = 0
    for index, tensor in enumerate(model.subgraphs[0].tensors):
        name = bytes(tensor.name or b"").decode("utf-8", "replace").encode()
        while name in seen or not name:
            name = (name or b"tensor") + b"_%d" % index
        changed += name != tensor.name
        tensor.name = name
        seen.add(name)
    return f"{changed} tensors renamed" if changed else None


def builtin_codes(model: Any) -> str | None:
    """Fill `builtin_code` from the old field: the quantizer reads the new one only and would emit a broken model."""
    old = [c for c in model.operatorCodes if c.builtinCode == 0 and 0 < c.deprecatedBuiltinCode <= _OLD_CODE_LIMIT]
    for code in old:
        code.builtinCode = code.deprecatedBuiltinCode
    return f"{len(old)} operator codes of the old schema" if old else None


def fixed_batch(model: Any) -> str | None:
    """Fix a dynamic batch of inputs and what follows from it to the 1 that the file already stores as its shape."""
    free = [t for t in model.subgraphs[0].tensors if _free_batch(t)]
    for tensor in free:
        tensor.shapeSignature = None
    return "dynamic batch fixed to 1" if free else None


def signature(model: Any) -> str | None:
    """Add the signature that the quantizer needs, named after the tensors, to a model that has none, or a wrong one."""
    main, there = model.subgraphs[0], bool(model.signatureDefs)
    if there and _names_io(model.signatureDefs[0], main):
        return None
    made = schema.SignatureDefT()
    made.signatureKey = SIGNATURE.encode()
    made.inputs = [_entry(main, int(i)) for i in main.inputs]
    made.outputs = [_entry(main, int(i)) for i in main.outputs]
    model.signatureDefs = [made]
    return "signature that names no inputs and outputs replaced" if there else "signature added"


def _names_io(found: Any, main: Any) -> bool:
    """Whether a signature names inputs as inputs and outputs as outputs."""
    pairs = ((found.inputs, main.inputs), (found.outputs, main.outputs))
    return all(named and {int(e.tensorIndex) for e in named} <= {int(i) for i in io} for named, io in pairs)


STEPS: tuple[Callable[[Any], str | None], ...] = (
    builtin_codes,
    fold_float16,
    flatten_biases,
    grouped_to_depthwise,
    fuse_clamps,
    fixed_batch,
    signature,
)


def normalise(model: Any) -> list[str]:
    """Apply every step; what was done, in order."""
    return [done for step in STEPS if (done := step(model))]


def not_finite(model: Any, most: int = 3) -> list[str]:
    """The names of constants of the main graph that hold NaN or infinity, at most so many."""
    found = []
    for tensor in model.subgraphs[0].tensors:
        data, dtype = model.buffers[tensor.buffer].data, _FLOATS.get(tensor.type)
        if data is None or dtype is None or len(data) % dtype.itemsize:
            continue
        if not np.isfinite(np.frombuffer(np.asarray(data, np.uint8).tobytes(), dtype)).all():
            found.append(tensor.name.decode("utf-8", "replace"))
    return found[:most]


def quantized(graph: Graph) -> bool:
    """Whether the model computes on integers already: an operator other than QUANTIZE writes them with a scale."""
    written = [graph.tensors[i] for op in graph.ops if op.name != "QUANTIZE" for i in op.outputs]
    return any(t.dtype in _INTEGERS and t.channels for t in written)


def unfit_quantized(graph: Graph) -> list[str]:
    """Why a model that is quantized already cannot be used as it is, every reason; empty if it can."""
    reasons = unfit_io(graph)
    left = [op.name for op in graph.float_ops() if op.name not in {"QUANTIZE", "DEQUANTIZE"}]
    if left:
        names = ", ".join(sorted(set(left)))
        reasons.append(f"{len(left)} of its operators compute in floating point ({names}): give the float model")
    return reasons


def unfit(graph: Graph) -> list[str]:
    """Why a normalised float model cannot be quantized, every reason; empty if it can."""
    inputs = [graph.tensors[i] for i in graph.inputs]
    reasons = unfit_io(graph)
    if graph.subgraphs != 1:
        reasons.append(f"it has {graph.subgraphs} subgraphs (control flow): only one is supported")
    reasons += [f"input {t.name} is {t.dtype}, not float32" for t in inputs if t.dtype != "float32"]
    if any(op.name in {"VAR_HANDLE", "READ_VARIABLE", "ASSIGN_VARIABLE"} for op in graph.ops):
        reasons.append("it keeps weights or state in variables: export it with constants")
    left = [op.name for op in graph.ops if op.name in {"QUANTIZE", "DEQUANTIZE", "FAKE_QUANT"}]
    if left:
        named = f"{len(left)} of its operators ({', '.join(sorted(set(left)))})"
        advice = "convert the trained model to int8, or give the float model"
        reasons.append(f"{named} are not pairs from quantization-aware training: {advice}")
    half = [t for t in graph.tensors if t.dtype in _INTEGERS and t.channels and t.constant_bytes]
    if half:
        reasons.append(f"{len(half)} of its weights are quantized already (dynamic range): give the float model")
    return reasons


def unfit_io(graph: Graph) -> list[str]:
    """What is wrong with the inputs and outputs of any model."""
    return [*_io_reasons(graph), *_shape_reasons(graph)]


def _io_reasons(graph: Graph) -> list[str]:
    reasons = []
    if len(graph.inputs) != 1:
        reasons.append(f"it has {len(graph.inputs)} inputs: only one is supported")
    if not graph.outputs:
        reasons.append("it has no output")
    if not graph.ops:
        reasons.append("it has no operators")
    return reasons


def _shape_reasons(graph: Graph) -> list[str]:
    inputs = [graph.tensors[i] for i in graph.inputs]
    open_ones = [t for t in inputs if t.dynamic]
    batches = [t for t in inputs if t.shape[:1] not in {(), (1,)}]
    return [
        *(f"input {t.name} has a dynamic shape {_shape(t)}: export the model with fixed sizes" for t in open_ones),
        *(f"input {t.name} takes a batch of {t.shape[0]}: export it with a batch of 1" for t in batches),
    ]


def _free_batch(tensor: Any) -> bool:
    free = [] if tensor.shapeSignature is None else [axis for axis, n in enumerate(tensor.shapeSignature) if n < 0]
    return free == [0] and tensor.shape is not None and len(tensor.shape) > 0 and int(tensor.shape[0]) == 1


def _entry(subgraph: Any, index: int) -> Any:
    entry = schema.TensorMapT()
    entry.name = subgraph.tensors[index].name
    entry.tensorIndex = index
    return entry


def _shape(tensor: Tensor) -> str:
    return "x".join("?" if n < 0 else str(n) for n in tensor.signature)
