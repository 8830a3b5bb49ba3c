"""Small recurrent networks made by hand, as converters write them: a WHILE loop, and the fused LSTM."""

from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tests.kit.edgetpu.models import DTYPES, NUMPY, Maker

STEPS, FEATURES, UNITS = 6, 3, 4
RANDOM = np.random.default_rng(7)
KERNEL, RECURRENT = RANDOM.normal(0, 0.6, (UNITS, FEATURES)), RANDOM.normal(0, 0.6, (UNITS, UNITS))


class LoopMaker(Maker):
    """A `Maker` that can go on in another graph of the same model."""

    def begin(self) -> None:
        """Further tensors and operators belong to a new graph."""
        self._graph = schema.SubGraphT()
        self._graph.tensors, self._graph.operators = [], []
        self._model.subgraphs.append(self._graph)
        self._index = {}

    def ends(self, inputs: list[str], outputs: list[str]) -> None:
        """What the graph takes and gives."""
        self._graph.inputs, self._graph.outputs = [self._index[n] for n in inputs], [self._index[n] for n in outputs]

    def number(self, name: str, value: Any, dtype: str = "int32") -> str:
        """A constant."""
        array = np.asarray(value, NUMPY[dtype])
        return self.tensor(name, array.shape, dtype, array, scale=0)

    def floats(self, name: str, *shape: int) -> str:
        """An activation."""
        return self.tensor(name, shape, "float32")

    def written(self) -> bytes:
        """The file."""
        from skerry_host.builder.modelfile.tflite import write_model

        return write_model(self._model)


def simple_rnn(steps: int = STEPS, *, sequence: bool = False, masked: bool = False, open_ended: bool = False) -> bytes:
    """h = tanh(W x + U h) over (1, steps, FEATURES): the last state, or with `sequence` all of them."""
    made = LoopMaker()
    made.floats("x", 1, steps, FEATURES)
    made.floats("turned", steps, 1, FEATURES)
    rows = steps if sequence else 1
    zero, shape = made.number("zero", 0), made.number("time_major", [steps, 1, FEATURES])
    made.tensor("list", (rows, 1, UNITS), "float32", np.zeros((rows, 1, UNITS)))
    made.tensor("h0", (1, UNITS), "float32", np.zeros((1, UNITS)))
    outs = [made.tensor("i1", (), "int32", scale=0), made.floats("list1", rows, 1, UNITS), made.floats("h1", 1, UNITS)]
    made.floats("y", rows, UNITS)
    made.op("RESHAPE", ["x", shape], ["turned"], options=schema.ReshapeOptionsT())
    options = schema.WhileOptionsT()
    options.condSubgraphIndex, options.bodySubgraphIndex = 1, 2
    outs.append(made.floats("turned1", steps, 1, FEATURES))
    made.op("WHILE", [zero, "list", "h0", "turned"], outs, options=options)
    made.op("RESHAPE", ["list1", made.number("flat", [rows, UNITS])], ["y"], options=schema.ReshapeOptionsT())
    made.ends(["x"], ["y"])
    _condition(made, steps, rows, open_ended=open_ended)
    _body(made, steps, rows, masked=masked)
    return made.written()


def _carried(made: LoopMaker, steps: int, rows: int) -> list[str]:
    counter = made.tensor("i", (), "int32", scale=0)
    states = [made.floats("list", rows, 1, UNITS), made.floats("h", 1, UNITS)]
    return [counter, *states, made.floats("xs", steps, 1, FEATURES)]


def _condition(made: LoopMaker, steps: int, rows: int, *, open_ended: bool) -> None:
    made.begin()
    carried = _carried(made, steps, rows)
    DTYPES["bool"] = schema.TensorType.BOOL
    going = made.tensor("going", (), "bool", scale=0)
    if open_ended:
        made.tensor("limit", (), "float32", 0.5)
        mean = made.tensor("mean", (), "float32")
        made.op("MEAN", ["h", made.number("all", [0, 1])], [mean], options=schema.ReducerOptionsT())
        made.op("LESS", ["limit", mean], [going], options=schema.LessOptionsT())
    else:
        made.op("LESS", ["i", made.number("steps", steps)], [going], options=schema.LessOptionsT())
    made.ends(carried, [going])


