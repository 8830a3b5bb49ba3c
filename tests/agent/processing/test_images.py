"""Images to inputs and outputs to boxes: the steps that a recipe declares, done alike on host and device."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry_agent.processing import (
    Detection,
    Detections,
    Embedding,
    ProcessingError,
    answer_for,
    iou,
    place,
    postprocess,
    preprocess,
    to_sample,
)
from skerry_agent.processing.anchors import anchors
from skerry_agent.processing.image import resize
from skerry_agent.wire.blobs import describe
from skerry_agent.wire.manifest import Artifact, Bundle, Postprocess, Preprocess, TensorSpec

RGB = TensorSpec("x", "float32", (1, 4, 4, 3))
NCHW = TensorSpec("x", "float32", (1, 3, 4, 4))
RED = np.full((4, 4, 3), (255, 0, 0), np.uint8)


@given(height=st.integers(1, 40), width=st.integers(1, 40), value=st.integers(0, 255))
def test_a_plain_image_stays_plain_in_any_size(height, width, value):
    made = resize(np.full((7, 9, 3), value, np.uint8), height, width)
    assert made.shape == (height, width, 3)
    assert made.dtype == np.uint8
    assert (made == value).all()


def test_shrinking_averages_what_it_covers():
    stripes = np.tile(np.array([0, 255], np.uint8), (8, 32))[..., np.newaxis]
    assert np.abs(resize(stripes, 4, 8).astype(int)[:, 1:-1] - 128).max() <= 1


def test_growing_is_bilinear_between_the_middles_of_pixels():
    ramp = np.array([[0.0, 1.0]], np.float32)[..., np.newaxis]
    assert resize(ramp, 1, 4)[0, :, 0].tolist() == [0.0, 0.25, 0.75, 1.0]


@pytest.mark.parametrize(
    ("mode", "align", "rows"),
    [
        ("stretch", "center", [1, 1, 1, 1]),
        ("letterbox", "center", [9, 1, 1, 9]),
        ("letterbox", "start", [1, 1, 9, 9]),
        ("crop", "center", [1, 1, 1, 1]),
    ],
)
def test_a_wide_image_lies_in_a_square_input(mode, align, rows):
    wide = np.ones((2, 4, 3), np.uint8)
    tensor = preprocess(wide, Preprocess(resize=mode, align=align, pad=9), RGB)
    assert tensor[0, :, 1, 0].tolist() == rows


def test_a_crop_keeps_the_middle():
    wide = np.repeat(np.arange(8, dtype=np.uint8)[np.newaxis], 4, axis=0)
    tensor = preprocess(wide, Preprocess(resize="crop"), TensorSpec("x", "float32", (1, 4, 4, 1)))
    assert tensor[0, 0, :, 0].tolist() == [2, 3, 4, 5]


def test_colours():
    assert preprocess(RED, Preprocess(color="bgr"), RGB)[0, 0, 0].tolist() == [0, 0, 255]
    assert preprocess(RED, Preprocess(color="gray"), TensorSpec("x", "uint8", (1, 4, 4, 1)))[0, 0, 0].tolist() == [76]
    grey = np.full((4, 4), 7, np.uint8)
    assert preprocess(grey, Preprocess(), RGB)[0, 0, 0].tolist() == [7, 7, 7]
    alpha = np.dstack([RED, np.zeros((4, 4), np.uint8)])
    assert preprocess(alpha, Preprocess(resize="stretch"), RGB)[0, 0, 0].tolist() == [255, 0, 0]


def test_each_channel_has_its_mean_and_deviation_whatever_the_layout():
    spec = {"scale": 1 / 255, "mean": (0.5, 0.25, 0.0), "std": (0.5, 0.25, 1.0)}
    flat = preprocess(RED, Preprocess(**spec), RGB)
    assert flat[0, 0, 0].tolist() == pytest.approx([1.0, -1.0, 0.0])
    planes = preprocess(RED, Preprocess(**spec, layout="nchw"), NCHW)
    np.testing.assert_array_equal(planes, flat.transpose(0, 3, 1, 2))
    assert planes.flags.c_contiguous


def test_channels_that_do_not_fit_are_one_line():
    with pytest.raises(ProcessingError, match="2 means and 0 deviations, the sample 3 channels"):
        preprocess(RED, Preprocess(mean=(1.0, 2.0)), RGB)
    with pytest.raises(ProcessingError, match="not that of an image"):
        preprocess(np.zeros(5, np.uint8), Preprocess(resize="stretch"), RGB)
    with pytest.raises(ProcessingError, match="not an image"):
        preprocess(RED, Preprocess(resize="stretch"), TensorSpec("x", "float32", (1, 10)))


@given(
    height=st.integers(1, 300), width=st.integers(1, 300), mode=st.sampled_from(["letterbox", "crop"]),
    align=st.sampled_from(["center", "start"]),
)  # fmt: skip
def test_boxes_find_their_way_back_to_the_sample(height, width, mode, align):
    at = place((height, width), (96, 128), Preprocess(resize=mode, align=align))
    box = (0.25, 0.5, 0.75, 1.0)  # of the sample
    inside = tuple(
        (start + part * length) / size
        for part, start, length, size in zip(
            box, (at.top, at.left) * 2, (at.height, at.width) * 2, (96, 128) * 2, strict=True
        )
    )
    (found,) = to_sample(Detections((Detection(0, 1.0, inside),)), at, (96, 128)).found
    assert found.box == pytest.approx(box)


def test_anchors_stand_in_the_middle_of_cells():
    made = anchors((4, 8), (1, 2), (8, 8))
    assert made.tolist() == [[0.25, 0.25], [0.25, 0.75], [0.75, 0.25], [0.75, 0.75], [0.5, 0.5], [0.5, 0.5]]


def test_overlap():
    box = np.array([0, 0, 2, 2.0])
    others = np.array([[0, 0, 2, 2], [0, 1, 2, 3], [5, 5, 6, 6], [1, 1, 1, 1.0]])
    assert iou(box, others).tolist() == pytest.approx([1, 1 / 3, 0, 0])


SSD = Postprocess(decoder="ssd", activation="sigmoid", strides=(4,), per_cell=(1,), min_score=0.6)
OUT = (TensorSpec("boxes", "float32", (1, 4, 4)), TensorSpec("scores", "float32", (1, 4, 1)))


def test_an_ssd_decodes_to_boxes_without_doubles():
    boxes = np.zeros((1, 4, 4), np.float32)
    boxes[0, 0] = [1, 2, 4, 2]  # centre x, y and width, height in pixels of 8, from the anchor at (0.25, 0.25)
    boxes[0, 1] = [-3, 2, 4, 2]  # the same box, from the anchor to the right
    scores = np.array([[[2.0], [1.0], [0.0], [9.0]]], np.float32)
    found = postprocess([boxes, scores], OUT, "detection", SSD, (8, 8)).found
    assert [round(d.score, 3) for d in found] == [1.0, 0.881]
    assert found[1].box == pytest.approx((0.375, 0.125, 0.625, 0.625))


def test_outputs_that_do_not_fit_the_anchors_are_one_line():
    with pytest.raises(ProcessingError, match="gives 4 boxes, strides and per_cell make 16 anchors"):
        postprocess([np.zeros((1, 4, 4)), np.zeros((1, 4, 1))], OUT, "detection", SSD, (16, 16))
    with pytest.raises(ProcessingError, match="has 1 outputs"):
        postprocess([np.zeros((1, 4, 4))], OUT[:1], "detection", SSD, (8, 8))


def test_boxes_that_come_decoded_are_those_of_the_sample():
    outputs = [np.array([[[0, 0.25, 1, 0.75]]]), np.array([[3.0]]), np.array([[0.9]]), np.array([1.0])]
    specs = tuple(TensorSpec(str(i), "float32", o.shape) for i, o in enumerate(outputs))
    bundle = Bundle(
        "cpu", (Artifact("m", "model", describe(b"m")),), (TensorSpec("x", "uint8", (1, 8, 8, 3)),), specs,
        task="detection", preprocess=Preprocess(resize="letterbox"),
        postprocess=Postprocess(scores=2, classes=1),
    )  # fmt: skip
    (found,) = answer_for(bundle, outputs, (40, 20)).found
    assert (found.index, found.score) == (3, pytest.approx(0.9))
    assert found.box == pytest.approx((0, 0, 1, 1))


def test_an_embedding_is_a_direction():
    tensor = TensorSpec("y", "int8", (1, 2), 0.5, 1)
    answer = postprocess([np.array([[7, 9]], np.int8)], [tensor], "embedding")
    assert answer == Embedding(pytest.approx((0.6, 0.8)))


@pytest.mark.parametrize("shape", [(1, 4_000_000, 3), (4_000_000, 1, 3)])
def test_a_line_of_pixels_does_not_take_the_memory_of_a_thousand_pictures(shape):
    """To fill 224 rows with one row of 4 million pixels, 200 billion would be computed: 2.4 TB."""
    tensor = TensorSpec("x", "uint8", (1, 224, 224, 3), 1.0, 0)
    with pytest.raises(ProcessingError, match="too narrow"):
        preprocess(np.zeros(shape, np.uint8), Preprocess(resize="crop"), tensor)


def test_resizing_a_large_picture_takes_little_more_memory_than_the_picture():
    """Not four times as much, as a copy in float32 would: it is what ends a runner on a board of 512 MB."""
    picture, tensor = np.zeros((3000, 4000, 3), np.uint8), TensorSpec("x", "uint8", (1, 224, 224, 3), 1.0, 0)
    tracemalloc.start()
    preprocess(picture, Preprocess(resize="crop"), tensor)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < picture.nbytes
