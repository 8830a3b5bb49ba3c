"""Writes a convolution between SPACE_TO_BATCH_ND and BATCH_TO_SPACE_ND as the dilated convolution that it is.

Converters spell dilation out that way, of one axis more often than of two. The pair moves every value twice, makes a
batch of several, which an Edge TPU does not take, and has no entry in the quantizer.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from skerry_host.builder.modelfile.constants import add_constant_tensor, add_tensor, constant
from skerry_host.builder.modelfile.links import kinds, readers
from skerry_host.builder.modelfile.parts import operator

_B, _FLOAT32, _VALID = schema.BuiltinOperator, schema.TensorType.FLOAT32, schema.Padding.VALID
_RESHAPING = {"RESHAPE", "EXPAND_DIMS", "SQUEEZE"}
_CONVOLUTIONS = {"CONV_2D": 1, "DEPTHWISE_CONV_2D": 1}
Sizes = tuple[int, int]


@dataclass(frozen=True, slots=True)
class _Chain:
    """The operators from SPACE_TO_BATCH_ND to BATCH_TO_SPACE_ND, the convolution among them, and what it does.

    `rates`, `before` and `after`: the dilation, and the padding at either end, of height and width.
    """

    ops: tuple[Any, ...]
    convolution: Any
    rates: Sizes
    before: Sizes
    after: Sizes
    given: tuple[int, ...]
    made: tuple[int, ...]


def fuse_dilation(model: Any) -> str | None:
    """Put one dilated convolution in place of each such chain."""
    main = model.subgraphs[0]
    chains = [chain for op in main.operators or [] if (chain := _chain(model, main, op)) is not None]
    for chain in chains:
        gone = {id(op) for op in chain.ops}
        last = chain.ops[-1]
        main.operators = [
            part
            for op in main.operators
            for part in (_fused(model, main, chain) if op is last else [] if id(op) in gone else [op])
        ]
    return f"{len(chains)} dilated convolutions written as such" if chains else None


def _chain(model: Any, main: Any, first: Any) -> _Chain | None:
    names = kinds(model)
    if names[first.opcodeIndex] != "SPACE_TO_BATCH_ND" or main.tensors[first.outputs[0]].type != _FLOAT32:
        return None
    ops = list(_followed(main, names, first))
    there = [names[op.opcodeIndex] for op in ops]
    found = [op for op, kind in zip(ops, there, strict=True) if kind in _CONVOLUTIONS]
    if len(found) != 1 or there[-1] != "BATCH_TO_SPACE_ND":
        return None
    return _measured(model, main, tuple(ops), found[0])


def _followed(main: Any, names: list[str], first: Any) -> Iterator[Any]:
    """The operators behind one, each the only reader of the one before, up to BATCH_TO_SPACE_ND."""
    read = readers(main)
    by_input = {int(op.inputs[0]): op for op in main.operators if len(op.inputs)}
    op = first
    yield op
    while read[int(op.outputs[0])] == 1 and (after := by_input.get(int(op.outputs[0]))) is not None:
        op = after
        yield op
        if names[op.opcodeIndex] not in _RESHAPING | set(_CONVOLUTIONS):
            return


def _measured(model: Any, main: Any, ops: tuple[Any, ...], convolution: Any) -> _Chain | None:
    """What the whole chain computes, None where that is no plain dilated convolution."""
    options = convolution.builtinOptions
    plain = (options.strideH, options.strideW, options.dilationHFactor, options.dilationWFactor) == (1, 1, 1, 1)
    values = [constant(model, int(op.inputs[at])) for op in (ops[0], ops[-1]) for at in (1, 2)]
    if not plain or options.padding != _VALID or any(value is None for value in values):
        return None
    block, pads, other, crops = (np.asarray(value) for value in values)
    given = tuple(int(n) for n in main.tensors[ops[0].inputs[0]].shape)
    made = tuple(int(n) for n in main.tensors[ops[-1].outputs[0]].shape)
    if not np.array_equal(block, other) or crops[:, 0].any() or given[0] != 1 or made[0] != 1:
        return None
    axes = _axes(main, given, len(block), convolution)
    if axes is None:
        return None
    rates, before, after = [1, 1], [0, 0], [0, 0]
    kernel = main.tensors[convolution.inputs[1]].shape
    for axis, place in axes.items():
        rate, size = int(block[axis - 1]), int(kernel[1 + place])
        rates[place], before[place] = rate, int(pads[axis - 1][0])
        after[place] = made[axis] - given[axis] - before[place] + (size - 1) * rate
    if min(after) < 0:
        return None
    return _Chain(ops, convolution, _two(rates), _two(before), _two(after), _image(given, axes), _image(made, axes))


def _axes(main: Any, given: tuple[int, ...], blocks: int, convolution: Any) -> dict[int, int] | None:
    """Which axis of the tensor is height (0) and which is width (1) of the convolution, by their sizes."""
    if len(given) == 4:
        return {axis: axis - 1 for axis in range(1, 1 + blocks)} if blocks <= 2 else None
    shape = [int(n) for n in main.tensors[convolution.inputs[0]].shape]
    if len(given) != 3 or blocks != 1 or len(shape) != 4 or 1 not in shape[1:3]:
        return None
    return {1: 1 if shape[1] == 1 else 0}


def _image(shape: tuple[int, ...], axes: dict[int, int]) -> tuple[int, ...]:
    """A shape as (1, height, width, channels)."""
    if len(shape) == 4:
        return shape
    return (1, 1, shape[1], shape[2]) if axes[1] == 1 else (1, shape[1], 1, shape[2])


def _two(values: list[int]) -> Sizes:
    return values[0], values[1]


def _fused(model: Any, main: Any, chain: _Chain) -> list[Any]:
    """RESHAPE and PAD where they are needed, the dilated convolution, RESHAPE."""
    read, written = int(chain.ops[0].inputs[0]), int(chain.ops[-1].outputs[0])
    name, op = main.tensors[written].name, chain.convolution
    made = []
    if tuple(int(n) for n in main.tensors[read].shape) != chain.given:
        made.append(_reshape(model, read, chain.given, name + b"/image"))
        read = int(made[-1].outputs[0])
    if any((*chain.before, *chain.after)):
        made.append(_pad(model, read, chain, name + b"/padded"))
        read = int(made[-1].outputs[0])
    op.builtinOptions.dilationHFactor, op.builtinOptions.dilationWFactor = chain.rates
    op.inputs = np.array([read, *(int(i) for i in op.inputs[1:])], np.int32)
    made.append(op)
    if tuple(int(n) for n in main.tensors[written].shape) == chain.made:
        op.outputs = np.array([written], np.int32)
        return made
    inner = add_tensor(main, name + b"/convolved", _FLOAT32, chain.made)
    op.outputs = np.array([inner], np.int32)
    return [*made, _reshape(model, inner, tuple(int(n) for n in main.tensors[written].shape), b"", written)]


def _reshape(model: Any, read: int, shape: tuple[int, ...], name: bytes, written: int = -1) -> Any:
    main = model.subgraphs[0]
    if written < 0:
        written = add_tensor(main, name, _FLOAT32, shape)
    wanted = add_constant_tensor(model, main.tensors[written].name + b"/shape", np.array(shape, np.int32))
    options = schema.ReshapeOptionsT()
    options.newShape = np.array(shape, np.int32)
    return operator(model, _B.RESHAPE, (read, wanted), written, options)


def _pad(model: Any, read: int, chain: _Chain, name: bytes) -> Any:
    ends = np.array([(0, 0), *zip(chain.before, chain.after, strict=True), (0, 0)], np.int32)
    shape = [size + int(two.sum()) for size, two in zip(chain.given, ends, strict=True)]
    written = add_tensor(model.subgraphs[0], name, _FLOAT32, shape)
    pads = add_constant_tensor(model, name + b"/ends", ends)
    return operator(model, _B.PAD, (read, pads), written, schema.PadOptionsT())
