"""LSTM, GRU and RNN, written out step by step: plain products, sums and activations, which all have int8 forms.

What all steps have in common, the product of the inputs, is computed at once.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from skerry_host.builder.lowering.elementwise import apply, combine, constant
from skerry_host.builder.lowering.order import plain
from skerry_host.builder.lowering.products import dense
from skerry_host.builder.lowering.shaping import part, reshape_to, transpose
from skerry_host.builder.lowering.values import Array, Lowering, Node, UnknownFormError, Value, as_text

MAX_STEPS = 512
"""More make a graph that takes longer to load than to run."""
_ACTIVATIONS = {
    "LSTM": ["Sigmoid", "Tanh", "Tanh"],
    "GRU": ["Sigmoid", "Tanh"],
    "RNN": ["Tanh"],
}
_GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}


@dataclass(frozen=True, slots=True)
class Cell:
    """One direction of a layer: the products of all inputs (steps, batch, gates), and what each step multiplies by."""

    inputs: Value
    weights: Array
    bias: Array
    name: str

    @property
    def size(self) -> int:
        """How many numbers a state has."""
        return int(self.weights.shape[1])

    def gates(self, low: Lowering, step: int, at: str) -> Value:
        """What the inputs give the gates in one step: (batch, gates)."""
        _steps, batch, gates = self.inputs.shape
        found = part(low, self.inputs, (step, 0, 0), (1, batch, gates), f"{at}/input")
        reshape_to(low, found, (batch, gates), f"{at}/gates")
        return low.values[f"{at}/gates"]


State = tuple[Value | None, Value | None]
"""The hidden state and the cell's; None where it is zero."""
Step = Callable[[Lowering, Cell, int, State, str], State]


def recurrent(low: Lowering, node: Node) -> None:
    """A layer of one direction or two."""
    _require_plain(node)
    batch_first = bool(node.get("layout", 0))
    x = low.value(node, 0)
    if batch_first:
        x = _moved(low, x, [1, 0, 2], f"{node.outputs[0] or node.name}/steps")
    if x.shape[0] > MAX_STEPS:
        raise UnknownFormError(f"{node.kind} over {x.shape[0]} steps")
    ways = {"forward": [False], "reverse": [True], "bidirectional": [False, True]}[node.text("direction", "forward")]
    found = [_direction(low, node, x, (at, backwards)) for at, backwards in enumerate(ways)]
    _outputs(low, node, found, batch_first=batch_first)


