"""Which of many boxes remain: the same whether all pairs are looked at at once, or one box after the other."""

import numpy as np
import pytest

from skerry_agent.processing import Array, iou, overlaps
from skerry_agent.processing.boxes import FEW, suppress

LEAST = 0.3


def slowly(boxes: Array, groups: Array | None, order: Array, most: int) -> list[int]:
    """The definition."""
    kept: list[int] = []
    for place in order.tolist():
        rivals = [at for at in kept if groups is None or groups[at] == groups[place]]
        if len(kept) < most and all(iou(boxes[place], boxes[[at]])[0] <= LEAST for at in rivals):
            kept.append(place)
    return kept


@pytest.mark.parametrize("count", [0, 1, 7, FEW, FEW + 1, 90])
@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize("most", [1, 5, 100])
def test_few_and_many_boxes_remain_by_the_same_rule(count: int, grouped: bool, most: int):
    rng = np.random.default_rng(count)
    for dtype in (np.float32, np.float64):
        boxes = rng.random((count, 4)).astype(dtype)
        boxes[::2, 2:] += boxes[::2, :2]  # the others are turned inside out
        groups = rng.integers(0, 3, count) if grouped else None
        order = rng.permutation(count)
        assert suppress(boxes, groups, order, LEAST, most) == slowly(boxes, groups, order, most)


def test_how_far_all_pairs_overlap_is_what_each_pair_does():
    rng = np.random.default_rng(4)
    boxes = rng.random((9, 4)).astype(np.float32)
    boxes[:, 2:] += boxes[:, :2]
    np.testing.assert_array_equal(overlaps(boxes, boxes[:5]), [iou(box, boxes[:5]) for box in boxes])
    assert overlaps(boxes[:1], boxes[:1]) == pytest.approx(1.0)
    assert overlaps(boxes[:0], boxes).shape == (0, 9)
