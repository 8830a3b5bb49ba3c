"""Makes a float TFLite model fit for the quantizer without changing what it computes. Refuses what it cannot make fit.

Each step changes a `schema.ModelT` in place and says what it did, or None. Steps are independent of each other.
"""

from collections.abc import Callable
from typing import Any

from ai_edge_litert import schema_py_generated as schema

from skerry_host.build.graph import Graph, Tensor

SIGNATURE = "serving_default"
_OLD_CODE_LIMIT = 127
"""Codes up to 127 once stood in an int8 field, `deprecated_builtin_code`; old files fill that one only (schema.fbs)."""


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
    """Add the signature that the quantizer needs, named after the tensors, to a model that has none."""
    if model.signatureDefs:
        return None
    main = model.subgraphs[0]
    made = schema.SignatureDefT()
    made.signatureKey = SIGNATURE.encode()
    made.inputs = [_entry(main, int(i)) for i in main.inputs]
    made.outputs = [_entry(main, int(i)) for i in main.outputs]
    model.signatureDefs = [made]
    return "signature added"


STEPS: tuple[Callable[[Any], str | None], ...] = (builtin_codes, fixed_batch, signature)


def normalise(model: Any) -> list[str]:
    """Apply every step; what was done, in order."""
    return [done for step in STEPS if (done := step(model))]


def unfit(graph: Graph) -> list[str]:
    """Why a normalised model cannot be quantized, every reason; empty if it can."""
    inputs = [graph.tensors[i] for i in graph.inputs]
    reasons = [
        f"input {t.name} has a dynamic shape {_shape(t)}: export the model with fixed sizes"
        for t in inputs
        if t.dynamic
    ]
    if graph.subgraphs != 1:
        reasons.append(f"it has {graph.subgraphs} subgraphs (control flow): only one is supported")
    if len(graph.inputs) != 1:
        reasons.append(f"it has {len(graph.inputs)} inputs: only one is supported")
    if not graph.outputs:
        reasons.append("it has no output")
    quantized = [t for t in inputs if t.dtype in {"int8", "uint8"}]
    reasons += [f"input {t.name} is {t.dtype}, so it is quantized already: give the float model" for t in quantized]
    wrong = [t for t in inputs if t not in quantized and t.dtype != "float32"]
    reasons += [f"input {t.name} is {t.dtype}, not float32" for t in wrong]
    reasons += [
        f"input {t.name} takes a batch of {t.shape[0]}: export it with a batch of 1"
        for t in inputs
        if t.shape[:1] not in {(), (1,)}
    ]
    return reasons


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
