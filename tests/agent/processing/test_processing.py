"""Preprocessing, answers, golden files and their comparison: what host and device must do alike."""

import hashlib
import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry_agent.processing import (
    Answer,
    GoldenSet,
    ProcessingError,
    compare_golden,
    constant,
    dequantize,
    load_golden,
    parse_npy,
    parse_npz,
    postprocess,
    preprocess,
    quantize,
    save_golden,
    write_npz,
)
from skerry_agent.wire.manifest import Golden, Preprocess, TensorSpec

INT8 = TensorSpec("x", "int8", (1, 2, 2, 1), scale=0.5, zero_point=-3)
FLOAT = TensorSpec("x", "float32", (1, 2, 2, 1))


def test_a_uint8_image_becomes_a_quantized_tensor_with_a_batch():
    raw = np.array([[0, 51], [102, 255]], np.uint8)
    tensor = preprocess(raw, Preprocess(scale=1 / 255, offset=-0.5), INT8)
    assert tensor.shape == (1, 2, 2, 1)
    assert tensor.dtype == np.int8
    assert tensor.reshape(-1).tolist() == [-4, -4, -3, -2]  # -0.5, -0.3, -0.1, 0.5 in steps of 0.5 from -3


def test_a_float_model_gets_reals():
    tensor = preprocess(np.full((2, 2, 1), 255, np.uint8), Preprocess(scale=1 / 255), FLOAT)
    assert tensor.dtype == np.float32
    assert (tensor == 1).all()


@given(scale=st.floats(1e-4, 4), offset=st.floats(-300, 300), step=st.floats(1e-3, 4), zero=st.integers(-128, 127))
def test_the_table_for_uint8_is_what_arithmetic_gives(scale, offset, step, zero):
    spec, tensor = Preprocess(scale, offset), TensorSpec("x", "int8", (1, 256), step, zero)
    every = np.arange(256, dtype=np.uint8)
    np.testing.assert_array_equal(preprocess(every, spec, tensor), preprocess(every.astype(np.float64), spec, tensor))


@given(values=st.lists(st.integers(-128, 127), min_size=1, max_size=50), step=st.floats(1e-3, 10))
def test_quantizing_what_was_dequantized_changes_nothing(values, step):
    tensor = TensorSpec("x", "int8", (1, len(values)), float(np.float32(step)), 7)
    q = np.array(values, np.int8)
    np.testing.assert_array_equal(quantize(dequantize(q, tensor), tensor), q)


def test_quantizing_clips():
    assert quantize(np.array([1e9, -1e9]), INT8).tolist() == [127, -128]


@pytest.mark.parametrize(
    "raw",
    [np.zeros((3, 2), np.uint8), np.zeros((2, 2, 3), np.uint8), np.zeros((2, 2), bool), np.array([["a", "b"]] * 2)],
)
def test_a_sample_that_does_not_fit_is_refused_in_one_line(raw):
    with pytest.raises(ProcessingError) as refused:
        preprocess(raw, Preprocess(), INT8)
    assert "\n" not in str(refused.value)
    assert refused.value.code == "sample"


def test_a_classifier_answers_with_its_largest_output_as_a_real():
    tensor = TensorSpec("y", "uint8", (1, 3), 0.25, 0)
    answer = postprocess([np.array([[1, 4, 2]], np.uint8)], [tensor], "classification")
    assert answer == Answer(1, 1.0)
    assert answer.label == "1"
    assert postprocess([np.zeros((1, 3))], [tensor], "raw") is None


def test_constant_outputs():
    same, other = np.ones((3, 2)), np.array([[1, 1], [1, 1], [1, 2]])
    assert "same for all 3" in constant([same])
    assert constant([same, other]) is None  # one output may well be constant
    assert "same for all 2" in constant([same[:2]])
    assert constant([other[1:]]) is None
    assert constant([same[:1]]) is constant([]) is None


INT = np.array([[10, 20, 30], [90, 80, 70]], np.int8)


