"""Boxes side by side: what is drawn of both models, and that a report stays small and safe."""

import numpy as np
import pytest

from skerry_agent.processing import Detection, Detections
from skerry_host.builder.report.boxes import SIDE, Picture, draw

ONE, TWO = Detection(0, 0.9, (0.1, 0.1, 0.5, 0.5)), Detection(1, 0.6, (0.5, 0.5, 0.9, 0.9))
MOVED = Detection(0, 0.7, (0.12, 0.1, 0.5, 0.5))


def drawn(float_boxes, int8_boxes, image=None, labels=("cat", "<dog>")):
    image = np.zeros((48, 64, 3), np.uint8) if image is None else image
    return draw(Picture(image, Detections(float_boxes), Detections(int8_boxes)), labels, "cpu-0")


def test_a_box_that_only_one_model_has_is_dashed():
    made = drawn((ONE, TWO), (MOVED,))
    assert (made.count('class="found alone"'), made.count('class="found"')) == (1, 2)
    assert "float: 2 boxes" in made
    assert "quantized: 1 box<" in made


def test_labels_are_text_and_never_markup():
    assert "&lt;dog&gt; 0.60" in drawn((TWO,), ())
    assert "<dog>" not in drawn((TWO,), ())
    assert ">5 0.90" in drawn((Detection(5, 0.9, ONE.box),), ())


def test_an_image_is_in_the_page_once_and_small():
    noise = np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)
    made = drawn((ONE,), (ONE,), noise)
    assert (made.count("data:image/png"), made.count("<use ")) == (1, 2)
    assert f'width="{SIDE}"' in made
    assert len(made) < 200_000


@pytest.mark.parametrize("box", [(-1.0, -1.0, 2.0, 2.0), (0.5, 0.5, 0.4, 0.4), (0.0, 0.0, 0.0, 0.0)])
def test_boxes_that_leave_the_image_stay_in_the_drawing(box):
    made = drawn((Detection(0, 0.9, box),), ())
    assert 'width="-' not in made
    assert 'height="-' not in made
