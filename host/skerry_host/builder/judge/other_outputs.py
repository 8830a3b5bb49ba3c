"""Looks whether another output of a model is the one that a recipe means, where the named one tells nothing.

The float model answers some evaluation samples, and the task's figure is measured of each other output. Changes no
recipe: the build says what was found.
"""

import contextlib
from collections.abc import Sequence
from dataclasses import replace

import msgspec

from skerry_agent.wire.errors import SkerryError
from skerry_agent.wire.manifest import TensorSpec
from skerry_host.builder.data.meaning import class_count, settled
from skerry_host.builder.data.samples import Samples
from skerry_host.builder.judge.evaluate import Answered, real_outputs, score_of
from skerry_host.builder.judge.gates import guesses
from skerry_host.builder.judge.tasks.base import view_of
from skerry_host.builder.modelfile.describe import describe_any
from skerry_host.builder.modelfile.joins import joined_specs
from skerry_host.builder.recipe.recipe import LoadedRecipe, Recipe
from skerry_host.builder.runtime.session import run_all
from skerry_host.metric_words import in_its_unit

MOST = 200
"""Samples that are answered for it."""
_NONE = {"raw", "embedding", "detection"}
"""Tasks without the key `output`, or whose boxes and scores are keys of their own."""


def with_output(loaded: LoadedRecipe, place: int, outputs: Sequence[TensorSpec]) -> LoadedRecipe:
    """The recipe as it would be with `output = place`; raises `RecipeError`."""
    postprocess = msgspec.structs.replace(loaded.recipe.postprocess, output=place)
    return settled(replace(loaded, recipe=msgspec.structs.replace(loaded.recipe, postprocess=postprocess)), outputs)


def other_places(loaded: LoadedRecipe, outputs: Sequence[TensorSpec]) -> list[int]:
    """The places of the outputs that the recipe could have named."""
    recipe = loaded.recipe
    return [] if recipe.task in _NONE else [at for at in range(len(outputs)) if at != recipe.postprocess.output]


def better_output(model: bytes, samples: Samples, loaded: LoadedRecipe) -> str:
    """What to write where another output does better than guessing, with its figure.

    Else which one has as many classes as the labels, which the named one has not. Empty where there is neither.
    """
    graph = describe_any(model)
    outputs = joined_specs(graph.output_specs(), graph.joins)
    places = other_places(loaded, outputs)
    if not places:
        return ""
    samples = samples.every(-(-len(samples) // MOST))
    feeding = loaded.recipe.feeding
    real, view = real_outputs(model, run_all(model, samples.inputs, feeding)), view_of(graph, feeding, samples)
    classes, fitting = _classes(loaded.recipe, samples), ""
    for place in places:
        found = None
        with contextlib.suppress(SkerryError, ValueError, IndexError, TypeError):  # an output of another kind
            other = with_output(loaded, place, outputs).recipe
            found = score_of(Answered(real, samples, other.meaning, view))
        if found is None or found.chance is None:
            continue
        named = f"output = {place} in [postprocess] ({outputs[place].name})"
        figure = f"{found.metric} {in_its_unit(found.value, found.unit)}"
        if not guesses(found.interval, found.chance, found.better):
            return f"{named} was tried and fits: the float model has {figure} by it"
        if classes == class_count(other, outputs) != class_count(loaded.recipe, outputs):
            fitting = f"{named} has the {classes} classes of the labels, but was tried and guesses as well ({figure})"
    return fitting


def _classes(recipe: Recipe, samples: Samples) -> int:
    """How many classes the labels tell apart; 0 where they are no classes."""
    if recipe.task != "classification" or samples.truth is None:
        return 0
    return len(recipe.labels.names) or int(max(samples.classes)) + 1
