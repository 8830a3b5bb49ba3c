"""Inspection of compiled files: exactly as the ground truth, and one line for what is damaged."""

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.edgetpu_preflight import columns
from skerry_host.builder.edgetpu.executable import read_package
from skerry_host.builder.edgetpu.flatbuffer import DamagedError
from skerry_host.builder.edgetpu.inspect import inspect_file, inspect_model
from skerry_host.builder.recipe.errors import ModelError
from skerry_host.builder.runtime.probe import probe
from tests.kit.edgetpu.compiler import REAL
from tests.kit.edgetpu.models import Maker, chain, compiled, custom_options

OPTIONS = custom_options()


def test_every_real_file_as_in_the_ground_truth(pairs: list[dict[str, str]]) -> None:
    for row in pairs:
        found = inspect_file(REAL / row["pair"])
        said = columns(found)
        assert said == {key: row[key] for key in said}, row["pair"]


def test_layers_agree_with_the_tensors_of_the_file(pairs: list[dict[str, str]]) -> None:
    """The quantization that the chip applies is the one that TFLite's tensors declare."""
    compared = 0
    for row in pairs:
        found = inspect_model((REAL / row["pair"]).read_bytes())
        if found.cpu_ops or "lstm" in row["pair"]:
            continue
        outputs = {layer.name: layer for kind, layer in found.layers() if kind == "out"}
        for spec in found.outputs:
            layer = outputs.get(spec.name)
            if layer is not None:
                assert (layer.dtype, layer.scale, layer.zero_point) == (spec.dtype, spec.scale, spec.zero_point)
                compared += 1
    assert compared >= 4


def test_the_segment_stands_in_the_name() -> None:
    assert inspect_model(compiled(), "net_segment_1_of_3_edgetpu.tflite").segment is not None
    assert inspect_model(compiled(), "net_edgetpu.tflite").segment is None


def test_a_file_made_by_hand() -> None:
    found = inspect_model(compiled([("ABS", "left")], runtime=12, cached=640, streamed=64, token=0xF00))
    assert (found.custom_ops, found.cpu_ops, found.cpu_outputs) == (1, ("ABS",), ("left",))
    assert (found.min_runtime, found.cached_param_bytes, found.streamed_param_bytes) == (12, 640, 64)
    assert (found.token, found.estimated_cycles) == ("f00", None)
    ((kind, layer),) = found.layers()
    assert (kind, layer.y, layer.x, layer.z, layer.dtype, layer.zero_point) == ("out", 3, 4, 5, "int8", 0)


@pytest.mark.parametrize(
    ("data", "runtime", "word"),
    [
        (chain("RELU"), 14, "no Edge TPU operator"),
        (compiled(custom_ops=2), 14, "2 Edge TPU operators"),
        (compiled(streamed=64), 14, "64 bytes of parameters are streamed"),
        (compiled(runtime=14), 13, "the board has 13"),
        (compiled(runtime=9), 14, "drivers warn below 10"),
    ],
)
def test_warnings(data: bytes, runtime: int, word: str) -> None:
    (warning,) = inspect_model(data).warnings(runtime)
    assert word in warning


def test_nothing_to_warn_of() -> None:
    assert inspect_model(compiled(runtime=13)).warnings(13) == []


@given(st.integers(0, len(OPTIONS)))
def test_options_cut_anywhere_are_damaged_or_read(end: int) -> None:
    _reads_or_is_damaged(OPTIONS[:end])


@settings(max_examples=400)
@given(st.lists(st.tuples(st.integers(0, len(OPTIONS) - 1), st.integers(0, 255)), min_size=1, max_size=6))
def test_options_changed_anywhere_are_damaged_or_read(changes: list[tuple[int, int]]) -> None:
    data = bytearray(OPTIONS)
    for at, value in changes:
        data[at] = value
    _reads_or_is_damaged(bytes(data))


@pytest.mark.parametrize("kept", [0.02, 0.3, 0.99])
def test_a_cut_file_is_refused_in_one_line(tmp_path: Path, kept: float) -> None:
    whole = compiled(cached=4000)
    path = tmp_path / "cut_edgetpu.tflite"
    path.write_bytes(whole[: int(len(whole) * kept)])
    with pytest.raises(ModelError) as refused:
        inspect_file(path)
    assert refused.value.code in {"damaged", "not_tflite"}
    assert "\n" not in str(refused.value)


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.tflite"
    path.write_bytes(b"PK\x03\x04 a zip archive")
    with pytest.raises(ModelError, match="zip archive"):
        inspect_file(path)


@pytest.mark.parametrize("scale", [float("nan"), float("inf")])
def test_a_scale_that_is_no_number_is_damage(scale: float, tmp_path: Path) -> None:
    made = Maker()
    made.tensor("a", (1, 4), scale=scale)
    path = made.write(tmp_path / "odd.tflite", ["a"], ["a"])
    with pytest.raises(ModelError, match="not a number") as refused:
        inspect_file(path)
    assert refused.value.code == "damaged"
    with pytest.raises(ModelError, match="not a number"):
        probe(path)


def _reads_or_is_damaged(data: bytes) -> None:
    with suppress(DamagedError):
        read_package(data)
