"""What is too much for one program, one grid or one table is split; and time is not spent where a bound has decided."""

from dataclasses import replace

import numpy as np
import pytest

from skerry_agent.patch import PatchError, apply
from skerry_agent.patch.program import MAX_POOL_WORDS, MAX_SIDE
from skerry_host.patch import create
from skerry_host.patch.align import Aligner
from skerry_host.patch.changes import Changes, pack_varints
from skerry_host.patch.create import header_of
from skerry_host.patch.layout import layout_of
from skerry_host.patch.model import LOOSE, Attempt, Files, Form, Room, encode_extents, fit_grids
from skerry_host.patch.pairing import pair_layers
from skerry_host.patch.programs import EAGER, encode_programs
from skerry_host.patch.progress import UNSEEN
from skerry_host.patch.regions import Regions, find_regions
from skerry_host.patch.scattered import as_grid
from tests.kit.patch_edits import tune
from tests.kit.patch_models import Made, Net, layer, patch_of, tflite

BLOCK = 1024


@pytest.fixture
def shuffled() -> tuple[bytes, bytes]:
    """The same 320 blocks in two orders."""
    rng = np.random.default_rng(3)
    blocks = rng.integers(0, 256, (320, BLOCK), np.uint8)
    return blocks.tobytes(), blocks[rng.permutation(len(blocks))].tobytes()


def split(old: bytes, new: bytes, table: int) -> Attempt:
    files = Files(old, new, Aligner(old, new), rooms=(Room(table),) * 2)
    attempt = encode_extents(files, Regions(), Form(4, 1, 2), EAGER, len(new))
    assert attempt is not None
    return attempt


def made(old: bytes, patch: bytes, most: int = 1 << 20) -> bytes:
    out = bytearray()
    apply(old, patch, out.extend, max_new_bytes=most)
    return bytes(out)


def test_a_table_that_is_full_goes_on_in_another_program(shuffled: tuple[bytes, bytes]) -> None:
    old, new = shuffled
    attempt = split(old, new, 500)
    assert attempt.payload is None  # version 1 has one program
    assert made(old, header_of("bsdiff", old, new, 2) + attempt.lean) == new
    assert len(attempt.lean) < 1.5 * len(split(old, new, 1 << 17).lean)


def test_programs_that_make_little_are_refused(shuffled: tuple[bytes, bytes]) -> None:
    old, new = shuffled
    cut = 32 * BLOCK
    parts = [split(old, part, 1 << 17).lean for part in (new[:cut], new[cut:])]
    with pytest.raises(PatchError, match="few bytes"):
        made(old, header_of("bsdiff", old, new, 2) + b"".join(parts))


def test_a_program_may_not_follow_in_version_1(shuffled: tuple[bytes, bytes]) -> None:
    old, new = shuffled
    cut = 100 * BLOCK
    parts = [split(old, part, 1 << 17).payload or b"" for part in (new[:cut], new[cut:])]
    with pytest.raises(PatchError):
        made(old, header_of("bsdiff", old, new) + b"".join(parts))


def tuned(rows: int, cols: int, scales: int) -> tuple[bytes, bytes]:
    """One layer before and after training: weights move by a step, scales by a little."""
    rng = np.random.default_rng(4)
    weights = rng.normal(0, 30, (rows, cols)).astype(np.int8)
    moved = weights + (rng.random(weights.shape) < 0.1).astype(np.int8)
    scale = rng.uniform(0.01, 0.02, scales).astype(np.float32)
    nets = [
        Net((Made(grid, by, np.zeros(rows, np.int32), 0.1),))
        for grid, by in ((weights, scale), (moved, scale * np.float32(1.001)))
    ]
    return tflite(nets[0]), tflite(nets[1])


def test_a_layer_of_more_rows_than_an_extent_has() -> None:
    old, new = tuned(MAX_SIDE + 500, 4, 1)
    attempt = encode_programs(old, new)["model"]
    assert attempt.payload is not None
    assert made(old, header_of("model", old, new) + attempt.payload) == new
    assert len(attempt.payload) < 0.1 * len(new)


