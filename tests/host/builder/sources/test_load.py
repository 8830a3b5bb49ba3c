"""Model files that are fit, that can be made fit, and that are refused."""

import os
import random
import signal
import subprocess
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from skerry_agent.wire.blobs import MAX_BLOB_BYTES
from skerry_host.builder.modelfile.graph import describe
from skerry_host.builder.modelfile.tflite import read_model, write_model
from skerry_host.builder.recipe.errors import ModelError
from skerry_host.builder.runtime.probe import (
    check_runs,
    check_when_made,
    one_line,
    probe,
    quantized_cause,
    read_outcome,
)
from skerry_host.builder.runtime.session import Session
from skerry_host.builder.sources.load import identity, load_source
from tests.kit.recipes import REAL, needs_real


def old_schema(model):
    for code in model.operatorCodes:
        code.deprecatedBuiltinCode, code.builtinCode = code.builtinCode, 0


def no_signature(model):
    model.signatureDefs = None


def dynamic_batch(model):
    for tensor in model.subgraphs[0].tensors:
        if tensor.shape is not None and len(tensor.shape) > 1 and tensor.shape[0] == 1 and not has_data(model, tensor):
            tensor.shapeSignature = np.array([-1, *tensor.shape[1:]], np.int32)


def same_names(model):
    for tensor in model.subgraphs[0].tensors[3:6]:
        tensor.name = b"same"


def dynamic_size(model):
    tensor = model.subgraphs[0].tensors[model.subgraphs[0].inputs[0]]
    tensor.shapeSignature = np.array([1, -1, -1, 1], np.int32)


def one_nan(model):
    tensor = model.subgraphs[0].tensors[model.subgraphs[0].operators[0].inputs[1]]
    values = np.frombuffer(model.buffers[tensor.buffer].data.tobytes(), np.float32).copy()
    values[3] = np.nan
    model.buffers[tensor.buffer].data = np.frombuffer(values.tobytes(), np.uint8)


def wrong_signature(model):
    model.signatureDefs[0].inputs[0].tensorIndex = 9999


def unreadable_names(model):
    for tensor in model.subgraphs[0].tensors:
        tensor.name = b"\xff" + tensor.name


def no_operator(model):
    model.subgraphs[0].operators = []


def has_data(model, tensor) -> bool:
    return model.buffers[tensor.buffer].data is not None


def changed(float_model: bytes, change) -> bytes:
    model = read_model(float_model)
    change(model)
    return write_model(model)


def run_once(data: bytes):
    session = Session(data)
    sample = np.linspace(0, 1, 784, dtype=np.float32).reshape(session.inputs[0].shape)
    return session.run([sample])[0]


FITTED = {
    old_schema: "operator codes of the old schema",
    no_signature: "signature added",
    dynamic_batch: "dynamic batch fixed to 1",
    wrong_signature: "signature that names no inputs and outputs replaced",
    unreadable_names: "tensors renamed",
    same_names: "tensors renamed",
}


@pytest.mark.parametrize("change", FITTED)
def test_what_can_be_made_fit_is_and_computes_the_same(float_model: bytes, tmp_path: Path, change):
    """Trap 3 (no signature) and trap 4 (operator codes of the old schema): made good, and said."""
    path = tmp_path / "m.tflite"
    path.write_bytes(changed(float_model, change))
    source = load_source(path)
    assert len(source.changes) == 1
    assert FITTED[change] in source.changes[0]
    assert not any(source.graph.tensors[i].dynamic for i in source.graph.inputs)
    assert source.graph.signature
    assert np.array_equal(run_once(source.data), run_once(float_model))


def test_a_fit_model_is_left_as_it_is(float_model: bytes, tmp_path: Path):
    path = tmp_path / "m.tflite"
    path.write_bytes(float_model)
    source = load_source(path)
    assert source.changes == ()
    assert source.graph == describe(read_model(float_model))
    assert source.file_bytes == len(float_model)


