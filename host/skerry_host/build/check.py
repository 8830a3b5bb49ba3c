"""Scores a model file that is at hand, float or int8, with the data of a recipe. Builds nothing."""

from math import prod
from pathlib import Path

from skerry_host.build.data import load_data
from skerry_host.build.evaluate import Score, evaluate
from skerry_host.build.probe import probe
from skerry_host.build.recipe import load_recipe
from skerry_host.build.session import Session


def check_model(file: Path, recipe: Path) -> Score:
    """Evaluate `file` on the held-out samples of `recipe`; raises `ModelError`, `RecipeError`."""
    loaded = load_recipe(recipe)
    probe(file).require_runs(file)
    session = Session(file.read_bytes())
    data = load_data(loaded, session.input, prod(session.outputs[0].shape[1:]))
    return evaluate(session, data.evaluation, loaded.recipe.preprocess, loaded.recipe.task)
