"""Outputs that mix pixels and probabilities are given in parts: exactly, each with a scale of its own."""

from dataclasses import replace

import numpy as np
import pytest

from skerry_agent.processing import Feeding, join_outputs
from skerry_agent.wire.manifest import Join, Preprocess
from skerry_host.builder.data.samples import Samples
from skerry_host.builder.judge.evaluate import real_outputs
from skerry_host.builder.judge.gates import channel_problem
from skerry_host.builder.judge.paired import PairedEvaluation
from skerry_host.builder.modelfile.channel_blocks import Blocks
from skerry_host.builder.modelfile.graph import describe
from skerry_host.builder.modelfile.tflite import read_model, write_model
from skerry_host.builder.quantize.pipeline import quantize
from skerry_host.builder.recipe.recipe import Budget, Data, Quantize, Recipe, SourcePlan
from skerry_host.builder.rewrite.split_outputs import split_outputs
from skerry_host.builder.runtime.session import Session
from skerry_host.builder.sources.load import SourceModel, load_source
from tests.kit.heads import HEADS, behind_a_pool, channels_first, nested, pictures

PICTURES = pictures(24)
SAMPLES, PLAIN = Samples.of(PICTURES), Feeding((Preprocess(),))


def split(data: bytes, blocks: Blocks) -> bytes:
    model = read_model(data)
    assert split_outputs(model, {0: blocks})
    return write_model(model)


def load(data: bytes, tmp_path) -> SourceModel:
    (tmp_path / "m.tflite").write_bytes(data)
    return load_source(tmp_path / "m.tflite")


def answers(data: bytes) -> np.ndarray:
    session = Session(data)
    rows = []
    for picture in PICTURES:
        tensor = picture[np.newaxis]
        spec = session.inputs[0]
        if spec.scale:
            tensor = np.clip(np.rint(tensor / spec.scale) + spec.zero_point, -128, 127).astype(np.int8)
        (real,) = real_outputs(data, session.run([tensor])).values()
        rows.append(real)
    return np.concatenate(rows)


def split_at(shape: tuple[int, ...]) -> list[Blocks]:
    return [
        Blocks(axis, starts, size)
        for axis, size in enumerate(shape)
        if axis and size > 2
        for starts in ((0, 1), (0, size // 2), (0, 1, size - 1))
    ]


@pytest.mark.parametrize("head", [*HEADS, "behind a pool"])
def test_parts_joined_are_the_output(head: str, tmp_path):
    """Whichever places of whichever axis are parts: cut in filters, concatenations, or behind what cannot be cut."""
    data = load(behind_a_pool() if head == "behind a pool" else HEADS[head][0](), tmp_path).data
    whole, shape = answers(data), describe(read_model(data)).output_specs()[0].shape
    for blocks in split_at(shape):
        made = split(data, blocks)
        assert len(Session(made).outputs) == len(blocks.starts)
        np.testing.assert_allclose(answers(made), whole, rtol=1e-6, atol=1e-6)


def test_what_nothing_needs_any_more_is_dropped(tmp_path):
    """The filters that were divided are not in the file twice."""
    data = load(HEADS["one convolution"][0](), tmp_path).data
    made = describe(read_model(split(data, Blocks(3, (0, 4), 7))))
    assert sorted(t.shape for t in made.tensors if t.name.startswith("mixed/w")) == [(3, 1, 1, 8), (4, 1, 1, 8)]
    assert len(split(data, Blocks(3, (0, 4), 7))) < len(data) * 1.5


def test_parts_are_named_by_their_channels_and_the_file_says_how_they_join(tmp_path):
    made = describe(read_model(split(load(channels_first(), tmp_path).data, Blocks(1, (0, 4), 7))))
    assert [spec.name for spec in made.output_specs()] == ["y.0-3", "y.4-6"]
    assert made.joins == (Join("y", (0, 1), 1),)


@pytest.mark.parametrize("head", HEADS)
def test_a_detector_s_scores_keep_a_scale_of_their_own_on_integers(head: str, tmp_path):
    """On one scale with boxes of 640 pixels every score was zero."""
    make, ranges = HEADS[head]
    source = load(make(), tmp_path)
    made = quantize(source, SAMPLES, PLAIN, Quantize())
    (join,) = describe(read_model(made)).joins
    assert len(join.parts) == len(ranges)
    first, last = ranges[-1]
    index = (slice(None),) * join.axis + (slice(first, last + 1),)
    wanted, got = answers(source.data)[index], answers(made)[index]
    assert np.abs(wanted - got).mean() < 0.1 * np.ptp(wanted)
    whole = quantize(replace(source, whole=1), SAMPLES, PLAIN, Quantize())
    assert not describe(read_model(whole)).joins
    assert np.abs(wanted - answers(whole)[index]).mean() > np.abs(wanted - got).mean() * 3


def test_the_same_source_and_samples_give_the_same_parts(tmp_path):
    source = load(nested(), tmp_path)
    made = [quantize(source, SAMPLES, PLAIN, Quantize()) for _ in range(2)]
    assert made[0] == made[1]


def test_joined_outputs_stand_where_their_first_part_was():
    parts = [np.zeros((1, 2)), np.ones((1, 1)), np.full((1, 3), 2.0), np.full((1, 4), 3.0)]
    whole = join_outputs(parts, (Join("y", (1, 2), 1),))
    assert [part.shape for part in whole] == [(1, 2), (1, 4), (1, 4)]
    assert whole[1].tolist() == [[1, 2, 2, 2]]


def test_a_quantized_source_whose_scores_are_lost_is_refused_by_name(tmp_path):
    """It came so: there is no float model to say what it had, but its own values are all one."""
    source = load(channels_first(), tmp_path)
    whole = quantize(replace(source, whole=1), SAMPLES, PLAIN, Quantize())
    recipe = Recipe(1, "m", "raw", "x", SourcePlan("m"), Data("c", "e"))
    found = PairedEvaluation(whole, SAMPLES, recipe).compare(whole)
    problems = [problem for one in found.channels if (problem := channel_problem(one, Budget()))]
    assert len(problems) == 1
    assert problems[0].startswith("output y, channels 4..6: their values span 0")
    parts = quantize(source, SAMPLES, PLAIN, Quantize())
    assert PairedEvaluation(parts, SAMPLES, recipe).compare(parts).channels == ()