def test_written_buffers_are_aligned_and_writing_is_stable(float_model: bytes):
    data = write_model(read_model(float_model))
    assert write_model(read_model(data)) == data
    packed = schema.Model.GetRootAs(data)
    sizes = [packed.Buffers(i).DataLength() for i in range(packed.BuffersLength())]
    starts = [packed.Buffers(i)._tab.Vector(packed.Buffers(i)._tab.Offset(4)) for i, n in enumerate(sizes) if n]
    assert all(start % 16 == 0 for start in starts)


def cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


CASES = {
    "truncated": (cut, "damaged"),
    "text": (lambda _: b"this is no model at all", "not_tflite"),
    "empty": (lambda _: b"", "not_tflite"),
    "keras": (lambda _: b"\x89HDF\r\n\x1a\n" + bytes(100), "not_tflite"),
    "no operator": (lambda data: changed(data, no_operator), "unfit"),
    "dynamic size": (lambda data: changed(data, dynamic_size), "unfit"),
}


def test_weights_that_are_no_numbers_are_named(float_model: bytes, tmp_path: Path):
    path = tmp_path / "m.tflite"
    path.write_bytes(changed(float_model, one_nan))
    model = read_model(float_model).subgraphs[0]
    name = model.tensors[model.operators[0].inputs[1]].name.decode()
    with pytest.raises(ModelError) as refused:
        load_source(path)
    assert f"its weights hold NaN or infinity in {name}" in str(refused.value)


def test_the_files_beside_a_source_are_part_of_it(tmp_path: Path):
    (tmp_path / "m.onnx").write_bytes(b"graph")
    (tmp_path / "w.bin").write_bytes(b"weights")
    alone, whole = identity(tmp_path / "m.onnx"), identity(tmp_path / "m.onnx", [tmp_path / "w.bin"])
    (tmp_path / "w.bin").write_bytes(b"other weights")
    other = identity(tmp_path / "m.onnx", [tmp_path / "w.bin"])
    assert len({alone[0], whole[0], other[0]}) == 3
    assert (alone[1], whole[1], other[1]) == (5, 12, 18)


NAMES = {
    "empty": (b"", "is empty"),
    "keras": (b"\x89HDF\r\n\x1a\n" + bytes(100), "rename it to .h5"),
    "archive": (b"PK\x03\x04" + bytes(100), "rename it to .keras"),
    "onnx": (b"\x08\x07" + bytes(100), "rename it to .onnx"),
    "text": (b"this is no model", "a model is a .tflite, .onnx"),
}


def test_a_model_that_stays_too_large_for_devices_is_refused_at_once(tmp_path: Path):
    with (tmp_path / "m.tflite").open("wb") as file:
        file.write(b"\x00\x00\x00\x00TFL3")
        file.truncate(4 * MAX_BLOB_BYTES + 4)
    with pytest.raises(ModelError, match="devices accept 268,435,456") as refused:
        load_source(tmp_path / "m.tflite")
    assert refused.value.code == "too_large"


@pytest.mark.parametrize("case", NAMES)
def test_a_file_of_another_kind_says_what_to_do(tmp_path: Path, case: str):
    content, advice = NAMES[case]
    (tmp_path / "m.tflite").write_bytes(content)
    with pytest.raises(ModelError) as refused:
        load_source(tmp_path / "m.tflite")
    assert advice in str(refused.value)


@pytest.mark.parametrize("case", CASES)
def test_what_cannot_be_used_is_refused_in_one_line(float_model: bytes, tmp_path: Path, case: str):
    make, code = CASES[case]
    path = tmp_path / "m.tflite"
    path.write_bytes(make(float_model))
    with pytest.raises(ModelError) as refused:
        load_source(path)
    assert (refused.value.code, refused.value.exit_code) == (code, 2)
    assert str(path) in str(refused.value)
    assert "\n" not in str(refused.value)


def test_an_int8_model_is_taken_as_it_is(built):
    source = load_source(built.path / "model.tflite")
    assert source.quantized
    assert source.changes == ()
    assert source.data == (built.path / "model.tflite").read_bytes()


