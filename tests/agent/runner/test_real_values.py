"""Values without numpy are those of the host's numpy code, to the last bit."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skerry_agent.processing import dequantize, preprocess, sample_shape
from skerry_agent.runner import real_values
from skerry_agent.runner.arrays import from_array, to_array
from skerry_agent.runner.real_values import dequantized, is_plain, prepared
from skerry_agent.runner.tensor import Tensor
from skerry_agent.wire.manifest import Preprocess, TensorSpec

SCALES = st.floats(1e-4, 10, allow_subnormal=False)
DTYPES = {"int8": (-128, 127), "uint8": (0, 255)}


@st.composite
def tensors(draw, dtypes=("int8", "uint8", "float32")):
    dtype = draw(st.sampled_from(dtypes))
    if dtype == "float32":
        return TensorSpec("x", dtype, (1, 2, 3, 1))
    return TensorSpec("x", dtype, (1, 2, 3, 1), draw(SCALES), draw(st.integers(*DTYPES[dtype])))


@given(tensors(("int8", "uint8")))
@settings(max_examples=60, deadline=None)
def test_every_8_bit_value_has_the_real_value_that_numpy_computes(spec):
    values = np.arange(256, dtype=np.uint8).view(spec.dtype)
    got = dequantized(from_array(values), spec)
    assert to_array(got).tobytes() == dequantize(values, spec).tobytes()


@given(
    tensors(), SCALES, st.floats(-300, 300), st.integers(0, 2**32 - 1), st.sampled_from(["uint8", "float32", "int16"])
)
@settings(max_examples=150, deadline=None)
def test_a_small_sample_is_prepared_as_numpy_prepares_it(spec, scale, offset, seed, dtype):
    rng = np.random.default_rng(seed)
    raw = np.frombuffer(rng.bytes(6 * np.dtype(dtype).itemsize), dtype).reshape(2, 3, 1)
    if dtype == "float32":
        raw = (rng.integers(-999, 999, (2, 3, 1)) / rng.choice([1.0, 2.0, 7.0])).astype(np.float32)
    prep = Preprocess(scale=scale, offset=offset)
    expected = preprocess(raw, prep, spec).tobytes()
    assert prepared(from_array(raw), prep, spec).data == expected  # by numpy or a table, which is loaded here
    by_python = real_values._computed(from_array(raw).values(), prep, spec)
    assert by_python == expected


@pytest.mark.parametrize("value", [3e38, -3e38, 0.5, 1.5, 2.5, -0.5])
def test_extreme_and_half_way_values_are_clipped_and_rounded_alike(value):
    raw = np.array([[[value]]], np.float32)
    for spec in (TensorSpec("x", "int8", (1, 1, 1, 1), 1.0, 3), TensorSpec("x", "uint8", (1, 1, 1, 1))):
        for prep in (Preprocess(), Preprocess(scale=1e300)):
            expected = preprocess(raw, prep, spec).tobytes() if prep.scale == 1 else None
            made = real_values._computed(from_array(raw).values(), prep, spec)
            assert expected in {None, made}


@given(
    st.sampled_from(["rgb", "bgr", "gray"]),
    st.sampled_from(["nhwc", "nchw"]),
    st.sampled_from(["none", "stretch", "letterbox"]),
    st.sampled_from([(), (0.5, 0.25, 0.125)]),
    st.sampled_from([1, 3]),
)
@settings(max_examples=80, deadline=None)
def test_what_is_called_plain_moves_no_value(color, layout, resize, mean, channels):
    shape = (1, 4, 5, channels) if layout == "nhwc" else (1, channels, 4, 5)
    spec = TensorSpec("x", "uint8", shape, 1.0, 0)
    prep = Preprocess(color=color, layout=layout, resize=resize, mean=mean if channels == 3 else ())
    raw = np.random.default_rng(1).integers(0, 255, sample_shape(prep, spec), np.uint8)
    if is_plain(prep, raw.shape, spec):
        assert preprocess(raw, prep, spec).tobytes() == prepared(from_array(raw), prep, spec).data == raw.tobytes()
    elif channels == 1:
        assert mean


def test_a_runner_that_has_no_numpy_is_spared_it_for_small_and_8_bit_tensors():
    program = """
import sys
from skerry_agent.runner.real_values import dequantized, prepared
from skerry_agent.runner.tensor import Tensor
from skerry_agent.wire.manifest import Preprocess, TensorSpec
spec = TensorSpec("x", "int8", (1, 28, 28, 1), 1 / 255, -128)
prepared(Tensor("float32", (28, 28, 1), bytes(4 * 784)), Preprocess(scale=1 / 255), spec)
big = TensorSpec("x", "int8", (1, 224, 224, 3), 1 / 255, -128)
dequantized(prepared(Tensor("uint8", (224, 224, 3), bytes(224 * 224 * 3)), Preprocess(scale=1 / 255), big), big)
assert "numpy" not in sys.modules
prepared(Tensor("float32", (224, 224, 3), bytes(4 * 224 * 224 * 3)), Preprocess(scale=1 / 255), big)
assert "numpy" in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_float_output_of_another_width_becomes_float32():
    half = np.array([[0.5, 2.0]], np.float16)
    got = dequantized(from_array(half), TensorSpec("y", "float16", (1, 2)))
    assert (got.dtype, to_array(got).tolist()) == ("float32", [[0.5, 2.0]])
    counts = Tensor("int64", (1,), bytes(8))
    assert dequantized(counts, TensorSpec("y", "int64", (1,))) is counts
