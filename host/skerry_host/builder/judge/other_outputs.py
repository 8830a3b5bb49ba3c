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
from skerry_host.builder.data.meaning import settled
from skerry_host.builder.data.samples import Samples
from skerry_host.builder.judge.evaluate import Answered, real_outputs, score_of
from skerry_host.builder.judge.gates import guesses
from skerry_host.builder.judge.tasks.base import view_of
from skerry_host.builder.modelfile.describe import describe_any
from skerry_host.builder.modelfile.joins import joined_specs
from skerry_host.builder.recipe.recipe import LoadedRecipe
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
    """Which other output does better than guessing, with its figure: what to write. Empty if none does."""
    graph = describe_any(model)
    outputs = joined_specs(graph.output_specs(), graph.joins)
    places = other_places(loaded, outputs)
    if not places:
        return ""
    samples = samples.every(-(-len(samples) // MOST))
    feeding = loaded.recipe.feeding
    real, view = real_outputs(model, run_all(model, samples.inputs, feeding)), view_of(graph, feeding, samples)
    for place in places:
        found = None
        with contextlib.suppress(SkerryError, ValueError, IndexError, TypeError):  # an output of another kind
            task = with_output(loaded, place, outputs).recipe.meaning
            found = score_of(Answered(real, samples, task, view))
        if found is not None and found.chance is not None and not guesses(found.interval, found.chance, found.better):
            words = f"the float model has {found.metric} {in_its_unit(found.value, found.unit)} by it"
            return f"output = {place} in [postprocess] ({outputs[place].name}) was tried and fits: {words}"
    return ""
