"""The checks that the operator table names: whether a condition holds for one operator. Pure.

Each takes an operator, its row and the condition, and returns True (holds), False (violated: it stays on the CPU) or
`None` (cannot be told from the file, or never seen). What a check means, and by what evidence: operators.toml.
"""

from collections.abc import Callable
from math import prod

from skerry_host.builder.edgetpu.table import Condition, Operator
from skerry_host.builder.edgetpu.view import Node
from skerry_host.builder.modelfile.graph import Tensor

ConditionResult = bool | None
ConditionCheck = Callable[[Node, Operator, Condition], ConditionResult]

ACTIVATIONS = {"int8", "uint8"}
PARAMETERS = ACTIVATIONS | {"int16", "int32", "int64", "bool"}
STATES = ACTIVATIONS | {"int16"}
_CHANNELS_FIRST = [0, 3, 1, 2]


def static_shapes(node: Node, row: Operator, _condition: Condition) -> ConditionResult:
    """Every tensor that is computed has sizes of at least 1; a dynamic signature beside them does not matter."""
    return all(size >= 1 for tensor in _computed(node, row) for size in tensor.shape)


def constant_parameters(node: Node, row: Operator, _condition: Condition) -> ConditionResult:
    """Every parameter that is there has a value in the file; an empty one needs none."""
    return all(t.constant_bytes > 0 or 0 in t.shape for p in row.constant if (t := node.input(p)))


def quantized(node: Node, row: Operator, _condition: Condition) -> ConditionResult:
    """Activations are 8-bit and quantized, weights too, other parameters are integers."""
    parameters = [t for p in row.constant if (t := node.input(p))]
    states = [t for p in row.state if (t := node.input(p))]
    activations = [t for t in _computed(node, row) if t not in states]
    return (
        all(t.dtype in ACTIVATIONS and t.channels for t in activations)
        and all(t.dtype in PARAMETERS and (t.channels or t.dtype not in ACTIVATIONS) for t in parameters)
        and all(t.dtype in STATES for t in states)
    )


def innermost_dimensions(node: Node, row: Operator, condition: Condition) -> ConditionResult:
    """Only the innermost dimensions of what is computed are above 1."""
    kept = int(condition.limit)
    return all(prod(tensor.shape[:-kept]) == 1 for tensor in _computed(node, row))


def integer_input(node: Node, _row: Operator, _condition: Condition) -> ConditionResult:
    """The input is not floating point."""
    tensor = node.input(0)
    return tensor is None or not tensor.dtype.startswith("float")


def equal_dilation(node: Node, _row: Operator, _condition: Condition) -> ConditionResult:
    """One dilation, or a kernel (weights: outputs, height, width, inputs) of 1 where they differ."""
    factors = node.options.get("dilationHFactor", 1), node.options.get("dilationWFactor", 1)
    weights = node.input(1)
    return factors[0] == factors[1] or (weights is not None and 1 in weights.shape[1:3])


def no_groups(node: Node, _row: Operator, _condition: Condition) -> ConditionResult:
    """The weights span the depth of the input; grouped convolutions were never seen."""
    data, weights = node.input(0), node.input(1)
    whole = data is None or weights is None or data.shape[-1:] == weights.shape[-1:]
    return True if whole else None


def default_weights(node: Node, _row: Operator, _condition: Condition) -> ConditionResult:
    """The weights lie in the default order."""
    return not node.options.get("weightsFormat", 0)


def zero_constants(node: Node, _row: Operator, _condition: Condition) -> ConditionResult:
    """No constant, or one of two inputs with nothing but its zero point."""
    present = node.present()
    constants = [t for t in present if t.constant_bytes]
    values = [node.lookup(t.index) for t in constants]
    zero = all(v is not None and (v == t.zero_point).all() for t, v in zip(constants, values, strict=True))
    return not constants or (len(present) == 2 and zero)


def axes_spare_batch(node: Node, row: Operator, _condition: Condition) -> ConditionResult:
    """Axis 0 is not among the axes; a split into one part does nothing to it."""
    if node.op.name == "SPLIT" and len(node.outputs) == 1:
        return True
    axes = _axes(node, row)
    return None if axes is None else 0 not in axes


def reduced_depth_multiple(node: Node, row: Operator, condition: Condition) -> ConditionResult:
    """The last axis is not reduced, or its size is a multiple."""
    data, axes = node.input(0), _axes(node, row)
    if data is None or axes is None:
        return None
    return len(data.shape) - 1 not in axes or data.shape[-1] % int(condition.limit) == 0


