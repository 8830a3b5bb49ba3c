"""Whatever happens to a model between two releases, every candidate makes the new file to the bit."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from skerry_host.patch.layout import layout_of
from tests.kit.patch_edits import EDITS, Edit, Write, every_candidate_makes, tune
from tests.kit.patch_models import Made, Net, layer, onnx, patch_of, tflite


@given(
    seed=st.integers(0, 2**32),
    shapes=st.lists(st.tuples(st.integers(1, 24), st.integers(1, 40)), min_size=1, max_size=4),
    edits=st.lists(st.sampled_from(EDITS), max_size=3),
    write=st.sampled_from([tflite, onnx]),
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_edited_models(
    seed: int, shapes: list[tuple[int, int]], edits: list[Edit], write: Callable[[Net], bytes]
) -> None:
    rng = np.random.default_rng(seed)
    before = after = [layer(rng, *shape) for shape in shapes]
    for edit in edits:
        after = edit(rng, after) or after
    every_candidate_makes(write(Net(tuple(before))), write(Net(tuple(after), note=rng.bytes(seed % 50))))


@pytest.mark.parametrize("edit", EDITS)
@pytest.mark.parametrize("write", [tflite, onnx])
def test_each_edit_of_a_larger_model(edit: Edit, write: Write) -> None:
    rng = np.random.default_rng(5)
    before = [layer(rng, 48, 64), layer(rng, 64, 48), layer(rng, 10, 64)]
    every_candidate_makes(write(Net(tuple(before))), write(Net(tuple(edit(rng, before)))))


def test_a_model_patch_beats_plain_bytes() -> None:
    rng = np.random.default_rng(1)
    before = [layer(rng, 64, 200) for _ in range(4)]
    patch = patch_of(tflite(Net(tuple(before))), tflite(Net(tuple(tune(rng, before)))))
    assert patch.codec == "model"
    assert all(len(patch.data) < 0.85 * size for codec, size in patch.candidates.items() if codec != "model")


def test_float_models() -> None:
    rng = np.random.default_rng(2)
    floats = rng.normal(size=4000).astype(np.float32)
    after = floats + np.float32(1e-4) * (rng.random(4000) < 0.1)
    every_candidate_makes(tflite(Net((), floats=floats)), tflite(Net((), floats=after.astype(np.float32))))


def test_empty_files_and_empty_tensors() -> None:
    none = np.zeros(0, np.float32)
    hollow = tflite(Net((Made(none.astype(np.int8).reshape(0, 4), none, none.astype(np.int32), 0.1),)))
    for old, new in ((b"", b""), (b"", hollow), (hollow, b""), (hollow, hollow), (b"x", b"")):
        assert len(patch_of(old, new).data) < 400


@given(st.binary(max_size=600), st.binary(max_size=600), st.integers(0, 600))
@settings(max_examples=60, deadline=None)
def test_files_that_only_look_like_models(head: bytes, tail: bytes, cut: int) -> None:
    rng = np.random.default_rng(4)
    real = tflite(Net((layer(rng, 8, 30),)))
    fake = real[:cut] + head + real[cut:]
    layout_of(fake)
    every_candidate_makes(fake, b"\x00\x00\x00\x00TFL3" + tail)
    every_candidate_makes(b"\x08\x09\x12" + head, b"\x08\x09\x3a" + tail)


@given(
    st.binary(min_size=50, max_size=3000), st.lists(st.tuples(st.integers(0, 2999), st.binary(max_size=40)), max_size=6)
)
@settings(max_examples=60, deadline=None)
def test_edited_bytes(old: bytes, edits: list[tuple[int, bytes]]) -> None:
    new = bytearray(old * 3)
    for place, piece in edits:
        new[place : place + len(piece) // 2] = piece
    every_candidate_makes(old * 2, bytes(new))
