"""Unrolls WHILE loops whose number of rounds is known: recurrent layers (LSTM, GRU, RNN) as converters write them.

What counts and compares is computed here, on constants; everything else is written out once for each round, with the
same weights. A list that a loop fills row by row becomes a concatenation of the rows. Leaves a loop alone that depends
on the data, or that would become more than `MAX_OPERATORS`: `loop_problem` says which. Knows no kind of layer.
"""

from copy import copy
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from skerry_agent.processing import Array
from skerry_host.builder.modelfile.constants import constant
from skerry_host.builder.modelfile.graph import op_name
from skerry_host.builder.modelfile.links import drop_unread, kinds
from skerry_host.builder.modelfile.parts import operator
from skerry_host.builder.rewrite.counting import evaluate
from skerry_host.builder.rewrite.loop_lists import WrittenList, written_lists
from skerry_host.builder.rewrite.loop_tidy import tidy
from skerry_host.builder.rewrite.rows import one_row, read_row, unnamed

MAX_ROUNDS = 4096
MAX_OPERATORS = 8000
"""About 2 ms of an int8 model's time on a desktop core, and 2 MB of its file; the quantizer takes minutes beyond it."""


class _NotConstantError(Exception):
    """The loop cannot be unrolled; the text says why, for people."""


def unroll_loops(model: Any) -> str | None:
    """Write out every WHILE of the main graph that can be, in place."""
    done: list[int] = []
    for op in [op for op in model.subgraphs[0].operators or [] if _is_while(model, op)]:
        try:
            done.append(_unroll(model, op))
        except _NotConstantError:
            continue
    if done and not any(_is_while(model, op) for op in model.subgraphs[0].operators):
        del model.subgraphs[1:]
        _drop_unused_codes(model)
    if not done:
        return None
    tidy(model)
    drop_unread(model)
    count = len(model.subgraphs[0].operators)
    layers = "layer" if len(done) == 1 else "layers"
    return f"{len(done)} recurrent {layers} unrolled ({', '.join(map(str, done))} steps): {count:,} operators in all"


def loop_problem(model: Any) -> str:
    """Why a loop that is left cannot be unrolled, in words; empty if there is none."""
    for op in model.subgraphs[0].operators or []:
        if _is_while(model, op):
            try:
                _Loop(model, op).check()
            except _NotConstantError as problem:
                return str(problem)
    return ""


def _is_while(model: Any, op: Any) -> bool:
    return op_name(model.operatorCodes[op.opcodeIndex]) == "WHILE"


def _unroll(model: Any, op: Any) -> int:
    """Replace one WHILE by its rounds; how many. Raises `_NotConstantError` before anything was changed."""
    loop = _Loop(model, op)
    rounds = loop.check()
    made = loop.write(rounds)
    operators = model.subgraphs[0].operators
    at = next(place for place, one in enumerate(operators) if one is op)
    model.subgraphs[0].operators = [*operators[:at], *made, *operators[at + 1 :]]
    return rounds


