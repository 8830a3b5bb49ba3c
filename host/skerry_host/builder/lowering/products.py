"""Products of matrices: by constant ones FULLY_CONNECTED, of two computed ones BATCH_MATMUL."""

from collections.abc import Callable

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from skerry_host.builder.lowering.elementwise import combine, scaled
from skerry_host.builder.lowering.order import UNIT, held, plain
from skerry_host.builder.lowering.shaping import reshape_to, transpose
from skerry_host.builder.lowering.values import Array, Lowering, Node, UnknownFormError, Value


def dense(low: Lowering, value: Value, pair: tuple[Array, Array | None], written: str, axis: int = -1) -> Value:
    """A value's axis times weights (in, out), plus a bias; nothing is moved where that axis is the last one held."""
    weights, bias = pair
    axis %= value.rank
    source, weights = _unmoved(low, value, weights)
    order = low.held_order(source) if source is value else plain(source.rank)
    if source is not value:
        value = source
    elif order[-1] != axis or UNIT in order:
        order = (*(other for other in range(value.rank) if other != axis), axis)
    if len(order) == 1:
        raise UnknownFormError("a product of a vector")
    options = schema.FullyConnectedOptionsT()
    options.keepNumDims = len(order) > 2
    shape = tuple(weights.shape[1] if at == axis else n for at, n in enumerate(value.shape))
    reads = [low.tensor(value, order), low.writer.constant(f"{written}/weights", np.ascontiguousarray(weights.T))]
    zero = np.zeros(weights.shape[1], np.float32)
    reads.append(low.writer.constant(f"{written}/bias", zero if bias is None else bias.astype(np.float32).ravel()))
    made = low.emit("FULLY_CONNECTED", reads, (held(shape, order), value.dtype), written, options)
    return low.define(written, made, order, (shape, value.dtype))


def _unmoved(low: Lowering, value: Value, weights: Array) -> tuple[Value, Array]:
    """A flattened value before it was moved, and the weights in the order of its elements."""
    before = value.moved
    if before is None or value.rank != 2 or value.shape[0] != 1:
        return value, weights
    order = low.held_order(before)
    sequence = np.arange(weights.shape[0]).reshape(before.shape).transpose([axis for axis in order if axis != UNIT])
    flat = low.reshape(low.tensor(before, order), value.shape, value.dtype, value.name)
    seen = Value(f"{value.name}/flat", value.shape, value.dtype, tensors={plain(2): flat})
    return seen, weights[sequence.ravel()]


def matmul(low: Lowering, node: Node) -> None:
    """MatMul; `patterns` gives it a bias as third input."""
    bias = low.optional(node, 2)
    one, other, name = low.value(node, 0), low.value(node, 1), node.outputs[0]
    if one.rank == 1 or other.rank == 1:
        raise UnknownFormError("MatMul of a vector")
    if other.constant is not None and prod_is_matrix(other):
        added = None if bias is None else bias.constant
        dense(low, one, (other.constant.reshape(other.shape[-2:]), added), name)
        return
    if one.constant is not None and prod_is_matrix(one) and other.constant is None:
        dense(low, other, (one.constant.reshape(one.shape[-2:]).T, None), name, -2)
        return
    batched(low, one, other, name)


def prod_is_matrix(value: Value) -> bool:
    """Whether all axes before the last two have size 1."""
    return all(n == 1 for n in value.shape[:-2])


def batched(low: Lowering, one: Value, other: Value, written: str) -> Value:
    """BATCH_MATMUL; a factor that is held transposed is taken so."""
    rank = max(one.rank, other.rank)
    factors = [_ranked(low, value, rank, f"{written}/{at}") for at, value in enumerate((one, other))]
    options, reads = schema.BatchMatMulOptionsT(), []
    turned = (*range(rank - 2), rank - 1, rank - 2)
    for value, name in zip(factors, ("adjX", "adjY"), strict=True):
        adjoint = value.constant is None and low.held_order(value) == turned
        setattr(options, name, adjoint)
        reads.append(low.tensor(value, turned if adjoint else plain(rank)))
    outer = np.broadcast_shapes(factors[0].shape[:-2], factors[1].shape[:-2])
    shape = (*outer, factors[0].shape[-2], factors[1].shape[-1])
    made = low.emit("BATCH_MATMUL", reads, (shape, one.dtype), written, options)
    return low.define(written, made, plain(rank), (shape, one.dtype))


