"""Positive answers: how often a model gives them, and that golden inputs have some, of every class. Decides no gate.

A detector's answer is positive with a box; a classifier's when it is not the class that the recipe declares to mean
that nothing is there. Other answers are neither.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from skerry_agent.processing import Array, GoldenSet, dequantize, join_outputs
from skerry_agent.wire.manifest import CLASSIFICATION, DETECTION, Baseline
from skerry_host.builder.data.samples import Samples
from skerry_host.builder.judge.golden import choose
from skerry_host.builder.judge.tasks.base import Case, Size, View
from skerry_host.builder.judge.tasks.detection import NOTHING, best
from skerry_host.builder.modelfile.graph import Graph
from skerry_host.builder.recipe.recipe import Recipe
from skerry_host.builder.runtime.session import Session, Sessions, is_stateful

SCANNED = 512
"""Held-out samples among which golden ones are looked for."""
NAMED = 5


def baseline(outputs: Sequence[Array], recipe: Recipe, size: Size) -> Baseline | None:
    """How usual positive answers are among real-valued outputs (N, ...); None where none is positive or negative.

    `size` is the input's height and width in pixels.
    """
    negative = recipe.labels.negative_index
    if recipe.task == DETECTION:
        found = best(outputs, Case(recipe.meaning, View(size))) != NOTHING
    elif recipe.task == CLASSIFICATION and negative is not None:
        found = _largest(outputs[0]) != negative
    else:
        return None
    return Baseline(float(found.mean()), len(found), negative if recipe.task == CLASSIFICATION else None)


def by_answer(model: bytes, samples: Samples, recipe: Recipe, size: Size) -> Samples:
    """At most `SCANNED` of the samples, labelled by what the model answers, for `golden.record` to take in turn.

    Of a labelled class only samples that are answered rightly, if there are any. A stateful model gets all of them in
    their order, and so do tasks whose answers are of no class.
    """
    session = Session(model)
    if recipe.task not in {CLASSIFICATION, DETECTION} or is_stateful(session.graph, recipe.feeding):
        return samples
    chosen = np.array(choose(samples.classes, SCANNED))
    raw = Sessions(model, recipe.feeding, len(chosen)).run(samples.inputs, chosen)
    real = _real(raw, session.graph)
    if recipe.task == DETECTION:
        return replace(samples.subset(chosen), truth=list(best(real, Case(recipe.meaning, View(size)))))
    answers, labels = _largest(real[0]), samples.classes[chosen]
    if samples.truth is None:
        return replace(samples.subset(chosen), truth=list(answers))
    right = answers == labels
    kept = right | ~np.isin(labels, labels[right])
    return samples.subset(chosen[kept])


def problem(golden: GoldenSet, graph: Graph, recipe: Recipe, size: Size) -> str:
    """Why golden outputs show nothing of what the model is for; empty if they do."""
    real = _real(golden.outputs, graph)
    shown = baseline(real, recipe, size)
    if shown is None or shown.positive_rate > 0:
        return ""
    what = "a box in it" if recipe.task == DETECTION else f"another answer than {recipe.labels.negative!r}"
    return f"none of {len(golden)} golden inputs has {what}: give evaluation samples that show what the model is for"


def remark(golden: GoldenSet, samples: Samples, recipe: Recipe) -> str:
    """Which classes of the evaluation samples no golden input is answered with; empty if there are none."""
    if recipe.task != CLASSIFICATION or samples.truth is None:
        return ""
    there = set(np.unique(samples.classes).tolist())
    missing = sorted(there - set(_largest(golden.outputs[0]).tolist()))
    if not missing:
        return ""
    names = recipe.labels.names
    some = [names[at] if at < len(names) else str(at) for at in missing[:NAMED]]
    rest = f" and {len(missing) - NAMED} more" if len(missing) > NAMED else ""
    return f"no golden input is answered with {', '.join(some)}{rest}: {len(missing)} of {len(there)} classes"


def _largest(outputs: Array) -> Array:
    """The index of the largest output of each sample (N,)."""
    indices: Array = outputs.reshape(len(outputs), -1).argmax(axis=1)
    return indices


def _real(raw: Sequence[Array], graph: Graph) -> list[Array]:
    """The real values of a model's outputs, in the order of its source's."""
    real = [dequantize(part, spec) for part, spec in zip(raw, graph.output_specs(), strict=True)]
    return join_outputs(real, graph.joins)