class _Loop:
    """One WHILE. A value is a constant (an array) or a tensor of the main graph (its index)."""

    def __init__(self, model: Any, op: Any) -> None:
        self._model, self._op, self._main = model, op, model.subgraphs[0]
        self._cond = model.subgraphs[op.builtinOptions.condSubgraphIndex]
        self._body = model.subgraphs[op.builtinOptions.bodySubgraphIndex]
        self._names = kinds(model)
        self._lists = written_lists(model, self._body)
        self._shared: dict[int, int] = {}
        self._made: list[Any] = []

    def check(self) -> int:
        """The number of rounds; raises `_NotConstantError` where it is not known, or there are too many."""
        if any(self._names[op.opcodeIndex] in {"WHILE", "IF"} for op in self._body.operators):
            raise _NotConstantError("a loop with a loop or a choice within it")
        if any(self._names[op.opcodeIndex] in {"SELECT", "SELECT_V2"} for op in self._body.operators):
            raise _NotConstantError(
                "a recurrent layer with a mask (Masking, or Embedding with mask_zero), which has no int8 form; "
                "pad or cut the sequences to one length and leave the mask out"
            )
        carried = self._start()
        counters = [value if isinstance(value, np.ndarray) else None for value in carried]
        rounds = 0
        while self._goes_on(counters):
            rounds += 1
            values = dict(zip(map(int, self._body.inputs), counters, strict=True))
            self._fold(self._body, values)
            counters = [values.get(int(i)) for i in self._body.outputs]
            if rounds > MAX_ROUNDS:
                raise _NotConstantError(f"a loop of more than {MAX_ROUNDS} rounds")
        parts = sum(1 for op in self._body.operators if op.outputs[0] not in values) if rounds else 0
        if rounds * parts > MAX_OPERATORS:
            raise _NotConstantError(
                f"a recurrent layer of {rounds} steps: unrolled it would have about {rounds * parts:,} operators, "
                f"at most {MAX_OPERATORS:,} are written; give it shorter sequences, or steps of more than one frame"
            )
        return rounds

    def write(self, rounds: int) -> list[Any]:
        """The operators of all rounds; what the WHILE wrote is written by the last of them."""
        carried = self._start()
        rows: dict[int, list[int]] = {one.place: [] for one in self._lists}
        for turn in range(rounds):
            carried = self._round(carried, rows, turn)
        for place, (value, out) in enumerate(zip(carried, map(int, self._op.outputs), strict=True)):
            self._hand_over(rows.get(place, value), out)
        return self._made

    def _start(self) -> list[Any]:
        found: list[Any] = []
        for index in map(int, self._op.inputs):
            value = constant(self._model, index)
            found.append(value if value is not None and value.dtype.kind in "ib" else index)
        return found

    def _goes_on(self, counters: list[Array | None]) -> bool:
        values = dict(zip(map(int, self._cond.inputs), counters, strict=True))
        self._fold(self._cond, values)
        verdict = values.get(int(self._cond.outputs[0]))
        if verdict is None:
            raise _NotConstantError("a loop whose number of rounds depends on the data")
        return bool(verdict.all())

    def _fold(self, graph: Any, values: dict[int, Any]) -> None:
        """Add what follows from constants alone to `values`, by tensor of `graph`; drops those that are unknown."""
        for index in [key for key, value in values.items() if value is None]:
            del values[index]
        for op in graph.operators:
            got = [values.get(int(i), constant(self._model, int(i), graph)) for i in op.inputs]
            whole = [one for one in got if isinstance(one, np.ndarray) and one.dtype.kind in "ib"]
            if len(whole) == len(got):
                made = evaluate(self._names[op.opcodeIndex], op, whole)
                if made is not None:
                    values[int(op.outputs[0])] = made

    def _round(self, carried: list[Any], rows: dict[int, list[int]], turn: int) -> list[Any]:
        values: dict[int, Any] = dict(zip(map(int, self._body.inputs), carried, strict=True))
        known = {key: value for key, value in values.items() if isinstance(value, np.ndarray)}
        self._fold(self._body, known)
        values |= known
        skipped = {part for one in self._lists for part in one.parts}
        for at, op in enumerate(self._body.operators):
            if at not in skipped and int(op.outputs[0]) not in known:
                self._copy(op, values, turn)
        for one in self._lists:
            self._require_order(one, known, turn)
            rows[one.place].append(self._tensor(values, one.row))
        return [
            None if any(one.place == place for one in self._lists) else self._value(values, int(index))
            for place, index in enumerate(self._body.outputs)
        ]

    def _require_order(self, one: WrittenList, known: dict[int, Any], turn: int) -> None:
        begin = known.get(one.begin)
        if begin is None or int(np.ravel(begin)[0]) != turn + 1:
            raise _NotConstantError("a loop that does not write its list row by row")

    def _copy(self, op: Any, values: dict[int, Any], turn: int) -> None:
        made = copy(op)
        made.outputs = np.array([self._new(int(i), turn) for i in op.outputs], np.int32)
        values |= {int(i): int(new) for i, new in zip(op.outputs, made.outputs, strict=True)}
        row = self._row_of(op, values)
        if row is not None:
            made = self._read_row(op, values, row, int(made.outputs[0]))
        else:
            made.inputs = np.array([self._tensor(values, int(i)) if i >= 0 else -1 for i in op.inputs], np.int32)
        self._made.append(made)

    def _row_of(self, op: Any, values: dict[int, Any]) -> int | None:
        """Which row along the first axis a GATHER reads, None where it is something else."""
        if self._names[op.opcodeIndex] != "GATHER" or (op.builtinOptions and op.builtinOptions.axis):
            return None
        index = values.get(int(op.inputs[1]))
        return int(index) if isinstance(index, np.ndarray) and index.size == 1 and index.ndim == 0 else None

    def _read_row(self, op: Any, values: dict[int, Any], row: int, out: int) -> Any:
        """STRIDED_SLICE in place of GATHER: the Edge TPU has no other."""
        return read_row(self._model, self._tensor(values, int(op.inputs[0])), one_row(0, row), out)

    def _value(self, values: dict[int, Any], index: int) -> Any:
        found = values.get(index)
        if found is not None:
            return found
        value = constant(self._model, index, self._body)
        if value is None:
            raise _NotConstantError("a loop that reads what it has not written")
        return value if value.dtype.kind in "ib" else self._tensor(values, index)

    def _tensor(self, values: dict[int, Any], index: int) -> int:
        """The tensor of the main graph that stands for one of the body's: a constant is copied once for all rounds."""
        found = values.get(index)
        if isinstance(found, np.ndarray):
            return unnamed(self._model, found)
        if found is not None:
            return int(found)
        if index not in self._shared:
            self._main.tensors.append(copy(self._body.tensors[index]))
            self._shared[index] = len(self._main.tensors) - 1
        return self._shared[index]

    def _new(self, index: int, turn: int) -> int:
        made = copy(self._body.tensors[index])
        made.name = bytes(made.name or b"loop") + b"/step%d" % turn
        made.buffer = 0
        made.shapeSignature = None
        self._main.tensors.append(made)
        return len(self._main.tensors) - 1

    def _hand_over(self, value: Any, out: int) -> None:
        """Let what a loop left stand under the name that the WHILE wrote."""
        if isinstance(value, list):
            self._made.append(self._rows(value, out))
            return
        index = value if isinstance(value, int) else unnamed(self._model, value)
        for op in self._main.operators:
            if op is not self._op:
                op.inputs = np.array([index if int(i) == out else int(i) for i in op.inputs], np.int32)
        self._main.outputs = np.array([index if int(i) == out else int(i) for i in self._main.outputs], np.int32)
        for signature in self._model.signatureDefs or []:
            for entry in signature.outputs or []:
                entry.tensorIndex = index if int(entry.tensorIndex) == out else entry.tensorIndex

    def _rows(self, rows: list[int], out: int) -> Any:
        options = schema.ConcatenationOptionsT()
        options.axis = 0
        return operator(self._model, schema.BuiltinOperator.CONCATENATION, tuple(rows), out, options)


def _drop_unused_codes(model: Any) -> None:
    used = sorted({op.opcodeIndex for graph in model.subgraphs for op in graph.operators})
    for graph in model.subgraphs:
        for op in graph.operators:
            op.opcodeIndex = used.index(op.opcodeIndex)
    model.operatorCodes = [model.operatorCodes[at] for at in used]
