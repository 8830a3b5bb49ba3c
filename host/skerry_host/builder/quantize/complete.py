"""Puts on integers what the quantizer left in float between integers: operators of `kernels`, and looked-up tables.

The quantizer surrounds what it has no entry for by DEQUANTIZE and QUANTIZE. Here such an operator gets scales for its
inputs and outputs and reads the integers themselves. What has no integer kernel stays in float, for a gate to find.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from skerry_agent.processing import Array
from skerry_host.builder.modelfile.constants import add_buffer, constant
from skerry_host.builder.modelfile.graph import op_name
from skerry_host.builder.modelfile.islands import scope
from skerry_host.builder.modelfile.links import readers
from skerry_host.builder.modelfile.parts import copy_tensor, operator, requantize, requantize_code
from skerry_host.builder.modelfile.tflite import text
from skerry_host.builder.quantize.forms import TYPES, Form, form_of, integers, quantization, read_form
from skerry_host.builder.quantize.kernels import KERNELS, Kernel
from skerry_host.builder.quantize.named_layers import meant
from skerry_host.builder.quantize.step import Draft, Ranges, Step
from skerry_host.builder.quantize.tables import Tables, evaluate, look_up
from skerry_host.builder.recipe.recipe import Quantize

_CONVERSIONS = {"DEQUANTIZE", "QUANTIZE"}
_T, _B = schema.TensorType, schema.BuiltinOperator


@dataclass(slots=True)
class Completion:
    """The model as it is rewritten: `integers` has the integer tensor of a float one that a DEQUANTIZE made.

    `renamed`: integer tensors that turned out to be another; `floats`: real values of tensors that became integers.
    `kept`: the names of what operators write that are to stay float.
    """

    model: Any
    ranges: Ranges
    dtype: str
    tables: Tables
    integers: dict[int, int] = field(default_factory=dict)
    renamed: dict[int, int] = field(default_factory=dict)
    floats: dict[int, int] = field(default_factory=dict)
    converted: set[int] = field(default_factory=set)
    kept: frozenset[str] = frozenset()

    @property
    def main(self) -> Any:
        """The graph."""
        return self.model.subgraphs[0]

    def name(self, op: Any) -> str:
        """An operator's kind."""
        return op_name(self.model.operatorCodes[op.opcodeIndex])

    def is_float(self, index: int) -> bool:
        """Whether a tensor holds real values."""
        return bool(self.main.tensors[index].type == _T.FLOAT32)


def complete(work: Completion, *, real_io: bool) -> None:
    """Rewrite a quantized `schema.ModelT` in place; layers that are to stay float stay as they are.

    `real_io`: its inputs and outputs stay in float, too.
    """
    first = _take_inputs(work, real=real_io)
    work.main.operators = first + [made for op in work.main.operators for made in _operator(work, op)]
    outputs = [work.renamed.get(int(i), int(i)) for i in work.main.outputs]
    if real_io:
        work.main.operators += [made for i in outputs if i in work.converted for made in _as_given(work, i)]
        outputs = [work.floats.get(i, i) for i in outputs]
    else:  # one that an operator without an entry reads, too, was made real for that
        outputs = [work.integers.get(i, i) for i in outputs]
    _replace_outputs(work, outputs)
    _drop_unread(work)


def _take_inputs(work: Completion, *, real: bool) -> list[Any]:
    """Make integers of inputs that only operators without an entry read: themselves, or by a QUANTIZE for each."""
    made = []
    for index in (int(i) for i in work.main.inputs):
        form = _measured(work, index) if work.is_float(index) and _is_left(work, index) else None
        if form is None:
            continue
        if real:
            work.integers[index] = copy_tensor(work.main, index, b"_integers")
            tensor = work.main.tensors[work.integers[index]]
            tensor.type, tensor.quantization = TYPES[work.dtype][0], quantization(form)
            made.append(operator(work.model, _B.QUANTIZE, (index,), work.integers[index], schema.QuantizeOptionsT()))
        else:
            _become(work, index, form)
    return made


def _is_left(work: Completion, index: int) -> bool:
    """Whether an operator reads a tensor that is to be completed."""
    reading = [op for op in work.main.operators if index in {int(i) for i in op.inputs}]
    return any(work.name(op) in KERNELS or _table(work, op) for op in reading)


def _table(work: Completion, op: Any) -> bytes | None:
    """The function that an operator stands for, None if for none."""
    return work.tables.functions.get(text(work.main.tensors[int(op.outputs[0])].name))


