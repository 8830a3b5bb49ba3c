"""The compiler's output, recorded: what it says of each model, and which failure counts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry_host.builder.edgetpu.log import OpLine, read_log, read_table
from tests.kit.edgetpu.compiler import LOGS

MIB = 1 << 20


def text(name: str) -> str:
    return (LOGS / name).read_text("utf-8")


def test_a_full_mapping() -> None:
    said = read_log(text("success.txt"))
    model = said.of("model_edgetpu.tflite")
    assert (said.compiler, said.failure) == ("16.0.384591198", "")
    assert model is not None
    assert (model.on_chip_used_bytes, model.on_chip_free_bytes) == (round(3.86 * MIB), round(3.83 * MIB))
    assert (model.streamed_bytes, model.subgraphs, model.ops, model.tpu_ops, model.cpu_ops) == (0, 1, 2, None, None)
    assert model.table == (OpLine("RELU", 2, "Mapped to Edge TPU"),)


def test_a_partial_mapping() -> None:
    model = read_log(text("partial.txt")).of("model_edgetpu.tflite")
    assert model is not None
    assert (model.tpu_ops, model.cpu_ops, model.streamed_bytes) == (1, 2, 1536)
    assert [line.status for line in model.table][1:] == [
        "More than one subgraph is not supported",
        "Operation not supported",
    ]


def test_an_old_compiler_says_available_for_remaining() -> None:
    model = read_log(text("old.txt")).of("model_edgetpu.tflite")
    assert model is not None
    assert (model.on_chip_free_bytes, model.on_chip_used_bytes, model.table) == (8 * MIB, 640, ())


def test_failures_before_a_success_do_not_count() -> None:
    said = read_log(text("searched.txt"))
    assert (said.failure, len(said.models)) == ("", 1)
    assert said.models[0].tpu_ops == 1


def test_the_last_block_of_a_model_counts() -> None:
    model = read_log(text("success.txt") + text("partial.txt")).of("model_edgetpu.tflite")
    assert model is not None
    assert model.tpu_ops == 1


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("internal.txt", "internal"),
        ("not_quantized.txt", "not_quantized"),
        ("unparsable.txt", "unparsable"),
        ("new_version.txt", "unsupported_version"),
        ("large.txt", "large_activations"),
        ("slow.txt", "timeout"),
        ("uncaught.txt", "internal"),
        ("dynamic.txt", "dynamic"),
        ("interpreter.txt", "failed"),
        ("silent.txt", "failed"),
    ],
)
def test_failures(name: str, code: str) -> None:
    said = read_log(text(name))
    assert (said.failure, said.models) == (code, ())
    assert said.detail


def test_the_detail_names_the_operator_and_its_version() -> None:
    assert read_log(text("new_version.txt")).detail == "Didn't find op for builtin opcode 'CONV_2D' version '6'"


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("slow.txt", "usually caused by large activations"),
        ("uncaught.txt", "std::out_of_range"),
        ("interpreter.txt", "Model failed in Tflite interpreter"),
        ("silent.txt", "Compilation failed"),
    ],
)
def test_the_detail_is_what_the_compiler_says_of_the_cause(name: str, word: str) -> None:
    assert word in read_log(text(name)).detail


def test_a_pinned_runtime_may_leave_nothing_on_the_edge_tpu() -> None:
    model = read_log(text("pinned.txt")).of("model_edgetpu.tflite")
    assert model is not None
    assert (model.subgraphs, model.tpu_ops, model.cpu_ops, model.table) == (0, 0, 2, ())


def test_the_operation_log_of_a_detector() -> None:
    table = list(read_table(text("detector.txt")))
    assert [(line.op, line.count) for line in table][:3] == [("ADD", 4), ("CUSTOM", 1), ("DEQUANTIZE", 2)]
    assert "2D output" in table[4].status
    assert sum(line.count for line in table) == 12


def test_each_of_two_models_has_its_block() -> None:
    said = read_log(text("two.txt"))
    models = [said.of(f"{name}_edgetpu.tflite") for name in ("one", "two")]
    used = [model.on_chip_used_bytes for model in models if model]
    assert used == [640, 1280]


@given(st.text(max_size=300))
def test_any_text_is_read(noise: str) -> None:
    read_log(noise)
    read_log("Input model: a\nOperator  Count  Status\n\n" + noise)
