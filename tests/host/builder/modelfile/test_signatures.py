"""One of several signatures is taken out of a file, and inputs and outputs get the order of the source."""

from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from skerry_host.builder.modelfile import signatures
from skerry_host.builder.modelfile.graph import describe
from skerry_host.builder.modelfile.tflite import read_model, write_model
from skerry_host.builder.recipe.errors import ModelError
from skerry_host.builder.recipe.recipe import SourcePlan
from skerry_host.builder.runtime.session import Session
from skerry_host.builder.sources.load import load_source
from tests.kit.edgetpu.models import Maker


def added(number: float) -> bytes:
    """y = x + number and z = x * number, each (1, 2)."""
    made = Maker()
    made.tensor("x", (1, 2), "float32")
    made.tensor("c", (1, 2), "float32", np.full((1, 2), number))
    made.tensor("y", (1, 2), "float32")
    made.tensor("z", (1, 2), "float32")
    made.op("ADD", ["x", "c"], ["y"], options=schema.AddOptionsT())
    made.op("MUL", ["x", "c"], ["z"], options=schema.MulOptionsT())
    return made.data(["x"], ["y", "z"])


def signature(key: str, subgraph: int) -> schema.SignatureDefT:
    """Names input and outputs of `added`."""
    made = schema.SignatureDefT()
    made.signatureKey, made.subgraphIndex = key.encode(), subgraph
    made.inputs, made.outputs = [], []
    for entries, name, index in ((made.inputs, "in", 0), (made.outputs, "sum", 2), (made.outputs, "product", 3)):
        entry = schema.TensorMapT()
        entry.name, entry.tensorIndex = name.encode(), index
        entries.append(entry)
    return made


def several(*keys: str) -> bytes:
    """A file with a subgraph and a signature for each key: the first adds 1, the second 2, and so on."""
    models = [read_model(added(number + 1.0)) for number in range(len(keys))]
    whole = models[0]
    for model in models[1:]:
        (graph,) = model.subgraphs
        constant = graph.tensors[1]
        whole.buffers.append(model.buffers[constant.buffer])
        constant.buffer = len(whole.buffers) - 1
        whole.subgraphs.append(graph)
    whole.signatureDefs = [signature(key, at) for at, key in enumerate(keys)]
    return write_model(whole)


def loaded(folder: Path, data: bytes, **plan):
    (folder / "m.tflite").write_bytes(data)
    return load_source(folder / "m.tflite", SourcePlan("m.tflite", **plan))


@pytest.mark.parametrize(("key", "number"), [("first", 1), ("second", 2)])
def test_the_signature_that_is_asked_for_is_taken(tmp_path: Path, key: str, number: int):
    """Two signatures were called control flow."""
    source = loaded(tmp_path, several("first", "second"), signature=key)
    assert (source.graph.subgraphs, source.graph.signature) == (1, key)
    assert [spec.name for spec in source.graph.output_specs()] == ["sum", "product"]
    got = Session(source.data).run([np.array([[1, 2]], np.float32)])
    np.testing.assert_array_equal(got, [[[1 + number, 2 + number]], [[number, 2 * number]]])


def test_the_constants_of_other_signatures_are_gone():
    model = read_model(several("first", "second"))
    signatures.take(model, "second")
    assert sum(buffer.data is not None for buffer in model.buffers) == 1


def test_the_usual_signature_is_taken_where_none_is_named(tmp_path: Path):
    source = loaded(tmp_path, several("other", "serving_default"))
    assert source.graph.signature == "serving_default"


WRONG = {
    "none is named": ({}, r"m.tflite has 2 signatures \(first, second\); name one of them as \[source\] signature"),
    "another is named": ({"signature": "third"}, r"has no signature 'third' \(it has first, second\)"),
    "a constant of no input": ({"signature": "first", "constants": {"x2": 1}}, "has no input x2"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_there_is_is_listed(tmp_path: Path, case: str):
    plan, expected = WRONG[case]
    with pytest.raises(ModelError, match=expected):
        loaded(tmp_path, several("first", "second"), **plan)


def test_outputs_get_the_order_and_the_names_of_the_source():
    """A classifier of 100 % was judged by the box that TFLite puts first."""
    model = read_model(several("only"))
    assert signatures.order(model, ["in"], ["product", "sum"])
    signatures.rename_outputs(model, ["p", "s"])
    graph = describe(model)
    assert [spec.name for spec in graph.output_specs()] == ["p", "s"]
    got = Session(write_model(model)).run([np.array([[3, 4]], np.float32)])
    np.testing.assert_array_equal(got, [[[3, 4]], [[4, 5]]])


@pytest.mark.parametrize("outputs", [["sum"], ["sum", "sum"], ["sum", "quotient"]])
def test_an_order_that_is_none_changes_nothing(outputs: list[str]):
    model = read_model(several("only"))
    before = [int(i) for i in model.subgraphs[0].outputs]
    assert not signatures.order(model, ["in"], outputs)
    assert [int(i) for i in model.subgraphs[0].outputs] == before


def test_open_sizes_are_given_by_the_recipe(tmp_path: Path):
    """A width that is open had the runtime's words: XNNPack failed to reshape."""
    model = read_model(added(1.0))
    for at in (0, 2, 3):
        model.subgraphs[0].tensors[at].shapeSignature = [1, -1]
        model.subgraphs[0].tensors[at].shape = [1, 1]
    constant = model.subgraphs[0].tensors[1]
    constant.shape = [1, 1]
    model.buffers[constant.buffer].data = np.frombuffer(np.float32(1).tobytes(), np.uint8)
    data = write_model(model)
    source = loaded(tmp_path, data, shapes={"x": (1, 5)})
    assert [spec.shape for spec in (*source.graph.input_specs(), *source.graph.output_specs())] == [(1, 5)] * 3
    with pytest.raises(ModelError, match=r"\[source.shapes\] x = "):
        loaded(tmp_path, data)
    with pytest.raises(ModelError, match=r"input x has shape 1x\?, \[source.shapes\] says 2x5"):
        loaded(tmp_path, data, shapes={"x": (2, 5)})
