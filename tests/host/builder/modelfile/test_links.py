"""What hangs together in a TFLite graph, and that only what nobody needs is dropped; its constants."""

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from skerry_host.builder.modelfile.constants import add_constant_tensor, constant, has_values
from skerry_host.builder.modelfile.links import drop_unread, kinds, readers, writers
from skerry_host.builder.modelfile.tflite import read_model
from skerry_host.builder.rewrite.averages import average_sums
from tests.kit.float_graphs import FloatMaker, options


def model(*, remembers: bool = False):
    """y = x + c; beside it x * c, and half of that, which nobody reads, or which a variable takes."""
    made = FloatMaker()
    for name in ("x", "y", "product", "half"):
        made.real(name, (1, 2))
    made.constant("c", [[1.0, 2.0]])
    made.op("ADD", ["x", "c"], ["y"], options=options("Add"))
    made.op("MUL", ["x", "c"], ["product"], options=options("Mul"))
    made.op("MUL", ["product", "product"], ["half"], options=options("Mul"))
    if remembers:
        made.real("state", (1, 2))
        made.op("ASSIGN_VARIABLE", ["state", "half"], [], options=options("AssignVariable"))
    return read_model(made.data(["x"], ["y"]))


def left(found) -> list[str]:
    return [kinds(found)[op.opcodeIndex] for op in found.subgraphs[0].operators]


def test_what_no_output_needs_is_dropped_to_its_beginning():
    found = model()
    drop_unread(found)
    assert left(found) == ["ADD"]


def test_what_a_variable_remembers_is_needed():
    """Rewriting a LayerNorm beside it dropped the assignment, and the model forgot."""
    found = model(remembers=True)
    drop_unread(found)
    assert left(found) == ["ADD", "MUL", "MUL", "ASSIGN_VARIABLE"]


def test_outputs_count_as_readers():
    main = model().subgraphs[0]
    assert [readers(main)[int(op.outputs[0])] for op in main.operators] == [1, 2, 0]
    assert [writers(main)[int(op.outputs[0])] is op for op in main.operators] == [True] * 3


@pytest.mark.parametrize("dtype", ["<f4", "<i4", "<i8", "i1", "u1", "?"])
@pytest.mark.parametrize("shape", [(), (3,), (2, 3)])
def test_a_constant_comes_back_as_it_was_written(dtype, shape):
    found, values = model(), np.ones(shape, dtype)
    index = add_constant_tensor(found, b"new", values)
    got = constant(found, index)
    assert (got.dtype, got.shape, got.tolist()) == (values.dtype, values.shape, values.tolist())
    assert has_values(found, index)


def test_what_is_no_constant_has_no_values():
    found = model()
    place = [bytes(tensor.name) for tensor in found.subgraphs[0].tensors].index(b"x")
    assert constant(found, place) is None
    assert constant(found, -1) is None
    found.subgraphs[0].tensors[
        add_constant_tensor(found, b"half", np.ones(2, np.float32))
    ].type = schema.TensorType.FLOAT16
    assert constant(found, len(found.subgraphs[0].tensors) - 1) is None


def test_a_variable_beside_an_average_that_is_rewritten_is_remembered():
    """Rewriting the average dropped the assignment, and a streaming model forgot."""
    made = FloatMaker()
    for name, shape in (("x", (1, 4)), ("sum", (1, 1)), ("y", (1, 1)), ("kept", (1, 4)), ("state", (1, 4))):
        made.real(name, shape)
    made.constant("axis", [1], "int32")
    made.constant("share", [0.25])
    made.op("SUM", ["x", "axis"], ["sum"], options=options("Reducer", keepDims=True))
    made.op("MUL", ["sum", "share"], ["y"], options=options("Mul"))
    made.op("MUL", ["x", "x"], ["kept"], options=options("Mul"))
    made.op("ASSIGN_VARIABLE", ["state", "kept"], [], options=options("AssignVariable"))
    found = read_model(made.data(["x"], ["y"]))
    assert average_sums(found) is not None
    assert left(found) == ["MEAN", "MUL", "ASSIGN_VARIABLE"]