def _operator(work: Completion, op: Any) -> Iterator[Any]:
    """What an operator becomes."""
    op.inputs = np.array([work.renamed.get(int(i), int(i)) for i in op.inputs], np.int32)
    name, read, written = work.name(op), int(op.inputs[0]), int(op.outputs[0])
    if name == "DEQUANTIZE" and _form(work, read) is not None:
        work.integers[written] = read
        yield op
    elif text(work.main.tensors[written].name) in work.kept:
        yield from _in_float(work, op)
    elif name == "QUANTIZE" and _was_float(work, read) and (source := _integer(work, read)) is not None:
        yield from _requantized(work, op, source)
    elif (table := work.tables.functions.get(text(work.main.tensors[written].name))) and (
        source := _integer(work, read)
    ) is not None:
        yield from _looked_up(work, op, source, table)
    elif (kernel := KERNELS.get(name)) and kernel.takes(work.dtype) and _floats(work, op) and _can(work, op, kernel):
        yield from _on_integers(work, op, kernel)
    elif name == "CAST" and _counts(work, op):
        _become(work, written, Form(1.0, 0))
        if op.builtinOptions is not None:
            op.builtinOptions.outDataType = TYPES[work.dtype][0]
        yield op
    else:
        _give_unread_the_form_of_read(work, op)
        yield from _in_float(work, op)


def _give_unread_the_form_of_read(work: Completion, op: Any) -> None:
    """Outputs that nobody reads: the quantizer leaves them in float beside those that it made integers."""
    forms = [_form(work, int(i)) for i in op.outputs]
    known = next((form for form in forms if form is not None), None)
    for written, form in zip((int(i) for i in op.outputs), forms, strict=True):
        if known is not None and form is None and work.is_float(written):
            _become(work, written, known)


def _requantized(work: Completion, op: Any, source: int) -> Iterator[Any]:
    """A QUANTIZE of what is an integer now: nothing where the scales agree, else from integers to integers."""
    written = int(op.outputs[0])
    if _form(work, source) == _form(work, written):
        work.renamed[written] = source
        return
    op.inputs = np.array([source], np.int32)
    op.opcodeIndex = requantize_code(work.model)
    yield op


def _looked_up(work: Completion, op: Any, source: int, table: bytes) -> Iterator[Any]:
    written = int(op.outputs[0])
    form, given = _measured(work, written), _form(work, source)
    assert form is not None
    assert given is not None
    _become(work, written, form)
    yield from look_up(work.model, (source, written), _entries(table, given, form))


def _entries(table: bytes, given: Form, form: Form) -> Array:
    """The 256 integers that a function's values for every int8 are rounded to."""
    numbers = (np.arange(-128, 128) - given.zero).astype(np.float32) * np.float32(given.scale)
    return integers(evaluate(table, numbers), form, "int8")


def _on_integers(work: Completion, op: Any, kernel: Kernel) -> Iterator[Any]:
    """The operator on integers, behind a QUANTIZE for each input that has to have another scale."""
    target = _target(work, op, kernel)
    inputs = [int(i) for i in op.inputs]
    for at in _values(op, kernel):
        if inputs[at] < 0 or not _was_float(work, inputs[at]):
            continue
        if _constant(work, inputs[at]) is not None:
            inputs[at] = _quantized_constant(work, inputs[at], target if kernel.rule == "output" else None)
            continue
        source = _integer(work, inputs[at])
        assert source is not None
        if kernel.rule == "output" and _form(work, source) != target:
            source, between = _new(work, source, target), source
            yield requantize(work.model, between, source)
        inputs[at] = source
    op.inputs = np.array(inputs, np.int32)
    for written in (int(i) for i in op.outputs):
        if work.is_float(written):
            _become(work, written, target)
    yield op


def _target(work: Completion, op: Any, kernel: Kernel) -> Form:
    """The scale of an operator's outputs, which `_can` has found to be known."""
    fixed = kernel.fixed.get(work.dtype)
    if fixed is not None:
        return Form(*fixed)
    if kernel.rule == "input":
        source = _integer(work, int(op.inputs[_values(op, kernel)[0]]))
        found = None if source is None else _form(work, source)
    else:
        found = _measured(work, int(op.outputs[0]))
    return found or Form(1.0, 0)


def _can(work: Completion, op: Any, kernel: Kernel) -> bool:
    """Whether all that an operator reads is known as integers, and the range of what it writes."""
    if kernel.fixed and work.dtype not in kernel.fixed:
        return False
    inputs = [int(op.inputs[at]) for at in _values(op, kernel) if int(op.inputs[at]) >= 0]
    known = all(not work.is_float(i) or _constant(work, i) is not None or _integer(work, i) is not None for i in inputs)
    if kernel.rule == "input":
        return known and bool(inputs) and _integer(work, inputs[0]) is not None
    written = int(op.outputs[0])
    return known and (kernel.rule == "none" or bool(kernel.fixed) or _measured(work, written) is not None)


def _counts(work: Completion, op: Any) -> bool:
    """Whether a CAST makes real values of integers or truths that are few enough for int8 as they are."""
    if work.is_float(int(op.inputs[0])) or not work.is_float(int(op.outputs[0])) or work.dtype != "int8":
        return False
    found = work.ranges.get(text(work.main.tensors[int(op.outputs[0])].name))
    truths = work.main.tensors[int(op.inputs[0])].type == _T.BOOL
    return truths or (found is not None and float(found["min"].min()) >= -128 and float(found["max"].max()) <= 127)