def test_a_layer_whose_scales_and_those_of_its_bias_fill_more_than_one_pool() -> None:
    """They are then vectors of their own, in programs of their own, and not derived from one another."""
    rows = MAX_SIDE + 500
    old, new = tuned(rows, 4, rows)
    attempt = encode_programs(old, new)["model"]
    assert made(old, header_of("model", old, new, 2) + attempt.lean, 4 * len(new)) == new
    assert len(attempt.lean) < 0.13 * len(new)  # most of it the scales, twice


def test_a_pool_that_is_too_small_for_one_vector_ends_the_attempt() -> None:
    rng = np.random.default_rng(5)
    before = [layer(rng, 64, 600) for _ in range(2)]
    old, new = tflite(Net(tuple(before))), tflite(Net(tuple(tune(rng, before))))
    regions = find_regions(old, new, pair_layers(old, new, layout_of(old), layout_of(new)))
    form = Form(4, 1, 2)
    fit_grids(regions, form, UNSEEN)
    files = Files(old, new, Aligner(old, new), rooms=(Room(pool=10),))
    assert encode_extents(files, regions, form, EAGER, len(new)) is None


@pytest.mark.parametrize("cols", [70_000, 70_001])
def test_rows_longer_than_an_extent_may_have(cols: int) -> None:
    old, new = tuned(2, cols, 2)
    attempt = encode_programs(old, new)["model"]
    assert attempt.payload is not None
    assert made(old, header_of("model", old, new) + attempt.payload) == new
    assert len(attempt.payload) < 0.1 * len(new)


def test_more_scales_than_the_pool_of_one_program_holds() -> None:
    rng = np.random.default_rng(5)
    before = [layer(rng, 64, 600) for _ in range(6)]
    old, new = tflite(Net(tuple(before))), tflite(Net(tuple(tune(rng, before))))
    regions = find_regions(old, new, pair_layers(old, new, layout_of(old), layout_of(new)))
    form = Form(4, 1, 2)
    fit_grids(regions, form, UNSEEN)
    several, one = (
        encode_extents(Files(old, new, Aligner(old, new), rooms=(room,)), regions, form, EAGER, len(new))
        for room in (Room(pool=400), LOOSE)
    )
    assert several is not None
    assert one is not None
    assert several.payload is None
    assert made(old, header_of("model", old, new, 2) + several.lean) == new
    assert len(several.lean) < 1.1 * len(one.lean)


def test_version_1_gets_what_one_pool_holds_of_more_scales() -> None:
    rng = np.random.default_rng(11)
    rows = 66_000
    assert 2 * rows > MAX_POOL_WORDS
    before = [layer(rng, rows, 2) for _ in range(2)]
    after = [replace(one, scales=one.scales * np.float32(1.001), bias=one.bias + 9) for one in before]
    old, new = tflite(Net(tuple(before))), tflite(Net(tuple(after)))
    attempt = encode_programs(old, new)["model"]
    assert attempt.payload is not None
    assert made(old, header_of("model", old, new) + attempt.payload, len(new)) == new
    assert made(old, header_of("model", old, new, 2) + attempt.lean, len(new)) == new
    assert len(attempt.lean) < len(attempt.payload)


def test_scattered_changes_are_a_grid_with_a_density_for_each_row() -> None:
    rng = np.random.default_rng(6)
    old = rng.normal(0, 20, 400_000).astype(np.int8).view(np.uint8)
    new = old.copy()
    places = rng.random(len(old)) < np.where(np.arange(len(old)) < 200_000, 0.02, 0.005)
    new[places] += 1
    patch = patch_of(old.tobytes(), new.tobytes())
    shares = [part.mean() for part in np.split(places, 2)]
    entropy = sum(-200_000 * (p * np.log2(p) + (1 - p) * np.log2(1 - p)) for p in shares) / 8
    assert patch.codec == "bsdiff"
    assert len(patch.data) < 1.06 * entropy + 300


