"""Where the time goes, on the real fashion models and on an ONNX one; and what an ONNX file holds."""

import contextlib
import json
import subprocess
import sys
from importlib.util import find_spec
from itertools import count
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry_host.builder.modelfile.graph import describe
from skerry_host.builder.modelfile.onnx_file import OnnxFile, parse_onnx, read_onnx
from skerry_host.builder.modelfile.protobuf import DamagedError
from skerry_host.builder.modelfile.tflite import read_model, write_model
from skerry_host.builder.recipe.errors import ModelError
from skerry_host.builder.runtime.probe import probe
from skerry_host.builder.runtime.profile import onnx as onnx_profile
from skerry_host.builder.runtime.profile.cut import cut
from skerry_host.builder.runtime.profile.onnx import aggregate, profile_onnx
from skerry_host.builder.runtime.profile.result import OpTime, Profile, trace
from skerry_host.builder.runtime.profile.tflite import profile_operators, profile_tflite
from skerry_host.cli.main import run
from tests.kit.recipes import FASHION, REAL, needs_real

ONNX = REAL / "delta" / "mnv2_v1.onnx"
needs_onnxruntime = pytest.mark.skipif(find_spec("onnxruntime") is None, reason="the extra [onnx] is not installed")


def test_every_operator_is_timed_alone(float_model: bytes):
    found = profile_tflite(float_model)
    assert [op.index for op in found.ops] == list(range(18))
    assert all(op.us is not None and op.us > 0 for op in found.ops)
    assert found.whole_us > 0
    assert "1 thread" in found.runtime


def test_operators_are_timed_in_a_child(tmp_path: Path, float_model: bytes, capfd):
    model, told = read_model(float_model), []
    for tensor in model.subgraphs[0].tensors:
        tensor.name = b"\xff" + tensor.name  # the runtime refuses to list such inputs
    path = tmp_path / "m.tflite"
    path.write_bytes(write_model(model))
    found = profile_operators(path, lambda step, done=0, of=0, /: told.append((step, done, of)))
    assert [op.index for op in found.ops] == list(range(18))
    assert told[-1] == ("timing operators", 17, 18)
    assert capfd.readouterr().err == ""


def test_a_child_that_ends_takes_nothing_with_it(tmp_path: Path):
    path = tmp_path / "m.tflite"
    path.write_bytes(b"nothing")
    with pytest.raises(ModelError, match=r"operator 0 of .* its process ended; time kernels instead"):
        profile_operators(path)


def test_a_model_that_does_not_run_is_not_timed(float_model: bytes):
    model = read_model(float_model)
    model.subgraphs[0].operators[0].inputs = model.subgraphs[0].operators[0].inputs[:1]
    with pytest.raises(ModelError, match="does not run on zeros"):
        profile_tflite(write_model(model))


def test_the_clock_decides_and_progress_is_told(float_model: bytes):
    ticks, told = count(0.0, 0.001), []
    found = profile_tflite(float_model, lambda step, done=0, of=0, /: told.append((done, of)), lambda: next(ticks))
    assert {round(op.us) for op in found.ops} == {1000}
    assert told == [(at, 18) for at in range(18)]


def test_a_cut_operator_is_a_model_of_its_own(float_model: bytes, tmp_path: Path):
    model = read_model(float_model)
    alone = tmp_path / "op.tflite"
    alone.write_bytes(cut(model, 2, "CONV_2D"))
    found = probe(alone)
    found.require_runs(alone)
    assert [op.name for op in found.graph.ops] == ["CONV_2D"]
    assert (len(found.graph.inputs), len(found.graph.outputs)) == (1, 1)
    assert describe(model) == describe(read_model(float_model))  # the model itself is as it was
    assert cut(model, 2, "WHILE") is None


WITHOUT = "import sys; sys.modules['ai_edge_litert'] = None; from skerry_host.cli.main import run; sys.exit(run(%r))"


def test_a_package_that_is_missing_is_named():
    command = WITHOUT % ["model", "inspect", str(FASHION / "fashion-1.0.0.tflite")]
    done = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "the Python package ai_edge_litert is not installed here" in done.stderr


@needs_real
@needs_onnxruntime
def test_an_onnx_file_is_profiled_without_litert():
    command = WITHOUT % ["model", "profile", str(ONNX), "--json"]
    done = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@needs_real
