"""The signatures of a `schema.ModelT`: takes one of several, and puts inputs and outputs into an order.

A file with several signatures has a subgraph for each. Changes no operator.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from skerry_host.builder.modelfile.tflite import text

_CALLS = (
    "subgraph",
    "initSubgraphIndex",
    "condSubgraphIndex",
    "bodySubgraphIndex",
    "thenSubgraphIndex",
    "elseSubgraphIndex",
    "comparatorSubgraphIndex",
    "updateComputationSubgraphIndex",
    "decompositionSubgraphIndex",
)
"""Fields of operators' options that name another subgraph (schema.fbs)."""


def keys(model: Any) -> list[str]:
    """The names of the signatures, in the file's order."""
    return [text(signature.signatureKey) for signature in model.signatureDefs or []]


def take(model: Any, key: str) -> None:
    """Make the subgraph of a signature the first one, and drop the other signatures and what only they call."""
    chosen = next(one for one in model.signatureDefs if text(one.signatureKey) == key)
    kept = _called(model, int(chosen.subgraphIndex))
    places = {old: new for new, old in enumerate(kept)}
    model.subgraphs = [model.subgraphs[old] for old in kept]
    for options, field in _calls(model.subgraphs):
        setattr(options, field, places[int(getattr(options, field))])
    chosen.subgraphIndex = 0
    model.signatureDefs = [chosen]
    held = {tensor.buffer for subgraph in model.subgraphs for tensor in subgraph.tensors}
    for index, buffer in enumerate(model.buffers):
        if index not in held and index not in {entry.buffer for entry in model.metadata or []}:
            buffer.data = None


def order(model: Any, inputs: Sequence[str], outputs: Sequence[str]) -> bool:
    """Put the first subgraph's inputs and outputs into the order of these names in its signature.

    Whether it could: all of them are named there, each once. Nothing is changed otherwise.
    """
    main, signature = model.subgraphs[0], (model.signatureDefs or [None])[0]
    if signature is None:
        return False
    found = [_indices(signature.inputs, inputs, main.inputs), _indices(signature.outputs, outputs, main.outputs)]
    if None in found:
        return False
    main.inputs, main.outputs = (np.array(indices, np.int32) for indices in found)
    signature.inputs = _sorted(signature.inputs, inputs)
    signature.outputs = _sorted(signature.outputs, outputs)
    return True


def rename_outputs(model: Any, names: Sequence[str]) -> None:
    """Name the outputs of the signature, which are in the order of the subgraph's."""
    for entry, name in zip(model.signatureDefs[0].outputs, names, strict=True):
        entry.name = name.encode()


def _indices(entries: Sequence[Any], names: Sequence[str], io: Sequence[int]) -> list[int] | None:
    known = {text(entry.name): int(entry.tensorIndex) for entry in entries}
    found = [known[name] for name in names if name in known]
    return found if len(found) == len(names) and sorted(found) == sorted(int(i) for i in io) else None


def _sorted(entries: Sequence[Any], names: Sequence[str]) -> list[Any]:
    return sorted(entries, key=lambda entry: list(names).index(text(entry.name)))


def _called(model: Any, first: int) -> list[int]:
    """A subgraph and all that it calls, it first."""
    kept = [first]
    for index in kept:
        for options, field in _calls([model.subgraphs[index]]):
            other = int(getattr(options, field))
            if other not in kept:
                kept.append(other)
    return kept


def _calls(subgraphs: Sequence[Any]) -> Iterator[tuple[Any, str]]:
    for subgraph in subgraphs:
        for op in subgraph.operators or []:
            for options in (op.builtinOptions, getattr(op, "builtinOptions2", None)):
                yield from ((options, field) for field in _CALLS if hasattr(options, field))
