"""Scores a model file that is at hand, float or int8, with the data of a recipe. Builds nothing."""

from math import prod
from pathlib import Path

from skerry_host.build.data import load_data
from skerry_host.build.errors import ModelError
from skerry_host.build.evaluate import Score, evaluate
from skerry_host.build.graph import describe
from skerry_host.build.probe import probe
from skerry_host.build.recipe import load_recipe
from skerry_host.build.tflite import read_model


def check_model(file: Path, recipe: Path) -> Score:
    """Evaluate `file` on the held-out samples of `recipe`; raises `ModelError`, `RecipeError`."""
    loaded = load_recipe(recipe)
    probe(file).require_runs(file)
    model = file.read_bytes()
    graph = describe(read_model(model))
    if len(graph.inputs) != 1 or not graph.outputs or not graph.ops:
        ends = f"{len(graph.inputs)} inputs, {len(graph.outputs)} outputs and {len(graph.ops)} operators"
        raise ModelError(f"{file} has {ends}", hint="only models with one input can be evaluated", code="unfit")
    data = load_data(loaded, graph.input_specs()[0], prod(graph.output_specs()[0].shape[1:]))
    return evaluate(model, data.evaluation, loaded.recipe.preprocess, loaded.recipe.meaning)