def test_changes_are_packed_as_runs_of_each_extent() -> None:
    changes = Changes()
    changes.add(np.array([0, 2, 300]), np.array([1, 2, 3], np.uint8))
    changes.add(np.array([5]), np.array([4], np.uint8))
    assert changes.pack(2) == (bytes([5, 0, 3, 0xA9, 2, 1]) + bytes([2, 5, 1]), bytes([1, 0, 2, 3, 4]))
    assert changes.pack(1)[0] == bytes([7, 0, 1, 1, 1, 0xA9, 2, 1]) + bytes([2, 5, 1])


def test_integers_of_every_length_are_packed() -> None:
    values = [0, 127, 128, 16383, 16384, (1 << 32) - 1]
    packed = pack_varints(np.array(values, np.int64))
    assert packed == bytes([0, 127, 128, 1, 255, 127, 128, 128, 1, 255, 255, 255, 255, 15])


@pytest.mark.parametrize("size", [40_000, 4_300_000, 9_000_000])
def test_a_run_is_found_whatever_the_stride_of_the_index(size: int) -> None:
    rng = np.random.default_rng(7)
    old = rng.integers(0, 256, size, np.uint8).tobytes()
    aligner = Aligner(old, b"-" * 5 + old[20_001:20_101] + b"=" * 5)
    assert [(piece.at, piece.end, piece.old_at) for piece in aligner.pieces(0, 110, 0, 0)] == [
        (0, 5, None),
        (5, 105, 20_001),
        (105, 110, None),
    ]


def test_unlike_files_are_stored_without_a_careful_try() -> None:
    rng = np.random.default_rng(8)
    old, new = (rng.integers(0, 256, 300_000, np.uint8).tobytes() for _ in range(2))
    patch = create(old, new)
    assert patch.codec == "full"
    assert len(patch.data) < len(new) + 100


def test_progress_ends_at_all_and_never_goes_back() -> None:
    old, new = tuned(300, 40, 300)
    told: list[float] = []
    create(old, new, progress=told.append)
    assert told == sorted(told)
    assert told[-1] == 1.0
    assert len(told) > 4


def test_few_changes_of_many_bytes_are_a_grid_of_one_density_with_lanes_enough_to_be_applied() -> None:
    rng = np.random.default_rng(9)
    old = rng.normal(0, 20, 300_000).astype(np.int8).view(np.uint8)
    new = old.copy()
    new[rng.integers(0, len(new), 150)] += 1
    patch = patch_of(old.tobytes(), new.tobytes())
    assert patch.codec == "bsdiff"
    assert len(patch.data) < 150 * np.log2(2.72 * 2000) / 8 + 240  # as runs they take 90 bytes more


def test_changes_that_fill_no_row_are_no_grid() -> None:
    old = np.zeros(1024 + 250, np.uint8)
    new = old.copy()
    new[-200:] += np.arange(200, dtype=np.uint8)
    assert as_grid(old, new) is None


def crowded(fresh: int) -> Attempt | None:
    """The form with most contexts, beside `fresh` ones for layers that are new."""
    rng = np.random.default_rng(10)
    before = [layer(rng, 40, 30) for _ in range(8)]
    old, new = (
        tflite(Net(tuple(layers))) for layers in (before, [*tune(rng, before), *(layer(rng, 50, 60) for _ in range(4))])
    )
    regions = find_regions(old, new, pair_layers(old, new, layout_of(old), layout_of(new)))
    form = Form(15, 4, fresh)
    fit_grids(regions, form, UNSEEN)
    attempt = encode_extents(Files(old, new, Aligner(old, new)), regions, form, EAGER, len(new))
    if attempt is not None:
        assert made(old, header_of("model", old, new, 2) + attempt.lean) == new
    return attempt


@pytest.mark.parametrize("fresh", [6, 10])
def test_classes_share_contexts_where_few_are_left(fresh: int) -> None:
    assert crowded(fresh) is not None


def test_more_contexts_than_a_program_has_are_no_attempt() -> None:
    assert crowded(40) is None
