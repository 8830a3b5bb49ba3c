"""Drops operators, tensors and constants of a `schema.ModelT` that no output needs any more. Changes nothing else."""

from typing import Any

import numpy as np

from skerry_host.builder.modelfile.links import drop_unread


def drop_dead(model: Any) -> None:
    """Drop them from the first subgraph, in place; operators that write variables, or nothing, stay."""
    main = model.subgraphs[0]
    drop_unread(model)
    needed = {int(i) for i in (*main.inputs, *main.outputs)}
    needed |= {int(i) for op in main.operators for i in (*op.inputs, *op.outputs) if i >= 0}
    needed |= {at for at, tensor in enumerate(main.tensors) if tensor.isVariable}
    _renumber(model, sorted(needed))


def _renumber(model: Any, kept: list[int]) -> None:
    """Keep these tensors of the first subgraph; constants that no tensor holds any more become empty."""
    main = model.subgraphs[0]
    places = {old: new for new, old in enumerate(kept)}
    lost = {tensor.buffer for at, tensor in enumerate(main.tensors) if at not in places}
    main.tensors = [main.tensors[old] for old in kept]
    for op in main.operators:
        op.inputs = np.array([places[int(i)] if i >= 0 else -1 for i in op.inputs], np.int32)
        op.outputs = np.array([places[int(o)] for o in op.outputs], np.int32)
        op.intermediates = (
            None if op.intermediates is None else [places[int(i)] for i in op.intermediates if int(i) in places]
        )
    main.inputs = np.array([places[int(i)] for i in main.inputs], np.int32)
    main.outputs = np.array([places[int(i)] for i in main.outputs], np.int32)
    for signature in model.signatureDefs or []:
        for entry in (*signature.inputs, *signature.outputs):
            entry.tensorIndex = places[int(entry.tensorIndex)]
    held = {tensor.buffer for subgraph in model.subgraphs for tensor in subgraph.tensors}
    for buffer in lost - held:
        model.buffers[buffer].data = None
