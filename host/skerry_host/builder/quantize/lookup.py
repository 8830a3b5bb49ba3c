"""Takes functions of one number out of a float model, for tables to stand in their place on integers. Int8 only.

An operator that the quantizer leaves alone stands for each until then; `complete` puts the table there.
"""

import copy
import dataclasses
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from skerry_host.builder.modelfile.graph import describe
from skerry_host.builder.modelfile.parts import operator
from skerry_host.builder.modelfile.tflite import read_model, text, write_model
from skerry_host.builder.quantize.known_functions import Known, known_function
from skerry_host.builder.quantize.named_layers import meant
from skerry_host.builder.quantize.regions import Region, regions
from skerry_host.builder.quantize.step import Draft, Step, litert_int8
from skerry_host.builder.quantize.tables import VALUES, Tables
from skerry_host.builder.sources.load import SourceModel

STANDS_IN = schema.BuiltinOperator.ELU
"""Of one input and one output, without options, and unknown to the quantizer."""


def take_out(draft: Draft) -> Draft:
    """The draft with a stand-in for each function of its source, and the functions; the same draft if it has none."""
    draft = _with_known(draft)
    found = _found(draft)
    if not found:
        return draft
    model = read_model(draft.source.data)
    functions = {_name(model, region.written): function(model, region) for region in found}
    _replace(model, dict.fromkeys(found, (STANDS_IN, None)))
    return dataclasses.replace(draft, source=_source(draft, model), tables=Tables(functions, draft.source))


def _with_known(draft: Draft) -> Draft:
    """The draft with one operator for each function that one computes."""
    found = _found(draft)
    if not found:
        return draft
    model, known = read_model(draft.source.data), {}
    for region in found:
        limits = draft.ranges.get(_name(model, region.read))
        low, high = (0.0, 0.0) if limits is None else (float(limits["min"].min()), float(limits["max"].max()))
        one = known_function(function(model, region), low, high)
        if one is not None:
            known[region] = one
    if not known:
        return draft
    _replace(model, known)
    return dataclasses.replace(draft, source=_source(draft, model))


def _found(draft: Draft) -> list[Region]:
    """The functions that are to be looked up: none of a layer that the plan wants in another form."""
    graph = draft.source.graph
    kept = {op.index for op in meant(graph, (*draft.plan.keep_float, *draft.plan.int16_layers))}
    there = [one for one in _regions(draft.source.data) if graph.tensors[one.written].name in draft.ranges]
    return [one for one in there if not kept & {*one.places}]


@lru_cache(maxsize=4)
def _regions(data: bytes) -> tuple[Region, ...]:
    """Those of a model: a search asks for each of its candidates."""
    return tuple(regions(read_model(data)))


def _source(draft: Draft, model: Any) -> SourceModel:
    data = write_model(model)
    return dataclasses.replace(draft.source, data=data, graph=describe(read_model(data)))


def function(model: Any, region: Region) -> bytes:
    """A float model that computes what a region does, of 256 numbers at a time."""
    made = copy.copy(model)
    graph = copy.copy(model.subgraphs[0])
    graph.tensors = [copy.copy(tensor) for tensor in graph.tensors]
    graph.operators = [graph.operators[place] for place in region.places]
    graph.inputs, graph.outputs = [region.read], [region.written]
    made.subgraphs, made.signatureDefs, made.buffers = [graph], [], list(model.buffers)
    made.metadata = made.metadataBuffer = None
    rank = len(graph.tensors[region.written].shape)
    used = {int(i) for op in graph.operators for i in (*op.inputs, *op.outputs) if int(i) >= 0}
    for index in used:
        _reshape(made, graph.tensors[index], [1] * max(0, rank - 1) + [VALUES])
    _only(made, graph, used)
    return write_model(made)


def _reshape(model: Any, tensor: Any, shape: Sequence[int]) -> None:
    """Give a tensor of the region 256 places; numbers stay numbers, or become 256 of the same."""
    data = model.buffers[tensor.buffer].data
    count = int(np.prod(tensor.shape)) if tensor.shape is not None else 1
    if data is not None and len(data):
        if count == 1:
            return
        one = np.asarray(data, np.uint8).reshape(count, -1)[:1]
        buffer = schema.BufferT()
        buffer.data = np.tile(one, (VALUES, 1)).ravel()
        model.buffers.append(buffer)
        tensor.buffer = len(model.buffers) - 1
    tensor.shape, tensor.shapeSignature = np.array(shape, np.int32), None


def _only(model: Any, graph: Any, used: set[int]) -> None:
    """Empty the buffers that the region does not read: it need not carry the model's weights."""
    kept = {graph.tensors[index].buffer for index in used}
    model.buffers = [buffer if at in kept else schema.BufferT() for at, buffer in enumerate(model.buffers)]


def _replace(model: Any, found: Mapping[Region, Known]) -> None:
    """Put one operator in place of each region."""
    main = model.subgraphs[0]
    ends = {region.places[-1]: region for region in found}
    gone = {place for region in found for place in region.places}
    made = []
    for place, op in enumerate(main.operators):
        if place in ends:
            region = ends[place]
            builtin, options = found[region]
            made.append(operator(model, builtin, (region.read,), region.written, options))
        elif place not in gone:
            made.append(op)
    main.operators = made


def _name(model: Any, index: int) -> str:
    return text(model.subgraphs[0].tensors[index].name)


STEP = Step("functions of one number", litert_int8, take_out)
