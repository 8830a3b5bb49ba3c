"""A model on its predecessor's scale grid: scales of the right form, the same values, a smaller patch."""

from dataclasses import replace

import numpy as np

from skerry_host.builder.modelfile.scale_grid import GridOptions, fit_steps, grid_scales, to_previous_grid
from tests.kit.patch_models import Made, Net, layer, patch_of, tflite, tuned


def releases(seed: int) -> tuple[list[Made], list[Made]]:
    rng = np.random.default_rng(seed)
    before = [layer(rng, 40, 150), layer(rng, 30, 200)]
    return before, [tuned(rng, made, 0.4) for made in before]


def test_scales_are_on_the_grid_and_values_hardly_move() -> None:
    before, after = releases(1)
    old, new = tflite(Net(tuple(before))), tflite(Net(tuple(after)))
    made = to_previous_grid(new, old)
    assert (made.layers, len(made.model)) == (2, len(new))
    assert made.kept_after >= made.kept_before - 0.1
    again = to_previous_grid(made.model, old)
    assert again.kept_after >= made.kept_after


def test_the_patch_is_smaller() -> None:
    before, after = releases(2)
    old, new = tflite(Net(tuple(before))), tflite(Net(tuple(after)))
    plain, gridded = patch_of(old, new), patch_of(old, to_previous_grid(new, old).model)
    assert len(gridded.data) < 0.97 * len(plain.data)


def test_frozen_keeps_every_scale() -> None:
    before, after = releases(3)
    old, new = tflite(Net(tuple(before))), tflite(Net(tuple(after)))
    frozen = to_previous_grid(new, old, options=GridOptions(frozen=True)).model
    for made in before:
        assert made.scales.tobytes() in frozen


def test_a_model_on_its_own_grid_stays() -> None:
    model = tflite(Net(tuple(releases(4)[0])))
    assert to_previous_grid(model, model).kept_after == 1.0


def test_other_shapes_are_left_alone() -> None:
    before, after = releases(5)
    other = [replace(made, weights=made.weights[:, :-1]) for made in after]
    assert to_previous_grid(tflite(Net(tuple(other))), tflite(Net(tuple(before)))).layers == 0


def test_steps_undo_a_common_factor() -> None:
    rng = np.random.default_rng(6)
    integers = np.clip(np.rint(rng.normal(0, 30, (5, 300))), -127, 127).astype(np.int8)
    scales = rng.uniform(0.001, 0.01, 5).astype(np.float32)
    steps = np.array([0, 7, -12, 40, -60])
    weights = integers * grid_scales(scales, steps)[:, None].astype(np.float64)
    reference = (np.abs(weights).max(axis=1) / 127).astype(np.float32)
    assert fit_steps(weights, reference, integers, scales).tolist() == steps.tolist()


def test_sticky_rounding_keeps_more_integers_within_its_reach() -> None:
    before, after = releases(7)
    old, new = tflite(Net(tuple(before))), tflite(Net(tuple(after)))
    plain, sticky = to_previous_grid(new, old), to_previous_grid(new, old, options=GridOptions(sticky=0.4))
    assert sticky.kept_after > plain.kept_after
    assert len(patch_of(old, sticky.model).data) < len(patch_of(old, plain.model).data)
