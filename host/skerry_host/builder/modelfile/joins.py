"""Outputs of the source that a TFLite model gives in parts: written into the file's metadata, and read from there.

So whoever has the file knows how its outputs join, and no other paper has to go with it. Runtimes ignore metadata.
"""

from collections.abc import Sequence
from typing import Any

import msgspec
from ai_edge_litert import schema_py_generated as schema

from skerry_agent.wire.manifest import Join, TensorSpec
from skerry_host.builder.modelfile.constants import add_bytes

NAME = b"skerry.joins"


def read_joins(model: Any) -> tuple[Join, ...]:
    """What a `schema.ModelT` says of its outputs; nothing where it says nothing that can be read."""
    for entry in model.metadata or []:
        if _text(entry.name) == NAME and 0 <= int(entry.buffer) < len(model.buffers):
            try:
                return msgspec.json.decode(bytes(model.buffers[int(entry.buffer)].data), type=tuple[Join, ...])
            except (msgspec.MsgspecError, TypeError):
                return ()
    return ()


def write_joins(model: Any, joins: Sequence[Join]) -> None:
    """Write it, in place of what is there."""
    model.metadata = [entry for entry in model.metadata or [] if _text(entry.name) != NAME]
    if not joins:
        return
    entry = schema.MetadataT()
    entry.name, entry.buffer = NAME, add_bytes(model, msgspec.json.encode(list(joins)))
    model.metadata.append(entry)


def joined_names(names: Sequence[str], joins: Sequence[Join]) -> list[str]:
    """The names of the outputs once they are joined: a joined one is where its first part was."""
    first = {join.parts[0]: join.name for join in joins}
    inner = {part for join in joins for part in join.parts[1:]}
    return [first.get(place, name) for place, name in enumerate(names) if place not in inner]


def _text(name: Any) -> bytes:
    return name if isinstance(name, bytes) else str(name or "").encode()


def joined_specs(specs: Sequence[TensorSpec], joins: Sequence[Join]) -> list[TensorSpec]:
    """The outputs once they are joined, as floats where they are."""
    whole = {join.parts[0]: _whole(specs, join) for join in joins}
    inner = {part for join in joins for part in join.parts[1:]}
    return [whole.get(place, spec) for place, spec in enumerate(specs) if place not in inner]


def _whole(specs: Sequence[TensorSpec], join: Join) -> TensorSpec:
    shape = list(specs[join.parts[0]].shape)
    shape[join.axis] = sum(specs[part].shape[join.axis] for part in join.parts)
    return TensorSpec(join.name, "float32", tuple(shape))