def test_a_model_with_several_inputs(capsys):
    assert run(["model", "profile", str(REAL / "edgetpu" / "split_concat.tflite"), "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["ops"]
    assert all(op["us"] is not None for op in data["ops"])


def test_the_command_prints_a_table_and_writes_a_trace(tmp_path: Path, capsys):
    """Pain edgetpu#41, edgetpu#627: no view of the time by operator."""
    file = str(FASHION / "fashion-1.0.0.tflite")
    assert run(["model", "profile", file, "--trace", str(tmp_path / "t.json")]) == 0
    printed = capsys.readouterr().out
    assert "whole model" in printed
    assert "not the board" in printed
    events = json.loads((tmp_path / "t.json").read_text("utf-8"))["traceEvents"]
    assert [event["name"] for event in events if event["ph"] == "M"] == ["thread_name", "thread_name"]
    assert run(["model", "profile", file, "--trace", str(tmp_path / "no" / "t.json")]) == 2
    assert "choose another --trace" in capsys.readouterr().err


def test_a_trace_lays_operators_end_to_end():
    ops = (OpTime(0, "CONV_2D", "a", 5.0), OpTime(1, "WHILE", "b", None), OpTime(2, "MEAN", "c", 2.0))
    events = json.loads(trace(Profile("each operator alone", "r", 3, 6.0, ops), "m.tflite"))["traceEvents"]
    spans = [(e["name"], e["ts"], e["dur"], e["tid"]) for e in events if e["ph"] == "X"]
    assert spans == [("m.tflite", 0.0, 6.0, 1), ("CONV_2D", 0.0, 5.0, 2), ("MEAN", 5.0, 2.0, 2)]


@needs_real
@needs_onnxruntime
def test_onnxruntimes_own_profiler():
    found = profile_onnx(ONNX)
    assert (found.method, found.runs) == ("onnxruntime", 50)
    assert len(found.ops) > 20
    assert found.sum_us < 2 * found.whole_us
    assert not list(Path.cwd().glob("onnxruntime_profile*"))


def test_events_become_medians_of_the_last_runs():
    events = [
        {"cat": "Session", "name": "model_loading", "dur": 9},
        *({"cat": "Session", "name": "model_run", "dur": d} for d in (900, 10, 12, 14)),
        *({"cat": "Node", "name": "n0_kernel_time", "dur": d, "args": {"op_name": "Conv"}} for d in (500, 6, 7, 8)),
        {"cat": "Node", "name": "n0_fence_before", "dur": 1},
    ]
    found = aggregate(events, 3, "r")
    assert (found.whole_us, found.ops) == (12.0, (OpTime(0, "Conv", "n0", 7.0),))


@needs_onnxruntime
def test_a_damaged_onnx_file_is_the_users_mistake(tmp_path: Path, capsys):
    (tmp_path / "m.onnx").write_bytes(b"\x08\x07nothing")
    assert run(["model", "profile", str(tmp_path / "m.onnx")]) == 2
    assert "does not run" in capsys.readouterr().err
    with pytest.raises(ModelError):
        profile_onnx(tmp_path / "none.onnx")


def test_without_onnxruntime_the_extra_is_named(tmp_path: Path):
    stand_in = tmp_path / "python"
    stand_in.write_text(f"#!/bin/sh\nexit {onnx_profile.MISSING}\n")
    stand_in.chmod(0o755)
    with pytest.raises(ModelError, match="onnxruntime, which is not installed") as refused:
        profile_onnx(tmp_path / "m.onnx", str(stand_in))
    assert "skerry-host[onnx]" in refused.value.hint


# What an ONNX file holds. The bytes are written here by hand, field by field.


def field(number: int, value: bytes | int) -> bytes:
    if isinstance(value, int):
        return bytes([number << 3]) + varint(value)
    return bytes([number << 3 | 2]) + varint(len(value)) + value


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def tensor(name: str, *sizes: int | str) -> bytes:
    dims = b"".join(field(1, field(1, n) if isinstance(n, int) else field(2, n.encode())) for n in sizes)
    return field(1, name.encode()) + field(2, field(1, field(1, 1) + field(2, dims)))


def tiny() -> bytes:
    conv = field(1, field(1, b"x") + field(1, b"w") + field(2, b"y") + field(4, b"Conv"))
    custom = field(1, field(4, b"Gelu") + field(7, b"com.microsoft"))
    weights = field(5, field(8, b"w") + field(9, bytes(64)))
    place = field(1, b"location") + field(2, b"weights.bin")
    outside = field(5, field(8, b"v") + field(13, place))
    ends = field(11, tensor("x", "N", 3, 8)) + field(11, tensor("w", 4)) + field(12, tensor("y", 1, 2))
    graph = conv + custom + weights + outside + ends
    return field(1, 8) + field(2, b"by hand") + field(8, field(2, 17)) + field(7, graph)


def test_an_onnx_file_is_read_without_its_package():
    found = parse_onnx(tiny())
    assert found.ops == {"Conv": 1, "com.microsoft.Gelu": 1}
    assert [(t.name, t.dtype, t.shape) for t in found.inputs] == [("x", "float32", ("N", 3, 8))]
    assert [t.shape for t in found.outputs] == [(1, 2)]
    assert (found.parameter_bytes, found.external, found.opsets) == (64, ("weights.bin",), {"": 17})
    assert (found.producer, found.ir_version, found.quantized, found.open_sizes) == ("by hand", 8, False, ["x"])


@needs_real
def test_a_real_quantized_onnx_file(capsys):
    found = read_onnx(ONNX)
    assert found.quantized
    assert found.inputs[0].shape
    assert found.parameter_bytes > 0.8 * ONNX.stat().st_size - 200_000
    assert run(["model", "inspect", str(ONNX), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["quantized"] is True
    assert run(["model", "inspect", str(ONNX)]) == 0
    assert "parameters" in capsys.readouterr().out


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(data: bytes):
    with_graph = tiny()[:-10] + data
    for raw in (data, with_graph):
        with contextlib.suppress(DamagedError):
            assert isinstance(parse_onnx(raw), OnnxFile)


@given(st.integers(0, len(tiny()) - 1), st.integers(0, 255))
def test_any_changed_byte_is_read_or_refused(at: int, byte: int):
    raw = bytearray(tiny())
    raw[at] = byte
    with contextlib.suppress(DamagedError):
        assert isinstance(parse_onnx(bytes(raw)), OnnxFile)


def test_what_is_no_onnx_file(tmp_path: Path, capsys):
    (tmp_path / "m.onnx").write_bytes(b"PK\x03\x04")
    assert run(["model", "inspect", str(tmp_path / "m.onnx")]) == 2
    assert "is not an ONNX file, or damaged" in capsys.readouterr().err
    assert run(["model", "inspect", str(tmp_path / "none.onnx")]) == 2