def _ranked(low: Lowering, value: Value, rank: int, name: str) -> Value:
    if value.rank == rank:
        return value
    reshape_to(low, value, (1,) * (rank - value.rank) + value.shape, name)
    return low.values[name]


def gemm(low: Lowering, node: Node) -> None:
    """Gemm."""
    one, other, extra, name = low.value(node, 0), low.value(node, 1), low.optional(node, 2), node.outputs[0]
    if other.constant is None:
        raise UnknownFormError("Gemm of two computed matrices")
    weights = other.constant.T if node.get("transB", 0) else other.constant
    weights = weights * np.float32(node.get("alpha", 1.0))
    if node.get("transA", 0):
        turned = Node("Transpose", node.name, node.inputs[:1], (f"{name}/turned",), {"perm": [1, 0]}, node.opset)
        transpose(low, turned)
        one = low.values[turned.outputs[0]]
    beta = node.get("beta", 1.0)
    flat = extra is not None and extra.constant is not None and extra.constant.size in {1, weights.shape[1]}
    if extra is None or (flat and extra.shape[:-1] in {(), (1,)}):
        bias = None
        if extra is not None and extra.constant is not None:
            bias = np.broadcast_to(extra.constant.ravel() * np.float32(beta), (weights.shape[1],))
        dense(low, one, (weights, bias), name)
        return
    found = dense(low, one, (weights, None), f"{name}/product")
    combine(low, "ADD", (found, extra if beta == 1 else scaled(low, extra, "MUL", beta, f"{name}/beta")), name)


def einsum(low: Lowering, node: Node) -> None:
    """Einsum of two values whose letters are of a batch, of one of them, or summed over: one BATCH_MATMUL."""
    equation = node.text("equation").replace(" ", "")
    given, arrow, wanted = equation.partition("->")
    terms = given.split(",")
    if len(terms) != 2 or not arrow or "." in equation or any(len(set(t)) != len(t) for t in (*terms, wanted)):
        raise UnknownFormError(f"Einsum {equation}")
    left, right = terms
    values = [low.value(node, 0), low.value(node, 1)]
    sizes = {k: n for term, v in zip(terms, values, strict=True) for k, n in zip(term, v.shape, strict=True)}
    batch = [k for k in left if k in right and k in wanted]
    summed = [k for k in left if k in right and k not in wanted]
    rows, columns = [k for k in left if k not in right], [k for k in right if k not in left]
    if not set(rows + columns) <= set(wanted):
        raise UnknownFormError(f"Einsum {equation}")
    one = _as_matrix(low, values[0], (left, [batch, rows, summed]), sizes, f"{node.outputs[0]}/left")
    other = _as_matrix(low, values[1], (right, [batch, summed, columns]), sizes, f"{node.outputs[0]}/right")
    found = batched(low, one, other, f"{node.outputs[0]}/product")
    letters = [*batch, *rows, *columns]
    reshape_to(low, found, tuple(sizes[k] for k in letters), f"{node.outputs[0]}/parts")
    _moved(low, low.values[f"{node.outputs[0]}/parts"], [letters.index(k) for k in wanted], node.outputs[0])


def _as_matrix(
    low: Lowering, value: Value, how: tuple[str, list[list[str]]], sizes: dict[str, int], name: str
) -> Value:
    """A value as (batch, rows, columns), each the product of some of its axes."""
    term, groups = how
    moved = _moved(low, value, [term.index(k) for group in groups for k in group], f"{name}/moved")
    shape = tuple(int(np.prod([sizes[k] for k in group], dtype=np.int64)) for group in groups)
    reshape_to(low, moved, shape, name)
    return low.values[name]


def _moved(low: Lowering, value: Value, axes: list[int], written: str) -> Value:
    low.values[value.name] = value
    transpose(low, Node("Transpose", written, (value.name,), (written,), {"perm": axes}, 0))
    return low.values[written]


OPERATORS: dict[str, Callable[[Lowering, Node], None]] = {"Einsum": einsum, "Gemm": gemm, "MatMul": matmul}
