"""Recurrent layers are written out step by step: the numbers stay, and every operator has an int8 form."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from skerry_agent.processing import Feeding, dequantize
from skerry_host.builder.data.samples import Samples
from skerry_host.builder.judge.signal import sqnr_db
from skerry_host.builder.modelfile.graph import describe
from skerry_host.builder.modelfile.tflite import read_model, write_model
from skerry_host.builder.quantize.pipeline import quantize
from skerry_host.builder.recipe.errors import ModelError
from skerry_host.builder.recipe.recipe import Quantize
from skerry_host.builder.rewrite.loops import loop_problem, unroll_loops
from skerry_host.builder.rewrite.table import rewrite
from skerry_host.builder.runtime.session import Session
from skerry_host.builder.sources.equivalence import equivalence_db, examples
from skerry_host.builder.sources.load import load_source
from tests.kit.recurrent_models import FEATURES, STEPS, fused_lstm, simple_rnn

MODELS = {
    "a loop that keeps its last state": simple_rnn(),
    "a loop that fills a list": simple_rnn(sequence=True),
    "a fused LSTM": fused_lstm(),
    "a fused LSTM that reads backwards": fused_lstm(backwards=True),
}


def rewritten(data: bytes) -> bytes:
    model = read_model(data)
    rewrite(model)
    return write_model(model)


@pytest.mark.parametrize("name", MODELS)
def test_an_unrolled_layer_computes_the_same(name: str):
    made = rewritten(MODELS[name])
    found = equivalence_db(examples(MODELS[name]), made)
    assert found is not None
    assert found > 100
    left = Counter(op.name for op in describe(read_model(made)).ops)
    assert not {"WHILE", "GATHER", "REVERSE_V2", "UNIDIRECTIONAL_SEQUENCE_LSTM"} & set(left)


@pytest.mark.parametrize("name", MODELS)
def test_an_unrolled_layer_is_fully_int8_and_close_to_the_float_one(tmp_path: Path, name: str):
    (tmp_path / "m.tflite").write_bytes(MODELS[name])
    source = load_source(tmp_path / "m.tflite")
    inputs = np.random.default_rng(1).random((48, STEPS, FEATURES), np.float32)
    made = quantize(source, Samples.of(inputs), Feeding(), Quantize())
    assert not describe(read_model(made)).float_ops()
    real, got = Session(source.data), Session(made)
    for sample in inputs[:8]:
        (wanted,), (have,) = real.run_raw((sample,), Feeding()), got.run_raw((sample,), Feeding())
        assert sqnr_db(wanted, dequantize(have, got.outputs[0])) > 20


def test_only_the_first_graph_is_left_and_no_operator_is_read_by_nobody():
    model = read_model(simple_rnn())
    said = unroll_loops(model)
    main = model.subgraphs[0]
    assert said == f"1 recurrent layer unrolled ({STEPS} steps): {len(main.operators)} operators in all"
    assert len(model.subgraphs) == 1
    read = {int(i) for op in main.operators for i in op.inputs} | set(map(int, main.outputs))
    assert all(int(op.outputs[0]) in read for op in main.operators)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (simple_rnn(masked=True), "a recurrent layer with a mask"),
        (simple_rnn(open_ended=True), "a loop whose number of rounds depends on the data"),
        (simple_rnn(2000), "a recurrent layer of 2000 steps: unrolled it would have about"),
    ],
)
def test_a_loop_that_stays_is_refused_with_its_own_cause(tmp_path: Path, data: bytes, says: str):
    assert loop_problem(read_model(data)).startswith(says)
    assert unroll_loops(read_model(data)) is None
    (tmp_path / "m.tflite").write_bytes(data)
    with pytest.raises(ModelError, match=says) as refused:
        load_source(tmp_path / "m.tflite")
    assert "control flow" not in refused.value.message
