"""Why a source cannot be run or converted is read from its graph, not guessed from the words of the runtime."""

import sys
from pathlib import Path

import pytest

from skerry_host.builder.modelfile.graph import Graph, Op, Tensor
from skerry_host.builder.recipe.errors import ModelError
from skerry_host.builder.runtime.probe import Probe
from skerry_host.builder.sources.child import Conversion, run
from skerry_host.builder.sources.why import require_runs, several_graphs


def graph(*ops: str, custom: bool = False, shape=(1, 8), subgraphs: int = 1) -> Graph:
    tensor = Tensor(0, "x", "float32", tuple(abs(n) for n in shape), shape, 0)
    every = tuple(Op(at, name, 1, custom, (0,), (0,)) for at, name in enumerate(ops))
    return Graph(subgraphs, (tensor,), every, (0,), (0,))


NOT_RUNNING = {
    "TensorFlow's own operators": (
        graph("FlexErfinv", custom=True),
        "does_not_run",
        ["operators of TensorFlow itself (Erfinv, by SELECT_TF_OPS)", "without SELECT_TF_OPS"],
    ),
    "a compiled model": (graph("edgetpu-custom-op", custom=True), "does_not_run", ["is compiled for the Edge TPU"]),
    "a maker's operators": (
        graph("Convolution2DTransposeBias", custom=True),
        "does_not_run",
        ["custom operators (Convolution2DTransposeBias), which only its maker's runtime has"],
    ),
    "open sizes": (
        graph("CONV_2D", shape=(1, -1, -1, 3)),
        "unfit",
        ["input x has the open shape 1x?x?x3", "[source.shapes] x = [1, ...]"],
    ),
    "anything else": (graph("CONV_2D"), "does_not_run", ["XNNPack failed to reshape", "the runtime's own message"]),
}


@pytest.mark.parametrize(("found", "code", "words"), NOT_RUNNING.values(), ids=NOT_RUNNING.keys())
def test_the_cause_is_named_and_not_what_it_leads_to(found, code, words):
    with pytest.raises(ModelError) as refused:
        require_runs("m.tflite", Probe(found, "XNNPack failed to reshape"))
    assert refused.value.code == code
    for word in words:
        assert word in str(refused.value)


SEVERAL = {
    "a loop": (graph("WHILE", subgraphs=3), (), "recurrent layers (LSTM, GRU)"),
    "branches": (graph("IF", subgraphs=3), (), "branches (IF)"),
    "tables of words": (graph("HASHTABLE_FIND", subgraphs=2), (), "looks words up"),
    "variables": (graph("VAR_HANDLE", subgraphs=2), (), "in variables"),
    "signatures": (graph("ADD", subgraphs=2), ("encode", "decode"), "2 signatures (encode, decode): name one"),
}


@pytest.mark.parametrize(("found", "signatures", "words"), SEVERAL.values(), ids=SEVERAL.keys())
def test_a_model_of_several_graphs_is_told_why_it_is_one(found, signatures, words):
    """Two signatures and an LSTM were both called control flow."""
    assert words in several_graphs(found, signatures)


FAILING = {
    "its own mistake": (
        "def convert():\n    x += 1\nconvert()",
        "converter",
        "its own code fails at <string>:2 (convert): UnboundLocalError",
    ),
    "what it says of the model": (
        "raise ValueError('axis 5 is out of range')",
        "converter",
        "ValueError: axis 5 is out",
    ),
    "no memory": ("raise MemoryError", "memory", "needs more memory than there is"),
    "no memory for an array of onnxruntime": (
        "raise RuntimeError('Failed to allocate memory for requested buffer of size 28800000000')",
        "memory",
        "needs more memory than there is",
    ),
    "killed for memory": ("import os; os.kill(os.getpid(), 9)", "memory", "as the system does when memory runs out"),
    "only words": ("print('cannot read it'); raise SystemExit(3)", "converter", "fails: cannot read it"),
}


@pytest.mark.parametrize(("code", "kind", "words"), FAILING.values(), ids=FAILING.keys())
def test_a_converter_that_fails_is_quoted_with_its_log(code, kind, words, tmp_path: Path):
    with pytest.raises(ModelError) as refused:
        run(Conversion("the converter", [sys.executable, "-c", code], tmp_path))
    assert refused.value.code == kind
    assert words in refused.value.message
    assert "full output: " in refused.value.hint