def batch_not_padded(node: Node, _row: Operator, _condition: Condition) -> ConditionResult:
    """The first pair of the paddings is 0."""
    paddings = node.constant(1)
    return None if paddings is None else not paddings[:2].any()


def one_row(node: Node, _row: Operator, condition: Condition) -> ConditionResult:
    """A row is not too long, and there is one; whether several map is not certain."""
    data = node.input(0)
    if data is None or data.shape[-1:] > (int(condition.limit),):
        return False
    return True if prod(data.shape[:-1]) == 1 else None


def output_bytes(node: Node, _row: Operator, condition: Condition) -> ConditionResult:
    """The output is not larger; larger ones were seen to stay on the CPU, with no sharp limit."""
    return True if all(prod(tensor.shape) <= condition.limit for tensor in node.outputs) else None


def no_activation(node: Node, _row: Operator, _condition: Condition) -> ConditionResult:
    """No activation function is fused into it; others were never seen."""
    return None if node.options.get("fusedActivationFunction", 0) else True


def plain_slice(node: Node, _row: Operator, _condition: Condition) -> ConditionResult:
    """Strides of 1 and neither mask."""
    strides = node.constant(3)
    masks = node.options.get("ellipsisMask", 0) or node.options.get("newAxisMask", 0)
    return None if strides is None else bool((strides == 1).all()) and not masks


def resize_ratio(node: Node, _row: Operator, condition: Condition) -> ConditionResult:
    """Height and width grow by at most the limit; `fails_from` is where they were seen to fail."""
    data = node.input(0)
    if data is None or len(data.shape) != 4 or len(node.outputs[0].shape) != 4:
        return None
    ratios = [after / before for before, after in zip(data.shape[1:3], node.outputs[0].shape[1:3], strict=True)]
    if condition.fails_from and max(ratios) >= condition.fails_from:
        return False
    return True if min(ratios) >= 1 and max(ratios) <= condition.limit else None


def one_pixel(node: Node, _row: Operator, _condition: Condition) -> ConditionResult:
    """All dimensions of the input but the last are 1."""
    data = node.input(0)
    return data is not None and prod(data.shape[:-1]) == 1


def one_dimensional_alpha(node: Node, _row: Operator, _condition: Condition) -> ConditionResult:
    """All dimensions of alpha but the last are 1."""
    alpha = node.input(1)
    return alpha is not None and prod(alpha.shape[:-1]) == 1


def small_channels_first(node: Node, _row: Operator, condition: Condition) -> ConditionResult:
    """Channels move from last to first in a tensor of at most so many bytes; from `fails_from` bytes they never did.

    A permutation that leaves the last of four dimensions in its place, or moves it elsewhere, was never seen.
    """
    order, data = node.constant(1), node.input(0)
    if order is None or data is None or len(order) != 4 or len(data.shape) != 4:
        return None
    axes, size = [int(axis) % 4 for axis in order], prod(data.shape)
    moved = [axis for axis in axes if data.shape[axis] != 1]
    if moved == sorted(moved) or axes[-1] == 3:
        return None
    if size >= condition.fails_from:
        return False
    return True if size <= condition.limit and axes == _CHANNELS_FIRST else None


CHECKS: dict[str, ConditionCheck] = {
    check.__name__: check
    for check in (
        static_shapes,
        constant_parameters,
        quantized,
        innermost_dimensions,
        integer_input,
        equal_dilation,
        no_groups,
        default_weights,
        zero_constants,
        axes_spare_batch,
        reduced_depth_multiple,
        batch_not_padded,
        one_row,
        output_bytes,
        no_activation,
        plain_slice,
        resize_ratio,
        one_pixel,
        one_dimensional_alpha,
        small_channels_first,
    )
}
"""By the names that the table uses."""


def _computed(node: Node, row: Operator) -> list[Tensor]:
    """What the operator computes with and on: its data, its state and its outputs."""
    positions = (*row.data_positions(len(node.inputs)), *row.state)
    return [t for p in positions if (t := node.input(p))] + list(node.outputs)


def _axes(node: Node, row: Operator) -> set[int] | None:
    """The axes that the operator works along, from 0; `None` if they are not in the file."""
    data = node.input(0 if row.data == "all" else row.data[0])
    if data is None:
        return None
    found = node.constant(row.axes) if row.axes is not None else [node.options.get("axis", 0)]
    rank = len(data.shape) + (node.op.name == "PACK")
    return None if found is None or not rank else {int(axis) % rank for axis in found}