def test_a_file_that_is_not_there(tmp_path: Path):
    with pytest.raises(ModelError, match="No such file"):
        probe(tmp_path / "m.tflite")


@pytest.mark.parametrize("seed", range(10))
def test_a_mutated_model_is_described_or_refused(float_model: bytes, tmp_path: Path, seed: int):
    randomly = random.Random(seed)
    data = bytearray(float_model)
    tables = (
        range(8, 8_000) if seed % 2 else range(len(data) - 12_000, len(data))
    )  # not the weights, which are harmless
    for position in randomly.sample(tables, 30):
        data[position] = randomly.randrange(256)
    path = tmp_path / "m.tflite"
    path.write_bytes(data)
    try:
        probe(path, seconds=20)
    except ModelError as error:
        line = str(error)
    else:
        line = ""
    assert "\n" not in line


def test_a_child_that_waits_for_a_model_ends_where_none_is_made():
    def mine() -> str:
        return Path(f"/proc/self/task/{os.getpid()}/children").read_text("utf-8")

    before = mine()

    def making() -> None:
        with check_when_made():
            assert mine() != before
            raise LookupError

    with pytest.raises(LookupError):
        making()
    assert mine() == before


def test_a_crash_and_a_hang_are_named(tmp_path: Path, float_model: bytes):
    path = tmp_path / "m.tflite"
    path.write_bytes(float_model)
    with pytest.raises(ModelError, match=r"loading and running it crashes \(SIGSEGV\)"):
        read_outcome(path, subprocess.CompletedProcess([], -signal.SIGSEGV, b"", b""))
    with pytest.raises(ModelError, match="timed out after 0 s"):
        probe(path, seconds=0.001)


@pytest.mark.parametrize(
    ("status", "said", "words"),
    [
        (-signal.SIGKILL, b"", r"was killed \(SIGKILL\), as the system does when memory runs out"),
        (1, b"Traceback\nMemoryError\n", r"needs more memory than there is \(it may take 4 GiB\)"),
        (-signal.SIGABRT, b"terminate called: std::bad_alloc", "needs more memory than there is"),
    ],
)
def test_a_model_that_needs_more_memory_than_there_is_is_not_called_damaged(status, said, words):
    with pytest.raises(ModelError, match=words) as refused:
        read_outcome("m.tflite", subprocess.CompletedProcess([], status, b"", said))
    assert refused.value.code == "memory"


def test_an_operator_without_a_kernel_is_named_and_not_the_weights(built):
    """DIV was said to have weights that are all but zero."""
    made = (built.path / "model.tflite").read_bytes()
    text, hint = quantized_cause(made, "Div only supports FLOAT32, got INT8. Node number 3 (DIV) failed to prepare")
    assert text.startswith("the runtime has no kernel for operator DIV with these integers (Div only supports")
    assert "without DIV" in hint


def collapsed(model):
    for op in model.subgraphs[0].operators[:1]:
        quantization = model.subgraphs[0].tensors[op.outputs[0]].quantization
        quantization.scale = np.array([1e-30], np.float32)


def test_integers_that_only_xnnpack_takes_are_refused(built):
    made = (built.path / "model.tflite").read_bytes()
    check_runs(made)
    with pytest.raises(ModelError, match="check the source model"):
        check_runs(changed(made, collapsed))


def test_the_runtimes_sentences_are_told_apart():
    assert one_line(ValueError("it was not true.Node number 0\nfailed.")) == "it was not true. Node number 0 failed"


@needs_real
def test_the_model_that_crashes_the_runtime_is_refused():
    with pytest.raises(ModelError) as refused:
        load_source(REAL / "segfaults_the_runtime.tflite")
    assert refused.value.code in {"crash", "does_not_run"}


@needs_real
def test_a_compiled_model_is_described_though_it_does_not_run_here():
    found = probe(REAL / "edgetpu" / "mobilenet_v1_0.25_128_quant_edgetpu.tflite")
    assert [op.name for op in found.graph.custom_ops] == ["edgetpu-custom-op"]
    assert "edgetpu-custom-op" in found.problem
