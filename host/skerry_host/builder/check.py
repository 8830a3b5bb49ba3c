"""Evaluates an existing model, float or int8, of every kind that a build takes, with the data of a recipe.

Builds nothing. A TFLite file that runs is evaluated as it is; whatever a build would convert is converted first.
"""

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
from skerry_host.builder.recipe.progress import Progress, silent
from skerry_host.builder.recipe.recipe import LoadedRecipe, load_recipe
from skerry_host.builder.runtime.probe import probe
from skerry_host.builder.sources import onnx
from skerry_host.builder.sources.kinds import kind_of
from skerry_host.builder.sources.load import load_source, without_custom_operators
from skerry_host.builder.targets.base import fitted
from skerry_host.builder.targets.table import for_file


def check_model(file: Path, recipe: Path, progress: Progress = silent, *, trusted: bool = False) -> Score:
    """Evaluate `file` on the held-out samples of `recipe`; raises `ModelError`, `RecipeError`.

    Where labels do not say what is right, the recipe's source is converted and compared with. `trusted` lets a model
    that carries code run it.
    """
    loaded = load_recipe(recipe)
    builder = for_file(".onnx" if kind_of(file) == "onnx" else ".tflite")
    progress("checking the model")
    model = _checked_model(file, loaded, progress, trusted=trusted)
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
    samples = load_data(loaded, tensors, classes, progress).evaluation
    if not has_measure(samples, meaning):
        converted = load_source(loaded.source, loaded.recipe.opening, progress, trusted=trusted)
        reference = evaluate(builder.float_model(converted), samples, feeding, meaning, progress)
        samples = samples.compared_with(reference.outputs.values())
    return evaluate(model, samples, feeding, meaning, progress)


def _checked_model(file: Path, loaded: LoadedRecipe, progress: Progress, *, trusted: bool) -> bytes:
    """The model, which a child process has run; raises `ModelError`."""
    plan, kind = loaded.recipe.opening, kind_of(file)
    if kind == "onnx":
        with tempfile.TemporaryDirectory(prefix="skerry-check-") as folder:
            return onnx.prepare(file, plan, Path(folder))[0].read_bytes()
    if kind == "tflite" and not _is_chosen_from(file, loaded):
        _done, data, found = without_custom_operators(str(file), file.read_bytes(), probe(file))
        if not found.graph.custom_ops:
            found.require_runs(file)
            return data
    return load_source(file, plan, progress, trusted=trusted).data


def _is_chosen_from(file: Path, loaded: LoadedRecipe) -> bool:
    """Whether it is the recipe's source, of which the recipe takes a part: a signature, sizes, values of inputs."""
    plan = loaded.recipe.opening
    return bool(plan.signature or plan.shapes or plan.constants) and file.resolve() == loaded.source.resolve()
