"""What a recipe leaves open is found in the model's outputs and the labels, and written down for the device."""

import dataclasses

import pytest
from msgspec.structs import replace

from skerry_agent.wire.manifest import Postprocess, TensorSpec
from skerry_host.builder.data.meaning import class_count, settled
from skerry_host.builder.recipe.errors import RecipeError
from skerry_host.builder.recipe.labels import Labels
from skerry_host.builder.recipe.recipe import LoadedRecipe, load_recipe
from tests.kit.recipes import FASHION


def outputs(*shapes: tuple[int, ...], dtype: str = "float32", scale: float = 0.0) -> list[TensorSpec]:
    return [TensorSpec(f"out_{at}", dtype, shape, scale) for at, shape in enumerate(shapes)]


@pytest.fixture(scope="module")
def fashion() -> LoadedRecipe:
    return load_recipe(FASHION)


def recipe(fashion: LoadedRecipe, task: str, names: int = 0, **spec) -> LoadedRecipe:
    labels = Labels(tuple(map(str, range(names))))
    made = replace(fashion.recipe, task=task, labels=labels, postprocess=Postprocess(**spec))
    return dataclasses.replace(fashion, recipe=made)


SETTLED = {
    "a single score": ("classification", 2, {}, outputs((1, 1)), {"decoder": "classes"}, 2),
    "scores of classes": ("classification", 5, {}, outputs((1, 5)), {}, 5),
    "a class that means nothing": ("classification", 4, {"background": 0}, outputs((1, 5)), {"decoder": "classes"}, 4),
    "another output": ("classification", 5, {"output": 1}, outputs((1, 9), (1, 5)), {"decoder": "classes"}, 5),
    "another form": ("detection", 0, {"format": "xyxy"}, outputs((1, 9, 4), (1, 9, 3)), {"decoder": "boxes"}, 3),
    "boxes as of old": ("detection", 3, {}, outputs((1, 9, 4), (1, 9, 3)), {}, 3),
    "anchors as of old": (
        "detection", 1, {"decoder": "ssd", "strides": (8,), "per_cell": (2,)}, outputs((1, 9, 16), (1, 9, 1)), {}, 1,
    ),
    "anchors and any overlap": (
        "detection", 1, {"decoder": "ssd", "nms": "agnostic"}, outputs((1, 9, 16), (1, 9, 1)), {"decoder": "cells"}, 1,
    ),
    "rows of box and scores": (
        "detection", 0, {"scores": 0}, outputs((1, 9, 7)), {"decoder": "boxes"}, 3,
    ),
    "few boxes of YOLO": (
        "detection", 20, {"decoder": "yolo"}, outputs((1, 24, 6)), {"rows": "last"}, 20,
    ),
    "poses behind the classes": (
        "detection", 1, {"decoder": "yolo"}, outputs((1, 56, 2100)), {"class_count": 1}, 1,
    ),
    "classes of pixels": ("segmentation", 0, {}, outputs((1, 8, 8), dtype="int64"), {"indices": True}, 0),
    "maps of scores": ("segmentation", 0, {}, outputs((1, 8, 8, 3), dtype="int8", scale=0.1), {}, 3),
    "times behind the symbols": ("sequence", 9, {}, outputs((1, 10, 25)), {"rows": "last"}, 0),
    "times before the symbols": ("sequence", 9, {}, outputs((1, 25, 10)), {"rows": "first"}, 0),
}  # fmt: skip


@pytest.mark.parametrize("case", SETTLED)
def test_the_outputs_complete_what_is_said_of_them(fashion: LoadedRecipe, case: str):
    task, names, spec, tensors, added, classes = SETTLED[case]
    made = settled(recipe(fashion, task, names, **spec), tensors).recipe
    assert made.postprocess == Postprocess(**{**spec, **added})
    assert class_count(made, tensors) == classes
    assert settled(recipe(fashion, task, names, **spec), tensors).recipe == made  # and again changes nothing


MISSING = {
    "output": ("regression", {"output": 2}),
    "presence": ("keypoints", {"presence": 3}),
    "boxes": ("detection", {"boxes": 2}),
}


@pytest.mark.parametrize("key", MISSING)
def test_an_output_that_is_not_there_is_named_with_those_that_are(fashion: LoadedRecipe, key: str):
    task, spec = MISSING[key]
    with pytest.raises(RecipeError, match=rf"{key}: output \d is named, the model has 1: out_0"):
        settled(recipe(fashion, task, **spec), outputs((1, 5)))


def test_an_alphabet_that_fits_another_output_names_it(fashion: LoadedRecipe):
    with pytest.raises(RecipeError, match=r"or output = 1 in \[postprocess\], which has as many \(not tried\)"):
        settled(recipe(fashion, "sequence", 10), outputs((1, 40, 12), (1, 40, 11)))


@pytest.mark.parametrize(("shape", "rows"), [((1, 40, 12), ""), ((1, 12, 40), "last")])
def test_an_alphabet_without_the_space_that_the_model_has_is_refused_by_its_length(fashion, shape, rows: str):
    with pytest.raises(RecipeError, match="10 names and the blank, the model has 12 symbols"):
        settled(recipe(fashion, "sequence", 10, rows=rows), outputs(shape))
    settled(recipe(fashion, "sequence", 11, rows=rows), outputs(shape))
