"""Floats that were tuned: exact whatever they are, and well below what a compressor makes of them."""

import lzma
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skerry_agent.patch import apply, read_header
from skerry_host.patch.layout import layout_of
from tests.kit.patch_models import float_onnx, float_tflite, patch_of

Grid = np.ndarray
RNG = np.random.default_rng(5)
WEIGHTS = (RNG.normal(0, 0.05, (48, 64)), RNG.normal(0, 0.3, (1, 3, 3, 40)), RNG.normal(0, 1, 70))


def stored(values: Grid, kind: str) -> Grid:
    """`values` as float32, float16 or the upper half of float32."""
    if kind != "bfloat16":
        return values.astype(kind)
    return (values.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)


def tuned(values: Grid, size: float = 0.01) -> Grid:
    return values + np.random.default_rng(6).normal(0, size * np.abs(values).mean(), values.shape)


def applied(old: bytes, new: bytes) -> bytes:
    out = bytearray()
    apply(old, patch_of(old, new).data, out.extend, max_new_bytes=len(new))
    return bytes(out)


@pytest.mark.parametrize("write", [float_tflite, float_onnx])
@pytest.mark.parametrize(("kind", "bits"), [("float32", 19.2), ("float16", 8.0), ("bfloat16", 5.5)])
def test_a_tuned_model_costs_what_moved(write: Callable[..., bytes], kind: str, bits: float) -> None:
    old, new = (write([stored(change(grid), kind) for grid in WEIGHTS]) for change in (np.array, tuned))
    patch = patch_of(old, new)
    assert (patch.codec, patch.format_version) == ("typed", 2)
    assert applied(old, new) == new
    count = sum(grid.size for grid in WEIGHTS)
    assert 8 * (len(patch.data) - 700) / count < bits


def scaled_channels(grid: Grid) -> Grid:
    return tuned(grid * RNG.uniform(0.9, 1.1, (len(grid), *[1] * (grid.ndim - 1))), 0.001)


def some_rows(grid: Grid) -> Grid:
    return np.where(np.arange(grid.size).reshape(grid.shape) % 7 == 0, grid * 1.01, grid)


def pruned(grid: Grid) -> Grid:
    return np.where(np.abs(grid) < np.median(np.abs(grid)), 0, tuned(grid))


EDITS: list[Callable[[Grid], Grid]] = [
    scaled_channels,
    some_rows,
    pruned,
    lambda grid: RNG.permutation(grid.reshape(-1)).reshape(grid.shape),
]


@pytest.mark.parametrize("edit", EDITS)
@pytest.mark.parametrize("kind", ["float32", "float16", "bfloat16"])
def test_whatever_was_done_to_them_they_come_out_exact(edit: Callable[[Grid], Grid], kind: str) -> None:
    old, new = (float_tflite([stored(change(grid), kind) for grid in WEIGHTS]) for change in (np.array, edit))
    assert applied(old, new) == new
    assert applied(new, old) == old


def test_retrained_floats_cost_no_more_than_the_whole_file() -> None:
    old, new = (float_onnx([np.random.default_rng(seed).normal(0, 1, (96, 128)).astype(np.float32)]) for seed in (1, 2))
    assert len(patch_of(old, new).data) < len(lzma.compress(new, preset=9))


def test_float32_that_holds_no_more_than_float16_costs_no_more() -> None:
    grids = [[change(grid).astype(np.float16).astype(np.float32) for grid in WEIGHTS] for change in (np.array, tuned)]
    short = [[grid.astype(np.float16) for grid in model] for model in grids]
    sizes = [len(patch_of(float_tflite(old), float_tflite(new)).data) for old, new in (grids, short)]
    assert sizes[0] < 1.05 * sizes[1]


words = st.sampled_from([0, 0x80000000, 0x7F800000, 0xFF800000, 0x7FC00001, 1, 0x80000001, 0x3F800000, 0x7F7FFFFF])


@given(st.lists(words | st.integers(0, 2**32 - 1), min_size=64, max_size=64), st.sampled_from([4, 2]))
@settings(max_examples=15, deadline=None)
def test_no_bits_are_lost_of_whatever_calls_itself_a_float(found: list[int], width: int) -> None:
    """Infinities, what is no number, subnormal ones and two zeros."""
    rng = np.random.default_rng(7)
    base = rng.normal(0, 1, (64, 16)).astype(np.float32).view(np.uint32)
    old, new = base.copy(), (base.view(np.float32) * np.float32(1.001)).view(np.uint32)
    old[:, 3], new[:, 5] = found, found
    new[7], old[9] = 0, 0
    kind = np.float32 if width == 4 else np.float16
    models = [float_tflite([grid.view(kind)]) for grid in (old, new)]
    assert applied(*models) == models[1]


def test_exponents_that_have_no_symbol_stay_plain_bytes() -> None:
    """Infinity 128 octaves from what its column is expected to move by: the device would have made another number."""
    rng, found = np.random.default_rng(7), np.zeros(64, np.uint32)
    found[[8, 59, 60, 61, 62, 63]], found[9] = 0x7F800000, 0x7FC00001
    base = rng.normal(0, 1, (64, 16)).astype(np.float32).view(np.uint32)
    old, new = base.copy(), (base.view(np.float32) * np.float32(1.001)).view(np.uint32)
    old[:, 3], new[:, 5], new[7], old[9] = found, found, 0, 0
    before, after = (float_tflite([grid.view(np.float32)]) for grid in (old, new))
    assert applied(before, after) == after


def test_tall_wide_and_odd_tensors_are_cut_where_the_format_asks_for_it() -> None:
    rng = np.random.default_rng(8)
    shapes = [(66_000, 1), (2, 5_000), (4_099,), (3, 4_099)]
    before = [rng.normal(0, 1, shape).astype(np.float16) for shape in shapes]
    after = [(grid * 1.004).astype(np.float16) for grid in before]
    old, new = float_tflite(before), float_tflite(after)
    assert patch_of(old, new).codec == "typed"
    assert applied(old, new) == new


def test_a_device_that_knows_version_1_has_a_patch_of_its_own() -> None:
    old, new = (float_tflite([change(grid).astype(np.float32) for grid in WEIGHTS]) for change in (np.array, tuned))
    patch = patch_of(old, new)
    assert patch.fallback
    assert read_header(patch.fallback.data).format_version == 1
    out = bytearray()
    apply(old, patch.fallback.data, out.extend, max_new_bytes=len(new))
    assert out == new


def test_layouts_find_the_floats_of_both_formats() -> None:
    grids = [stored(grid, "float16") for grid in WEIGHTS]
    for data in (float_tflite(grids), float_onnx(grids)):
        found = sorted((one.rows, one.cols, one.across, one.width, one.mantissa) for one in layout_of(data).floats)
        assert found == [(1, 70, False, 2, 10), (9, 40, True, 2, 10), (48, 64, False, 2, 10)]