@pytest.mark.parametrize(
    ("got", "max_lsb", "top1", "ok"),
    [
        (INT, 0, 1.0, True),
        (INT + np.int8(3), 3, 1.0, True),
        (INT + np.int8(4), 4, 1.0, False),
        (np.array([[10, 31, 30], [90, 80, 70]], np.int8), 11, 0.5, False),
        (np.array([[127, 20, 30], [-128, 80, 70]], np.int8), 218, 0.0, False),
    ],
)
def test_integer_outputs_are_compared_in_their_own_steps(got, max_lsb, top1, ok):
    result = compare_golden([INT], [got], Golden(max_lsb=3, min_top1=1.0))
    assert (result.max_lsb, result.top1, result.ok, result.samples) == (max_lsb, top1, ok, 2)
    assert f"difference {max_lsb} steps" in result.detail


@pytest.mark.parametrize(("min_top1", "ok"), [(1.0, False), (0.51, False), (0.5, True)])
def test_the_share_of_answers_is_a_limit_of_its_own(min_top1, ok):
    expected, got = np.array([[9, 10], [90, 80]], np.int8), np.array([[10, 9], [90, 80]], np.int8)
    result = compare_golden([expected], [got], Golden(max_lsb=1, min_top1=min_top1))
    assert (result.max_lsb, result.top1, result.ok) == (1, 0.5, ok)


def test_a_comparison_says_where_the_worst_lies():
    got = np.array([[10, 20, 30], [90, 80, 64]], np.int8)
    result = compare_golden([INT, INT], [INT, got], Golden(max_lsb=3, min_top1=0.9))
    assert result.detail == (
        "largest difference 6 steps (limit 3) in output 1 of sample 1; "
        "top-1 agrees on 100.0% of 2 samples (limit 90.0%)"
    )


def test_equal_maxima_agree():
    """On either side, and in each sample for itself: the other one's values are larger."""
    two, one = np.array([[5, 5, 0], [90, 0, 0]], np.int8), np.array([[4, 5, 0], [90, 0, 0]], np.int8)
    assert compare_golden([two], [one], Golden()).top1 == 1.0
    assert compare_golden([one], [two], Golden()).top1 == 1.0


def test_float_outputs_are_compared_in_steps_of_their_range():
    expected = np.array([[0.0, 25.5], [1.0, 2.0]], np.float32)
    assert compare_golden([expected], [expected + np.float32(0.21)], Golden()).max_lsb == 2
    assert compare_golden([expected], [expected * np.float32(2)], Golden()).max_lsb == 255  # of the recorded range
    flat = np.full((2, 1), 7, np.float32)
    assert [compare_golden([flat], [flat + np.float32(n)], Golden()).max_lsb for n in (0, 1, 300)] == [0, 1, 300]


def test_outputs_without_values_agree():
    empty = np.zeros((2, 0), np.int8)
    result = compare_golden([empty], [empty], Golden())
    assert (result.max_lsb, result.top1, result.ok) == (0, 1.0, True)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_floats_that_are_no_numbers_never_match(bad):
    expected = np.array([[0.0, 1.0]], np.float32)
    got = np.array([[0.0, bad]], np.float32)
    assert not compare_golden([expected], [got], Golden(max_lsb=255, min_top1=0)).ok
    assert not compare_golden([got], [got], Golden(max_lsb=255, min_top1=0)).ok


@pytest.mark.parametrize("got", [[], [INT[:1]], [INT.astype(np.int16)], [INT, INT], [INT[:, :2]]])
def test_outputs_of_another_form_never_match(got):
    result = compare_golden([INT], got, Golden(max_lsb=255, min_top1=0))
    assert (result.samples, result.max_lsb, result.top1, result.ok) == (2, 2**31 - 1, 0.0, False)
    assert result.detail.endswith(", recorded were [((2, 3), dtype('int8'))]")


def test_no_samples_never_match():
    assert not compare_golden([INT[:0]], [INT[:0]], Golden()).ok
    assert not compare_golden([], [], Golden()).ok


PINNED = "cb68b13d1377fd7ca02c66cff08d18d49a6fadf46852a7e12405b998b4a275e4"
"""A golden file made elsewhere or later must be the same artifact."""


def golden():
    return GoldenSet((np.arange(8, dtype=np.uint8).reshape(2, 2, 2), np.zeros((2, 1), np.float32)), (INT,))


