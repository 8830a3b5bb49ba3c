"""Evaluates an existing model file, float or int8, TFLite or ONNX, with the data of a recipe. Builds nothing."""

import tempfile
from dataclasses import replace
from pathlib import Path

import msgspec

from skerry_host.builder.data.samples import class_count, load_data
from skerry_host.builder.judge.evaluate import Score, evaluate, expected
from skerry_host.builder.judge.tasks.table import has_measure
from skerry_host.builder.modelfile.describe import describe_any
from skerry_host.builder.recipe.errors import ModelError
from skerry_host.builder.recipe.recipe import LoadedRecipe, load_recipe
from skerry_host.builder.runtime.probe import probe
from skerry_host.builder.sources import onnx
from skerry_host.builder.sources.kinds import kind_of
from skerry_host.builder.sources.load import load_source
from skerry_host.builder.targets.base import TargetBuilder
from skerry_host.builder.targets.table import for_file


def check_model(file: Path, recipe: Path) -> Score:
    """Evaluate `file` on the held-out samples of `recipe`; raises `ModelError`, `RecipeError`.

    Where labels do not say what is right, the recipe's source is converted and compared with.
    """
    loaded = load_recipe(recipe)
    builder = for_file(".onnx" if kind_of(file) == "onnx" else ".tflite")
    model = _checked_model(file, builder, loaded)
    graph = describe_any(model)
    if len(graph.inputs) != 1 or not graph.outputs or not graph.ops:
        sizes = f"{len(graph.inputs)} inputs, {len(graph.outputs)} outputs and {len(graph.ops)} operators"
        raise ModelError(f"{file} has {sizes}", hint="only models with one input can be evaluated", code="unfit")
    prep, meaning = builder.preprocess(loaded.recipe.preprocess, graph), loaded.recipe.meaning
    loaded = replace(loaded, recipe=msgspec.structs.replace(loaded.recipe, preprocess=prep))
    classes = class_count(loaded.recipe, graph.output_specs())
    samples = load_data(loaded, graph.input_specs()[0], classes).evaluation
    if not has_measure(expected(samples), meaning):
        source = builder.float_model(load_source(loaded.source, loaded.recipe.source))
        samples = samples.compared_with(evaluate(source, samples, prep, meaning).outputs.values())
    return evaluate(model, samples, prep, meaning)


def _checked_model(file: Path, builder: TargetBuilder, loaded: LoadedRecipe) -> bytes:
    """The model, which a child process has run."""
    if builder.target.suffix == ".onnx":
        with tempfile.TemporaryDirectory(prefix="skerry-check-") as folder:
            return onnx.prepare(file, loaded.recipe.source.shapes, Path(folder))[0].read_bytes()
    probe(file).require_runs(file)
    return file.read_bytes()
