"""Keys of [postprocess] that do not go together are named before a model is looked at."""

import pytest

from skerry_agent.wire.postprocess import Postprocess
from skerry_host.builder.recipe.postprocess import postprocess_problems

ANCHORS = (((10.0, 12.0),),)
WRONG = {
    "uneven grids": ("detection", Postprocess("ssd", strides=(8, 16), per_cell=(2,)), "2 strides, but 1 per_cell"),
    "grids without strides": ("detection", Postprocess("yolo", head="dfl"), "strides: head 'dfl' needs"),
    "too few anchors": (
        "detection",
        Postprocess("yolo", head="v5", strides=(8, 16), anchors=ANCHORS),
        "2 strides, but anchors of 1 levels",
    ),
    "no anchors": ("detection", Postprocess("anchors", strides=(8,)), "1 strides, but anchors of 0 levels"),
    "corners of anchors": (
        "detection",
        Postprocess("anchors", strides=(8,), anchors=ANCHORS, format="xyxy"),
        "cxcywh or cycxhw, not xyxy",
    ),
    "three variances": ("detection", Postprocess("decoded", variances=(1, 1, 1)), "3 numbers, there are 4"),
    "a decoder of classes": ("detection", Postprocess("classes"), "'classes' finds no boxes, use one of ssd"),
    "boxes of a classifier": ("classification", Postprocess("yolo"), "is for detection, the task is classification"),
    "two places across": ("keypoints", Postprocess(columns="xx"), "needs one x, one y"),
    "offsets from nowhere": ("keypoints", Postprocess(offsets=1), "set heatmaps = true"),
}


@pytest.mark.parametrize("case", WRONG)
def test_keys_that_do_not_go_together_are_named(case: str):
    task, spec, message = WRONG[case]
    (problem,) = postprocess_problems(task, spec)
    assert message in problem


RIGHT = {
    "grids of YOLO need no per_cell": ("detection", Postprocess("yolo", head="v5", strides=(8,), anchors=ANCHORS)),
    "grids without anchors": ("detection", Postprocess("yolo", head="x", strides=(8, 16, 32))),
    "levels of anchors": ("detection", Postprocess("anchors", strides=(8,), anchors=ANCHORS, variances=(1, 1, 2, 2))),
    "cells": ("detection", Postprocess("ssd", strides=(8, 16), per_cell=(2, 6))),
    "points": ("keypoints", Postprocess(columns="yxs-", presence=1)),
    "nothing": ("segmentation", Postprocess()),
}


@pytest.mark.parametrize("case", RIGHT)
def test_keys_that_go_together_are_taken(case: str):
    assert postprocess_problems(*RIGHT[case]) == []
