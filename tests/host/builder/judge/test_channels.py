"""Channels are judged by their own signal: a block that is lost in the steps of another is refused by name."""

from dataclasses import replace

import numpy as np
import pytest

from skerry_agent.wire.manifest import ChannelSignal, Join
from skerry_host.builder.judge.channels import (
    ChannelSums,
    OutputForm,
    channel_signals,
    is_one_kind,
    output_scales,
    whole_outputs,
)
from skerry_host.builder.judge.gates import channel_problem
from skerry_host.builder.modelfile.channel_blocks import Blocks, Extremes, blocks_of
from skerry_host.builder.modelfile.graph import Graph, Op, Tensor, describe
from skerry_host.builder.modelfile.joins import write_joins
from skerry_host.builder.modelfile.tflite import read_model
from skerry_host.builder.recipe.recipe import Budget, Task
from tests.kit.edgetpu.models import Maker

RNG = np.random.default_rng(0)


def net(*ops: tuple[str, list[tuple[int, ...]], tuple[int, ...]]) -> Graph:
    """A chain of operators, each with the shapes of its operands but the chain's own, and its result's."""
    tensors, made = [Tensor(0, "x", "float32", (1, 8), (1, 8), 0)], []
    for index, (name, others, shape) in enumerate(ops):
        before = len(tensors) - 1
        first = len(tensors)
        tensors += [Tensor(first + i, f"o{first + i}", "float32", s, s, 0) for i, s in enumerate(others)]
        tensors.append(Tensor(len(tensors), "y", "float32", shape, shape, 0))
        reads = tuple(range(first, first + len(others))) if others else (before,)
        made.append(Op(index, name, 1, False, reads, (len(tensors) - 1,)))
    return Graph(1, tuple(tensors), tuple(made), (0,), (len(tensors) - 1,))


def extremes(reaches: dict[int, list[float]]) -> dict[int, Extremes]:
    return {axis: Extremes(np.zeros(len(r)), np.array(r, float)) for axis, r in reaches.items()}


CLASSES = [1.0, 1.0, 0.01, 0.0]
BLOCKS = {
    "a detector that is channels-first": (
        net(("CONCATENATION", [(1, 4, 90), (1, 4, 90)], (1, 8, 90))),
        {1: [640.0] * 4 + CLASSES, 2: [640.0] * 90},
        Blocks(1, (0, 4), 8),
    ),
    "one of several grids": (
        net(("CONCATENATION", [(1, 64, 8), (1, 16, 8)], (1, 80, 8))),
        {1: [640.0] * 80, 2: [640.0] * 4 + CLASSES},
        Blocks(2, (0,), 8),
    ),
    "a layout behind the concatenation": (
        net(
            ("CONCATENATION", [(1, 3, 3, 4), (1, 3, 3, 4)], (1, 3, 3, 8)),
            ("RESHAPE", [], (1, 9, 8)),
        ),
        {2: [640.0] * 4 + CLASSES},
        Blocks(2, (0, 4), 8),
    ),
    "an ONNX model's, in another order of axes": (
        net(
            ("Concat", [(1, 4, 90), (1, 4, 90)], (1, 8, 90)),
            ("Transpose", [], (1, 90, 8)),
            ("QuantizeLinear", [], (1, 90, 8)),
            ("DequantizeLinear", [], (1, 90, 8)),
        ),
        {1: [640.0] * 90, 2: [640.0] * 4 + CLASSES},
        Blocks(2, (0, 4), 8),
    ),
    "parts that reach as far": (
        net(("CONCATENATION", [(1, 4), (1, 4)], (1, 8))),
        {1: [10.0] * 4 + [3.0] * 4},
        Blocks(1, (0,), 8),
    ),
    "classes behind a softmax, some of which nobody shows": (
        net(("SOFTMAX", [], (1, 8))),
        {1: [1.0] * 4 + [0.001] * 4},
        Blocks(1, (0,), 8),
    ),
    "numbers of a regression in units of their own": (
        net(("FULLY_CONNECTED", [], (1, 8))),
        {1: [100.0] * 3 + [1.0] * 5},
        Blocks(1, (0, 3), 8),
    ),
    "numbers of about the same size": (
        net(("FULLY_CONNECTED", [], (1, 8))),
        {1: [100.0, 30.0, 20.0, 15.0, 50.0, 60.0, 14.0, 20.0]},
        Blocks(1, (0,), 8),
    ),
}


