"""Evaluates an existing model file, float or int8, TFLite or ONNX, with the data of a recipe. Builds nothing."""

import tempfile
from dataclasses import replace
from pathlib import Path

from skerry_host.builder.data.load import load_data
from skerry_host.builder.data.meaning import class_count, settled
from skerry_host.builder.judge.evaluate import Score, evaluate
from skerry_host.builder.judge.tasks.table import has_measure
from skerry_host.builder.modelfile.describe import describe_any
from skerry_host.builder.modelfile.joins import joined_specs
from skerry_host.builder.recipe.errors import ModelError
from skerry_host.builder.recipe.recipe import LoadedRecipe, load_recipe
from skerry_host.builder.runtime.probe import probe
from skerry_host.builder.sources import onnx
from skerry_host.builder.sources.kinds import kind_of
from skerry_host.builder.sources.load import load_source
from skerry_host.builder.targets.base import TargetBuilder, fitted
from skerry_host.builder.targets.table import for_file


def check_model(file: Path, recipe: Path) -> Score:
    """Evaluate `file` on the held-out samples of `recipe`; raises `ModelError`, `RecipeError`.

    Where labels do not say what is right, the recipe's source is converted and compared with.
    """
    loaded = load_recipe(recipe)
    builder = for_file(".onnx" if kind_of(file) == "onnx" else ".tflite")
    model = _checked_model(file, builder, loaded)
    graph = describe_any(model)
    if not graph.inputs or not graph.outputs or not graph.ops:
        sizes = f"{len(graph.inputs)} inputs, {len(graph.outputs)} outputs and {len(graph.ops)} operators"
        raise ModelError(f"{file} has {sizes}", hint="there is nothing to evaluate", code="unfit")
    tensors = graph.input_specs()
    loaded = replace(loaded, recipe=fitted(loaded.recipe.for_inputs(tensors), graph, builder))
    outputs = joined_specs(graph.output_specs(), graph.joins)
    loaded = settled(loaded, outputs)
    feeding, meaning = loaded.recipe.feeding, loaded.recipe.meaning
    classes = class_count(loaded.recipe, outputs)
    samples = load_data(loaded, tensors, classes).evaluation
    if not has_measure(samples, meaning):
        source = builder.float_model(load_source(loaded.source, loaded.recipe.source))
        samples = samples.compared_with(evaluate(source, samples, feeding, meaning).outputs.values())
    return evaluate(model, samples, feeding, meaning)


def _checked_model(file: Path, builder: TargetBuilder, loaded: LoadedRecipe) -> bytes:
    """The model, which a child process has run."""
    if builder.target.suffix == ".onnx":
        with tempfile.TemporaryDirectory(prefix="skerry-check-") as folder:
            return onnx.prepare(file, loaded.recipe.source, Path(folder))[0].read_bytes()
    probe(file).require_runs(file)
    return file.read_bytes()
