"""Fixes the batch of a `schema.ModelT` and gives it the signature that the quantizer needs."""

from typing import Any

from ai_edge_litert import schema_py_generated as schema

SIGNATURE = "serving_default"


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


def _free_batch(tensor: Any) -> bool:
    free = [] if tensor.shapeSignature is None else [axis for axis, n in enumerate(tensor.shapeSignature) if n < 0]
    return free == [0] and tensor.shape is not None and len(tensor.shape) > 0 and int(tensor.shape[0]) == 1


def _entry(subgraph: Any, index: int) -> Any:
    entry = schema.TensorMapT()
    entry.name = subgraph.tensors[index].name
    entry.tensorIndex = index
    return entry