@pytest.mark.parametrize("case", BLOCKS)
def test_channels_are_of_one_kind_as_the_graph_and_their_values_say(case: str):
    graph, reaches, expected = BLOCKS[case]
    assert replace(blocks_of(graph, 0, extremes(reaches)), mixed=frozenset()) == expected


def test_what_a_task_says_of_an_output_goes_before_its_values():
    graph, reaches, _ = BLOCKS["numbers of a regression in units of their own"]
    assert blocks_of(graph, 0, extremes(reaches), one_kind=True) == Blocks(1, (0,), 8)
    assert [is_one_kind(task, 0) for task in ("classification", "embedding", "raw", "detection")] == [1, 1, 0, 0]
    assert not is_one_kind("classification", 1)


def test_outputs_that_older_agents_would_misread_stay_whole():
    """They read a class from the first output, and boxes by the places of outputs."""
    wholes = [whole_outputs(Task(name)) for name in ("classification", "embedding", "raw", "detection")]
    assert (wholes[0], wholes[1], wholes[2]) == (1, 1, 0)
    assert wholes[3] > 100


def detector(samples: int = 50, boxes: int = 30) -> np.ndarray:
    """Real values (N, boxes, 4 + 3) of a detector: pixels, and scores that are near zero but for some boxes."""
    pixels = RNG.uniform(0, 640, (samples, boxes, 4))
    scores = np.where(RNG.random((samples, boxes, 3)) < 0.1, RNG.uniform(0.3, 1, (samples, boxes, 3)), 0.01)
    scores[..., 2] = 0.001 * RNG.random((samples, boxes))  # a class that no sample shows
    return np.concatenate([pixels, scores], axis=2).astype(np.float32)


HEAD = net(("CONCATENATION", [(1, 30, 4), (1, 30, 3)], (1, 30, 7)))


def signals(reference: np.ndarray, got: np.ndarray, scales: list[tuple[int, float]], graph=HEAD) -> list[ChannelSignal]:
    sums = ChannelSums()
    for start in (0, 20):  # as they come
        sums.add(reference[start : start + 20], got[start : start + 20])
    sums.add(reference[40:], got[40:])
    return channel_signals("y", sums, OutputForm(graph, 0, False, {2: scales}))


def rounded(values: np.ndarray, scale: float) -> np.ndarray:
    return (np.rint(values / scale) * scale).astype(np.float32)


def test_scores_on_the_scale_of_pixels_are_refused_by_name():
    """A whole output of 29.7 dB, whose scores are all zero."""
    reference = detector()
    boxes, scores = signals(reference, rounded(reference, 2.5), [(0, 2.5)])
    assert channel_problem(boxes, Budget()) == ""
    assert channel_problem(scores, Budget()).startswith(
        "output y, channels 4..6: their values span 0.4 steps of the output's scale"
    )


def test_scores_that_are_noise_are_refused_by_name():
    reference = detector()
    got = reference.copy()
    got[..., 4:] += RNG.normal(0, 0.3, got[..., 4:].shape)
    boxes, scores = signals(reference, got, [(0, 0.0)])
    assert (boxes.steps, scores.steps) == (None, None)
    assert "dB of what they vary by to noise, under min_channel_db 3" in channel_problem(scores, Budget())
    assert channel_problem(scores, Budget(min_channel_db=-30.0)) == ""


