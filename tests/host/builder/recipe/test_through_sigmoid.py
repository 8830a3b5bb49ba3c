"""Outputs that are only read through a sigmoid need no range beyond what it tells apart."""

import pytest
from msgspec.structs import replace

from skerry_agent.wire.postprocess import Postprocess
from skerry_host.builder.recipe.recipe import Task, load_recipe
from skerry_host.builder.recipe.through_sigmoid import through_sigmoid
from tests.kit.recipes import FASHION

MAP, MAPS = (1, 8, 8, 1), (1, 8, 8, 3)
SSD = {"decoder": "ssd", "activation": "sigmoid"}
SIGMOID = {"activation": "sigmoid"}
PRESENCE = {"presence": 1, "presence_activation": "sigmoid"}
CASES = {
    "boxes and scores of a detector": ("detection", SSD, [(1, 896, 16), (1, 896, 1)], {1}),
    "scores of several classes, of which the best counts": ("detection", SSD, [(1, 896, 16), (1, 896, 3)], set()),
    "scores that are none of a sigmoid": ("detection", {"decoder": "ssd"}, [(1, 896, 16), (1, 896, 1)], set()),
    "boxes and scores in one output": ("detection", {**SIGMOID, "decoder": "yolo"}, [(1, 84, 100)], set()),
    "several labels": ("multilabel", SIGMOID, [(1, 5)], {0}),
    "events of the second output": ("events", {**SIGMOID, "output": 1}, [(1, 9), (1, 20, 5)], {1}),
    "a mask": ("segmentation", SIGMOID, [MAP], {0}),
    "a map for each class": ("segmentation", SIGMOID, [MAPS], set()),
    "one logit": ("classification", SIGMOID, [(1, 1)], {0}),
    "a score for each class": ("classification", SIGMOID, [(1, 4)], set()),
    "whether there are points": (
        "keypoints",
        {"presence": 1, "presence_activation": "sigmoid"},
        [(1, 63), (1, 1)],
        {1},
    ),
    "scores that must be nearer to 1 than the range goes": (
        "multilabel",
        {**SIGMOID, "min_score": 0.9999},
        [(1, 5)],
        set(),
    ),
    "scores that may be nearer to 0": ("multilabel", {**SIGMOID, "min_score": 0.0001}, [(1, 5)], set()),
    "an output that is not there": ("multilabel", {**SIGMOID, "output": 3}, [(1, 5)], set()),
}


@pytest.mark.parametrize("case", CASES)
def test_which_outputs_are_only_read_through_a_sigmoid(case: str):
    name, spec, shapes, wanted = CASES[case]
    recipe = replace(load_recipe(FASHION, "1.0.0").recipe, task=name, postprocess=Postprocess(**spec))
    task: Task = recipe.meaning
    assert through_sigmoid(task, shapes) == wanted
