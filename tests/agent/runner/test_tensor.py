"""Tensors without numpy answer what numpy answers, and golden outputs are compared as the host compares them."""

import math
import zipfile

import numpy as np
import pytest

from skerry_agent.processing import GoldenSet, golden, save_golden
from skerry_agent.runner.arrays import from_array, to_array
from skerry_agent.runner.errors import GoldenError
from skerry_agent.runner.golden import compare_golden, constant, load_golden
from skerry_agent.runner.tensor import FORMATS, argmax, invalid, is_finite
from skerry_agent.wire.manifest import Golden, TensorSpec

SPECIAL = [0.0, -0.0, math.nan, math.inf, -math.inf]


def random_array(rng, dtype, shape):
    """Any bits, so also NaN, infinity, subnormal numbers and the largest."""
    if dtype == "bool":
        return rng.integers(0, 2, shape).astype(bool)
    raw = rng.integers(0, 256, (math.prod(shape) * np.dtype(dtype).itemsize,), np.uint8)
    return np.frombuffer(raw.tobytes(), dtype).reshape(shape)


@pytest.mark.parametrize("dtype", FORMATS)
def test_any_bits_are_answered_as_numpy_answers_them(dtype):
    rng = np.random.default_rng(3)
    for _ in range(60):
        array = random_array(rng, dtype, (1, int(rng.integers(1, 9))))
        tensor = from_array(array)
        assert is_finite(tensor) == bool(np.isfinite(array).all())
        assert argmax(tensor) == int(array.argmax())
        assert to_array(tensor).tobytes() == array.tobytes()


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("value", SPECIAL)
def test_one_special_number_among_large_ones_is_found(dtype, value):
    array = np.full((1, 9), np.finfo(dtype).max, dtype)
    array[0, 4] = value
    words = None if np.isfinite(array).all() else "output 1 holds NaN or infinity"
    assert invalid([from_array(np.zeros(3, np.int8)), from_array(array)]) == words


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int16", "bool", "float16", "float32", "float64"])
def test_golden_outputs_are_compared_as_on_the_host(dtype, tmp_path):
    rng, spec = np.random.default_rng(5), Golden(max_lsb=2, min_top1=0.5)
    for case in range(40):
        expected = tuple(random_array(rng, dtype, (3, 1, n)) for n in (4, 2))
        if case % 2:
            expected = tuple((rng.random((3, 1, n)) * 9).astype(dtype) for n in (4, 2))
        got = tuple(array.copy() for array in expected)
        for _ in range(case % 3):
            place = got[case % 2].reshape(-1)
            place[rng.integers(place.size)] = rng.random() * 9
        path = tmp_path / "golden.npz"
        path.write_bytes(save_golden(GoldenSet((np.zeros((3, 1), np.int8),), expected)))
        with np.errstate(all="ignore"):
            host = golden.compare_golden(expected, got, spec)
        rows = [[from_array(array[i]) for array in got] for i in range(3)]
        device = compare_golden(load_golden(str(path)), rows, spec)
        assert (device.samples, device.max_lsb, device.top1, device.ok, device.detail) == (
            host.samples, host.max_lsb, host.top1, host.ok, host.detail,
        )  # fmt: skip
        if all(np.isfinite(array).all() for array in got):
            assert constant(rows) == golden.constant(got)


def test_outputs_of_another_form_are_a_mismatch(tmp_path):
    (tmp_path / "golden.npz").write_bytes(save_golden(GoldenSet((np.zeros((2, 1)),), (np.zeros((2, 4), np.int8),))))
    found = load_golden(str(tmp_path / "golden.npz"))
    assert not compare_golden(found, [[from_array(np.zeros((1, 3), np.int8))]] * 2, Golden()).ok
    with pytest.raises(GoldenError, match="the model takes"):
        found.sample(0, [TensorSpec("x", "int8", (1, 1))])


def test_a_golden_file_that_another_tool_wrote_is_read_too(tmp_path):
    arrays = {"input_0": np.asfortranarray(np.arange(6.0).reshape(2, 3)), "output_0": np.arange(2)}
    np.savez_compressed(tmp_path / "golden.npz", **arrays)
    found = load_golden(str(tmp_path / "golden.npz"))
    assert [found.inputs[0].tensor(i).values() for i in range(2)] == [(0.0, 1.0, 2.0), (3.0, 4.0, 5.0)]
    assert (found.outputs[0].shape, found.outputs[0].tensor(1).values()) == ((), (1,))


@pytest.mark.parametrize("damage", ["cut", "other names", "no zip"])
def test_a_golden_file_that_is_no_good_is_refused_in_one_line(tmp_path, damage):
    path = tmp_path / "golden.npz"
    path.write_bytes(save_golden(GoldenSet((np.zeros((2, 1)),), (np.zeros((2, 1)),))))
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-30])
    elif damage == "no zip":
        path.write_bytes(b"golden")
    else:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("x.npy", b"")
    with pytest.raises(GoldenError) as refused:
        load_golden(str(path))
    assert "\n" not in str(refused.value)


def test_a_golden_file_without_samples_is_refused_in_one_line(tmp_path):
    path = tmp_path / "golden.npz"
    path.write_bytes(save_golden(GoldenSet((np.zeros((0, 1)),), (np.zeros((0, 1)),))))
    with pytest.raises(GoldenError, match="at least one"):
        load_golden(str(path))