def test_a_split_output_has_the_scales_of_its_parts_and_passes():
    """The class that no sample shows, whose values span a fifth of a step, is not held against it."""
    reference = detector()
    got = np.concatenate([rounded(reference[..., :4], 2.5), rounded(reference[..., 4:], 1 / 256)], axis=2)
    found = signals(reference, got, [(0, 2.5), (4, 1 / 256)])
    assert [one.steps is not None and one.steps > 200 for one in found] == [True, True]
    assert [channel_problem(one, Budget()) for one in found] == ["", ""]


def test_a_lone_noisy_channel_of_many_refuses_no_classifier():
    reference = RNG.normal(0, 4, (50, 1000)).astype(np.float32)
    got = reference + RNG.normal(0, 0.2, reference.shape).astype(np.float32)
    got[:, 77] = 0.0
    graph = net(("FULLY_CONNECTED", [], (1, 1000)))
    (only,) = channel_signals("y", _summed(reference, got), OutputForm(graph, 0, True, {1: [(0, 0.1)]}))
    assert channel_problem(only, Budget()) == ""


def test_channels_that_never_vary_say_nothing():
    reference = np.full((50, 30, 7), 5.0, np.float32)
    (only,) = signals(reference, reference + 1, [(0, 2.5)])
    assert (only.sqnr_db, only.steps, channel_problem(only, Budget())) == (None, None, "")


def test_what_is_not_finite_is_left_to_the_whole_outputs_figure():
    reference = detector()
    got = reference.copy()
    got[3, 0, 0] = np.nan
    assert all(one.sqnr_db is not None for one in signals(reference, got, [(0, 2.5)]))


def _summed(reference: np.ndarray, got: np.ndarray) -> ChannelSums:
    sums = ChannelSums()
    sums.add(reference, got)
    return sums


def test_scales_are_those_of_the_parts_where_outputs_are_joined():
    made = Maker()
    for name, shape, scale in (("x", (1, 4), 0.5), ("p", (1, 4), 2.5), ("q", (1, 3), 0.1), ("z", (1, 9), 0.3)):
        made.tensor(name, shape, "int8", None, scale)
    for name in "pqz":
        made.op("ABS", ["x"], [name])
    model = read_model(made.data(["x"], ["p", "q", "z"]))
    write_joins(model, (Join("y", (0, 1), 1),))
    found = output_scales(describe(model))
    assert [list(one) for one in found] == [[1], [1]]
    assert [start for start, _ in found[0][1]] == [0, 4]
    assert [scale for _, scale in found[0][1]] == pytest.approx([2.5, 0.1])
    assert found[1][1] == [(0, pytest.approx(0.3))]


POSE = net(("CONCATENATION", [(1, 30, 4), (1, 30, 9)], (1, 30, 13)))


def keypoints() -> np.ndarray:
    """Boxes, and three points of x, y in pixels and how visible they are, one after the other."""
    pixels = RNG.uniform(0, 640, (50, 30, 13))
    pixels[..., [6, 9, 12]] = RNG.uniform(0, 1, (50, 30, 3))
    return pixels.astype(np.float32)


def test_channels_of_another_kind_between_others_are_refused_by_their_number():
    """They lie one by one between pixels, so that no block of them could be cut off."""
    reference = keypoints()
    found = signals(reference, rounded(reference, 2.5), [(0, 2.5)], POSE)
    problems = [problem for one in found if (problem := channel_problem(one, Budget()))]
    assert len(problems) == 1
    assert problems[0].startswith("output y, 3 of channels 6..12: their values span 0.4 steps")


def test_classes_that_no_sample_shows_are_of_no_other_kind():
    """However many: after a softmax, and as products of probabilities."""
    reference = RNG.uniform(0, 1, (50, 8)).astype(np.float32)
    reference[:, ::2] *= 0.001
    sums, scales = _summed(reference, rounded(reference, 1 / 256)), {1: [(0, 1 / 256)]}
    for last in ("SOFTMAX", "MUL"):
        found = channel_signals("y", sums, OutputForm(net((last, [(1, 8), (1, 8)], (1, 8))), 0, False, scales))
        assert [channel_problem(one, Budget()) for one in found] == [""]