def _body(made: LoopMaker, steps: int, rows: int, *, masked: bool) -> None:
    made.begin()
    carried = _carried(made, steps, rows)
    made.tensor("kernel", KERNEL.shape, "float32", KERNEL)
    made.tensor("recurrent", RECURRENT.shape, "float32", RECURRENT)
    for name in ("from_x", "from_h", "sum", "new"):
        made.floats(name, 1, UNITS)
    made.op("GATHER", ["xs", "i"], [made.floats("now", 1, FEATURES)], options=schema.GatherOptionsT())
    made.op("FULLY_CONNECTED", ["now", "kernel"], ["from_x"], options=schema.FullyConnectedOptionsT())
    made.op("FULLY_CONNECTED", ["h", "recurrent"], ["from_h"], options=schema.FullyConnectedOptionsT())
    made.op("ADD", ["from_x", "from_h"], ["sum"], options=schema.AddOptionsT())
    made.op("TANH", ["sum"], ["new"])
    if masked:
        seen = made.tensor("seen", (1, UNITS), "bool", scale=0)
        made.op("LESS", ["from_x", "sum"], [seen], options=schema.LessOptionsT())
        made.op("SELECT_V2", [seen, "new", "h"], [made.floats("chosen", 1, UNITS)], options=schema.SelectV2OptionsT())
    one = made.number("one", 1)
    made.op("ADD", ["i", one], [made.tensor("next", (), "int32", scale=0)], options=schema.AddOptionsT())
    row = made.floats("row", 1, 1, UNITS)
    made.op("RESHAPE", ["new", made.number("row_shape", [1, 1, UNITS])], [row], options=schema.ReshapeOptionsT())
    made.ends(carried, ["next", _kept(made, rows, row), "chosen" if masked else "new", "xs"])


def _kept(made: LoopMaker, rows: int, row: str) -> str:
    """The list with its row written: the row itself where only the last is kept."""
    if rows == 1:
        return row
    for name, counter in (("before", "i"), ("after", "next")):
        flat = made.tensor(f"{name}_flat", (1,), "int32", scale=0)
        made.op("RESHAPE", [counter, made.number(f"{name}_one", [1])], [flat], options=schema.ReshapeOptionsT())
        ends, options = made.tensor(f"{name}_ends", (3,), "int32", scale=0), schema.ConcatenationOptionsT()
        rest = made.number(f"{name}_rest", [0, 0] if name == "after" else [-1, -1])
        made.op("CONCATENATION", [flat, rest], [ends], options=options)
        part = made.floats(name, 1, 1, UNITS)
        made._graph.tensors[made._index[name]].shapeSignature = [-1, 1, UNITS]
        whole = made.number(f"{name}_whole", [-1, -1, -1] if name == "after" else [0, 0, 0])
        pair = [ends, whole] if name == "after" else [whole, ends]
        made.op("SLICE", ["list", *pair], [part], options=schema.SliceOptionsT())
    options = schema.ConcatenationOptionsT()
    made.op("CONCATENATION", ["before", row, "after"], [made.floats("filled", rows, 1, UNITS)], options=options)
    return "filled"


def fused_lstm(*, backwards: bool = False, steps: int = STEPS) -> bytes:
    """UNIDIRECTIONAL_SEQUENCE_LSTM that gives all states; `backwards` turns its input and its output round."""
    made = LoopMaker()
    made.floats("x", 1, steps, FEATURES)
    made.floats("y", 1, steps, UNITS)
    names = ["x" if not backwards else made.floats("turned", 1, steps, FEATURES)]
    sizes = [(UNITS, FEATURES)] * 4 + [(UNITS, UNITS)] * 4
    for at, size in enumerate(sizes):
        names.append(made.tensor(f"w{at}", size, "float32", RANDOM.normal(0, 0.6, size)))
    biases = [made.tensor(f"b{at}", (UNITS,), "float32", RANDOM.normal(0, 0.3, UNITS)) for at in range(4)]
    states = [made.floats(name, 1, UNITS) for name in ("state", "cell")]
    for name in states:
        made._graph.tensors[made._index[name]].isVariable = True
    made._index["none"] = -1
    inputs = [*names, *["none"] * 3, *biases, *["none"] * 2, *states, *["none"] * 4]
    options = schema.UnidirectionalSequenceLSTMOptionsT()
    options.fusedActivationFunction, options.cellClip = schema.ActivationFunctionType.TANH, 10.0
    out = "y" if not backwards else made.floats("forwards", 1, steps, UNITS)
    axis = made.number("axis", [1])
    if backwards:
        made.op("REVERSE_V2", ["x", axis], ["turned"], options=schema.ReverseV2OptionsT())
    made.op("UNIDIRECTIONAL_SEQUENCE_LSTM", inputs, [out], options=options)
    if backwards:
        made.op("REVERSE_V2", [out, axis], ["y"], options=schema.ReverseV2OptionsT())
    made.ends(["x"], ["y"])
    return made.written()