def test_golden_files_round_trip_and_equal_content_is_equal_bytes():
    raw = save_golden(golden())
    assert raw == save_golden(golden())
    assert hashlib.sha256(raw).hexdigest() == PINNED
    read = load_golden(raw)
    assert len(read) == 2
    for ours, theirs in zip((*read.inputs, *read.outputs), (*golden().inputs, *golden().outputs), strict=True):
        np.testing.assert_array_equal(ours, theirs)
        assert ours.dtype == theirs.dtype
    with np.load(io.BytesIO(raw), allow_pickle=False) as foreign:
        assert sorted(foreign) == ["input_0", "input_1", "output_0"]


def test_files_written_by_numpy_are_read():
    buffer = io.BytesIO()
    np.savez_compressed(buffer, input_0=np.asfortranarray(np.arange(6).reshape(2, 3)), output_0=INT)
    np.testing.assert_array_equal(load_golden(buffer.getvalue()).inputs[0], [[0, 1, 2], [3, 4, 5]])


def test_a_sample_in_the_shape_of_the_model():
    tensors = [TensorSpec("a", "uint8", (1, 2, 2)), TensorSpec("b", "float32", (1, 1))]
    assert [a.shape for a in golden().sample(1, tensors)] == [(1, 2, 2), (1, 1)]
    assert golden().sample(1, tensors)[0].tolist() == [[[4, 5], [6, 7]]]
    with pytest.raises(ProcessingError, match="golden inputs are") as refused:
        golden().sample(1, tensors[:1])
    assert refused.value.code == "golden_format"
    with pytest.raises(ProcessingError, match="the model takes"):
        golden().sample(1, [TensorSpec("a", "int8", (1, 2, 2)), tensors[1]])


@pytest.mark.parametrize(
    "arrays",
    [
        {},
        {"input_0": INT},
        {"output_0": INT},
        {"input_1": INT, "output_0": INT},
        {"input_0": INT, "output_0": INT[:1]},
        {"input_0": INT[:0], "output_0": INT[:0]},
        {"input_0": np.array(1), "output_0": INT},
    ],
)
def test_golden_files_that_lack_something_are_refused(arrays):
    with pytest.raises(ProcessingError) as refused:
        load_golden(write_npz(arrays))
    assert refused.value.code == "golden_format"


@pytest.mark.parametrize("outputs", [INT, INT[:1]])
def test_a_single_number_is_no_sample(outputs):
    """As numpy writes it: `write_npz` makes a row of it."""
    buffer = io.BytesIO()
    np.savez(buffer, input_0=np.array(1), output_0=outputs)
    with pytest.raises(ProcessingError) as refused:
        load_golden(buffer.getvalue())
    assert refused.value.code == "golden_format"


def npy(array):
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=True)
    return buffer.getvalue()


def test_pickles_are_never_read():
    with pytest.raises(ProcessingError, match="not numbers"):
        parse_npy(npy(np.array([{}], object)))
    buffer = io.BytesIO()
    np.savez(buffer, input_0=np.array([print], object), output_0=INT)
    with pytest.raises(ProcessingError, match="not numbers") as refused:
        load_golden(buffer.getvalue())
    assert refused.value.code == "golden_format"


def test_a_header_that_promises_more_than_there_is_allocates_nothing():
    raw = npy(np.zeros(4, np.uint8)).replace(b"(4,), }          ", b"(999999999999,), }")
    with pytest.raises(ProcessingError):
        parse_npy(raw)


@given(st.data())
def test_damaged_files_are_refused_or_read_and_never_crash(data):
    raw = bytearray(save_golden(golden()))
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(raw)))
    for damaged in (bytes(raw), bytes(raw[:cut])):
        try:
            load_golden(damaged)
        except ProcessingError as refused:
            assert "\n" not in str(refused)  # noqa: PT017 - both ends are right, a crash is not


@given(st.binary(max_size=200))
def test_noise_is_refused(noise):
    for read in (parse_npy, parse_npz):
        with pytest.raises(ProcessingError):
            read(b"\x93NUMPY" + noise)