def _require_plain(node: Node) -> None:
    wanted = [as_text(name) for name in node.get("activations") or []]
    kind = _ACTIVATIONS[node.kind]
    if wanted and wanted != kind * (len(wanted) // len(kind)):
        raise UnknownFormError(f"{node.kind} with {', '.join(wanted)}")
    if node.get("clip") or node.get("input_forget") or (len(node.inputs) > 7 and node.inputs[7]):
        raise UnknownFormError(f"{node.kind} with clipping, coupled gates or peepholes")


def _weights(low: Lowering, node: Node, place: int, at: int) -> Array:
    value = low.value(node, place)
    if value.constant is None:
        raise UnknownFormError(f"{node.kind} whose weights are computed")
    found: Array = value.constant[at]
    return found


def _direction(low: Lowering, node: Node, x: Value, way: tuple[int, bool]) -> tuple[list[Value], State]:
    """The hidden state after each step, in the order of the inputs, and the last states."""
    at, backwards = way
    name = f"{node.outputs[0] or node.name}/{at}"
    inner, outer = _weights(low, node, 1, at), _weights(low, node, 2, at)
    gates = _GATES[node.kind] * outer.shape[1]
    both = np.zeros(2 * gates, np.float32) if low.optional(node, 3) is None else _weights(low, node, 3, at)
    own, after = both[:gates], both[gates:]
    lstm = node.kind != "GRU"
    products = dense(low, x, (inner.T, own + after if lstm else own), f"{name}/inputs")
    cell = Cell(products, outer, np.zeros_like(after) if lstm else after, name)
    step = _STEPS[node.kind] if node.kind != "GRU" or node.get("linear_before_reset", 0) else _gru_after
    state: State = (_initial(low, node, 5, at), _initial(low, node, 6, at) if node.kind == "LSTM" else None)
    hidden: list[Value] = []
    steps = range(x.shape[0])
    for number in reversed(steps) if backwards else steps:
        state = step(low, cell, number, state, f"{name}/{number}")
        assert state[0] is not None
        hidden.append(state[0])
    return hidden[::-1] if backwards else hidden, state


def _initial(low: Lowering, node: Node, place: int, at: int) -> Value | None:
    """The state before the first step, None if it is zero."""
    value = low.optional(node, place)
    if value is None or (value.constant is not None and not value.constant.any()):
        return None
    ways, batch, size = value.shape if not node.get("layout", 0) else (value.shape[1], value.shape[0], value.shape[2])
    name = f"{node.outputs[0] or node.name}/{at}/initial{place}"
    seen = _moved(low, value, [1, 0, 2], f"{name}/moved") if node.get("layout", 0) else value
    begin = (at, 0, 0)
    found = part(low, seen, begin, (1, batch, size), f"{name}/part") if ways > 1 else seen
    reshape_to(low, found, (batch, size), name)
    return low.values[name]


def _split(low: Lowering, value: Value, count: int, name: str) -> list[Value]:
    """Equal parts of the last axis."""
    options = schema.SplitOptionsT()
    options.numSplits = count
    shape = (*value.shape[:-1], value.shape[-1] // count)
    made = [low.writer.tensor(f"{name}{at}", shape, value.dtype) for at in range(count)]
    low.writer.operator("SPLIT", [low.numbers([value.rank - 1]), low.tensor(value)], made, options)
    return [
        low.define(f"{name}{at}", tensor, plain(value.rank), (shape, value.dtype)) for at, tensor in enumerate(made)
    ]


def _sum(low: Lowering, one: Value, other: Value | None, name: str) -> Value:
    return one if other is None else combine(low, "ADD", (one, other), name)


def _lstm(low: Lowering, cell: Cell, number: int, state: State, name: str) -> State:
    """Gates in ONNX's order: input, output, forget, cell."""
    hidden, memory = state
    before = None if hidden is None else dense(low, hidden, (cell.weights.T, None), f"{name}/hidden")
    gates = _split(low, _sum(low, cell.gates(low, number, name), before, f"{name}/sum"), 4, f"{name}/gate")
    let, out, forget = (apply(low, gate, "LOGISTIC", f"{name}/open{at}") for at, gate in enumerate(gates[:3]))
    new = apply(low, gates[3], "TANH", f"{name}/new")
    made = combine(low, "MUL", (let, new), f"{name}/let")
    kept = None if memory is None else combine(low, "MUL", (forget, memory), f"{name}/kept")
    memory = _sum(low, made, kept, f"{name}/memory")
    return combine(low, "MUL", (out, apply(low, memory, "TANH", f"{name}/shown")), f"{name}/state"), memory


def _gru(low: Lowering, cell: Cell, number: int, state: State, name: str) -> State:
    """Gates in ONNX's order: update, reset, hidden; the reset multiplies the product of the state (PyTorch, Keras)."""
    hidden = state[0]
    size = cell.size
    update, reset, new = _split(low, cell.gates(low, number, name), 3, f"{name}/gate")
    if hidden is None:
        mine: list[Value | None] = [
            constant(cell.bias[at * size : (at + 1) * size], f"{name}/bias{at}") for at in range(3)
        ]
    else:
        mine = [*_split(low, dense(low, hidden, (cell.weights.T, cell.bias), f"{name}/hidden"), 3, f"{name}/own")]
    update, reset = (
        apply(low, _sum(low, gate, own, f"{name}/sum{at}"), "LOGISTIC", f"{name}/open{at}")
        for at, (gate, own) in enumerate(zip((update, reset), mine[:2], strict=True))
    )
    assert mine[2] is not None
    kept = combine(low, "MUL", (reset, mine[2]), f"{name}/kept")
    return _mixed(low, update, (combine(low, "ADD", (new, kept), f"{name}/sum2"), hidden), name)


def _gru_after(low: Lowering, cell: Cell, number: int, state: State, name: str) -> State:
    """The reset multiplies the state before its product."""
    hidden, size = state[0], cell.size
    update, reset, new = _split(low, cell.gates(low, number, name), 3, f"{name}/gate")
    gates = [update, reset]
    for at, gate in enumerate(gates):
        rows = slice(at * size, (at + 1) * size)
        bias = cell.bias[rows]
        own = constant(bias, f"{name}/bias{at}")
        if hidden is not None:
            own = dense(low, hidden, (cell.weights[rows].T, bias), f"{name}/own{at}")
        gates[at] = apply(low, _sum(low, gate, own, f"{name}/sum{at}"), "LOGISTIC", f"{name}/open{at}")
    mine = constant(cell.bias[2 * size :], f"{name}/bias2")
    if hidden is not None:
        rest = combine(low, "MUL", (gates[1], hidden), f"{name}/rest")
        mine = dense(low, rest, (cell.weights[2 * size :].T, cell.bias[2 * size :]), f"{name}/own2")
    return _mixed(low, gates[0], (combine(low, "ADD", (new, mine), f"{name}/sum2"), hidden), name)


def _mixed(low: Lowering, update: Value, pair: tuple[Value, Value | None], name: str) -> State:
    """(1 - update) new + update hidden, as new + update (hidden - new)."""
    total, hidden = pair
    new = apply(low, total, "TANH", f"{name}/new")
    if hidden is None:
        away = combine(low, "MUL", (update, new), f"{name}/away")
        return combine(low, "SUB", (new, away), f"{name}/state"), None
    change = combine(low, "MUL", (update, combine(low, "SUB", (hidden, new), f"{name}/far")), f"{name}/change")
    return combine(low, "ADD", (new, change), f"{name}/state"), None


def _rnn(low: Lowering, cell: Cell, number: int, state: State, name: str) -> State:
    before = None if state[0] is None else dense(low, state[0], (cell.weights.T, None), f"{name}/hidden")
    total = _sum(low, cell.gates(low, number, name), before, f"{name}/sum")
    return apply(low, total, "TANH", f"{name}/state"), None


def _outputs(low: Lowering, node: Node, found: Sequence[tuple[list[Value], State]], *, batch_first: bool) -> None:
    """Y (steps, directions, batch, size), Y_h and Y_c (directions, batch, size); batch first on wish."""
    names = (*node.outputs, "", "", "")
    if names[0]:
        sides = [_stacked(low, hidden, f"{names[0]}/side{at}") for at, (hidden, _state) in enumerate(found)]
        whole = _joined(low, sides, 1, f"{names[0]}/whole" if batch_first else names[0])
        if batch_first:
            _moved(low, whole, [2, 0, 1, 3], names[0])
    for place, name in ((0, names[1]), (1, names[2])):
        if name:
            last = [state[place] for _hidden, state in found]
            rows = [_row(low, value, f"{name}/{at}") for at, value in enumerate(last) if value is not None]
            whole = _joined(low, rows, 0, f"{name}/whole" if batch_first else name)
            if batch_first:
                _moved(low, whole, [1, 0, 2], name)


def _row(low: Lowering, value: Value, name: str) -> Value:
    reshape_to(low, value, (1, *value.shape), name)
    return low.values[name]


def _stacked(low: Lowering, steps: Sequence[Value], name: str) -> Value:
    """(batch, size) of each step as (steps, 1, batch, size)."""
    rows = []
    for at, value in enumerate(steps):
        reshape_to(low, value, (1, 1, *value.shape), f"{name}/{at}")
        rows.append(low.values[f"{name}/{at}"])
    return _joined(low, rows, 0, name)


def _joined(low: Lowering, values: Sequence[Value], axis: int, name: str) -> Value:
    if len(values) == 1:
        low.rename(name, values[0])
        return values[0]
    shape = list(values[0].shape)
    shape[axis] = sum(value.shape[axis] for value in values)
    options = schema.ConcatenationOptionsT()
    options.axis = axis
    form = (tuple(shape), values[0].dtype)
    made = low.emit("CONCATENATION", [low.tensor(value) for value in values], form, name, options)
    return low.define(name, made, plain(len(shape)), form)


def _moved(low: Lowering, value: Value, axes: list[int], name: str) -> Value:
    low.values[value.name] = value
    transpose(low, Node("Transpose", name, (value.name,), (name,), {"perm": axes}, 0))
    return low.values[name]


_STEPS: dict[str, Step] = {"LSTM": _lstm, "GRU": _gru, "RNN": _rnn}
OPERATORS: dict[str, Callable[[Lowering, Node], None]] = {"GRU": recurrent, "LSTM": recurrent, "RNN": recurrent}