def _in_float(work: Completion, op: Any) -> Iterator[Any]:
    """An operator that stays as it is; what it reads of tensors that became integers is made real again."""
    for i in {int(i) for i in op.inputs if int(i) in work.converted}:
        if not _takes_integers(work, op):
            yield from _as_given(work, i)
            op.inputs = np.array([work.floats[i] if int(j) == i else int(j) for j in op.inputs], np.int32)
    yield op


def _takes_integers(work: Completion, op: Any) -> bool:
    """Whether an operator computes on integers already."""
    return not any(work.is_float(int(i)) for i in op.outputs)


def _as_given(work: Completion, index: int) -> Iterator[Any]:
    """A DEQUANTIZE of a tensor that became an integer, once."""
    if index in work.floats:
        return
    made = copy_tensor(work.main, index, b"_real")
    work.main.tensors[made].type, work.main.tensors[made].quantization = _T.FLOAT32, None
    work.floats[index] = made
    yield operator(work.model, _B.DEQUANTIZE, (index,), made, schema.DequantizeOptionsT())


def _replace_outputs(work: Completion, outputs: list[int]) -> None:
    moved = {int(old): new for old, new in zip(work.main.outputs, outputs, strict=True)}
    work.main.outputs = np.array(outputs, np.int32)
    for entry in (entry for one in work.model.signatureDefs or [] for entry in one.outputs or []):
        entry.tensorIndex = moved.get(int(entry.tensorIndex), int(entry.tensorIndex))


def _drop_unread(work: Completion) -> None:
    """Remove each conversion that nobody reads any more."""
    read = readers(work.main)
    work.main.operators = [op for op in work.main.operators if work.name(op) not in _CONVERSIONS or read[op.outputs[0]]]


def _was_float(work: Completion, index: int) -> bool:
    """Whether a tensor held real values when the quantizer was done."""
    return work.is_float(index) or index in work.converted


def _integer(work: Completion, index: int) -> int | None:
    """The integer tensor of a value, None where it is real."""
    if index in work.integers:
        return work.integers[index]
    return index if _form(work, index) is not None else None


def _form(work: Completion, index: int) -> Form | None:
    """The one scale of an integer tensor, None for others."""
    return read_form(work.main.tensors[index], work.dtype)


def _measured(work: Completion, index: int) -> Form | None:
    """The scale for a tensor's measured range, as the quantizer chooses it."""
    found = work.ranges.get(text(work.main.tensors[index].name))
    return None if found is None else form_of(found["min"], found["max"], work.dtype)


def _become(work: Completion, index: int, form: Form) -> None:
    """Make a float tensor an integer one."""
    tensor = work.main.tensors[index]
    tensor.type, tensor.quantization = TYPES[work.dtype][0], quantization(form)
    work.converted.add(index)


def _new(work: Completion, like: int, form: Form) -> int:
    made = copy_tensor(work.main, like, b"_scaled")
    work.main.tensors[made].quantization = quantization(form)
    return made


def _quantized_constant(work: Completion, index: int, form: Form | None) -> int:
    """A constant's integers: with a scale of its own, or with the one that the operator demands."""
    real = _constant(work, index)
    assert real is not None
    form = form or form_of(np.minimum(real.min(), 0), np.maximum(real.max(), 0), work.dtype)
    made = copy_tensor(work.main, index, b"_integers")
    tensor = work.main.tensors[made]
    tensor.type, tensor.quantization = TYPES[work.dtype][0], quantization(form)
    tensor.buffer = add_buffer(work.model, integers(real, form, work.dtype))
    return made


def _constant(work: Completion, index: int) -> Array | None:
    return constant(work.model, index) if work.is_float(index) else None


def _values(op: Any, kernel: Kernel) -> tuple[int, ...]:
    return kernel.values or tuple(range(len(op.inputs)))


def _floats(work: Completion, op: Any) -> bool:
    """Whether an operator touches real values."""
    return any(work.is_float(int(i)) for i in (*op.inputs, *op.outputs) if int(i) >= 0)


def _run(draft: Draft) -> Draft:
    graph = draft.source.graph
    kept = frozenset(scope(graph, op) for op in meant(graph, draft.plan.keep_float))
    work = Completion(draft.model, draft.ranges, draft.plan.activations, draft.tables, kept=kept)
    complete(work, real_io=draft.plan.io == "float")
    return replace(draft, source=draft.tables.before or draft.source)


def _integer_plan(plan: Quantize) -> bool:
    return plan.activations != "float" and plan.quantizer != "tensorflow"


STEP = Step("operators without an entry in the quantizer", _integer_plan, _run)
