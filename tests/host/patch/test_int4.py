"""Weights of four bits, two in a byte: found, paired, and coded for about what moved."""

from collections.abc import Callable

import numpy as np
import pytest

from skerry_agent.patch import apply
from skerry_host.patch.layout import layout_of
from tests.kit.patch_models import blocks_onnx, int4_onnx, int4_tflite, patch_of

MODELS = [int4_tflite, int4_onnx, blocks_onnx]


def grids() -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Weights before and after a little training: every tenth moves by a step."""
    rng = np.random.default_rng(41)
    before = [np.clip(np.rint(rng.normal(0, 2.5, (64, 96))), -8, 7).astype(int) for _ in range(3)]
    steps = [rng.choice([-1, 0, 1], (64, 96), p=[0.05, 0.9, 0.05]) for _ in range(3)]
    return before, [np.clip(grid + step, -8, 7) for grid, step in zip(before, steps, strict=True)]


@pytest.mark.parametrize("write", MODELS)
def test_packed_weights_are_found(write: Callable[..., bytes]) -> None:
    found = [one.weights for one in layout_of(write(grids()[0])).layers]
    assert [(one.rows, one.cols, one.packed) for one in found if one] == [(64, 48, True)] * 3


@pytest.mark.parametrize("write", MODELS)
def test_a_step_costs_little_in_either_half_of_a_byte(write: Callable[..., bytes]) -> None:
    old, new = map(write, grids())
    patch = patch_of(old, new)
    out = bytearray()
    apply(old, patch.data, out.extend, max_new_bytes=len(new))
    assert out == new
    assert 8 * (len(patch.data) - 400) / (3 * 64 * 96) < 0.6  # the entropy of such steps is 0.57 bits


@pytest.mark.parametrize("write", [int4_tflite, int4_onnx])
def test_an_odd_count_of_weights_is_found_as_one_row(write: Callable[..., bytes]) -> None:
    found = layout_of(write([np.ones((5, 41), int)])).layers[0].weights
    assert found
    assert (found.rows, found.cols) == (1, 103)
