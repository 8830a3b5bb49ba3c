"""Positive answers: how often a model gives them, and that golden inputs have some, of every class. Decides no gate.

A detector's answer is positive with a box, one of several classes or events with any, points with what they belong
to; a classifier's when it is not the class that the recipe declares to mean that nothing is there. Other answers are
neither.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np

from skerry_agent.processing import Array, Feeding, GoldenSet, dequantize, join_outputs
from skerry_agent.wire.manifest import CLASSIFICATION, DETECTION, Baseline
from skerry_host.builder.data.kept import fitting
from skerry_host.builder.data.samples import Samples
from skerry_host.builder.judge.evaluate import Score
from skerry_host.builder.judge.golden import choose
from skerry_host.builder.judge.tasks import classification
from skerry_host.builder.judge.tasks.base import Case, Classes, Size, TaskRules, View, input_size, picture_preprocess
from skerry_host.builder.judge.tasks.detection import NOTHING
from skerry_host.builder.judge.tasks.table import TASKS
from skerry_host.builder.modelfile.describe import describe_any
from skerry_host.builder.modelfile.graph import Graph
from skerry_host.builder.recipe.recipe import Recipe
from skerry_host.builder.runtime.session import Sessions, keeps_variables

SCANNED = 512
"""Held-out samples among which golden ones are looked for."""
NAMED = 5


def baseline(outputs: Sequence[Array], recipe: Recipe, size: Size) -> Baseline | None:
    """How usual positive answers are among real-valued outputs (N, ...); None where none is positive or negative.

    `size` is the input's height and width in pixels.
    """
    negative = recipe.labels.negative_index
    case = _case(recipe, size)
    if recipe.task == CLASSIFICATION:
        if negative is None:
            return None
        found = [frozenset({negative}) != shown for shown in classification.classes(outputs, case)]
    elif _has_positives(recipe):
        shown_by = TASKS[recipe.task].classes
        assert shown_by is not None
        found = [bool(shown) for shown in shown_by(outputs, case)]
    else:
        return None
    return Baseline(float(np.mean(found)), len(found), negative if recipe.task == CLASSIFICATION else None)


class Heard(Protocol):
    """What a model has answered already: `compare` of `paired` gives it."""

    @property
    def score(self) -> Score:
        """With real-valued outputs (M, ...)."""

    @property
    def places(self) -> Array:
        """Of the samples (M,) that these answer, in the set."""


def by_answer(model: bytes, samples: Samples, recipe: Recipe, size: Size, heard: Heard | None = None) -> Samples:
    """At most `SCANNED` of the samples, labelled by what the model answers, for `golden.record` to take in turn.

    Of a labelled class only samples that are answered rightly, if there are any; of several classes in a sample it is
    the rarest one. A model that keeps variables gets all samples in their order, and so do tasks whose answers are of
    no class; of one that is fed back what it said the first ones are labelled, for they are a stream. `heard` is what
    the model has answered before: it is not asked again.
    """
    graph, rules = describe_any(model), TASKS[recipe.task]
    if rules.classes is None or keeps_variables(graph):
        return samples
    if recipe.feeding.feedback:
        chosen = np.arange(min(SCANNED, len(samples)))
    else:
        chosen = np.array(choose(_kinds_of_truth(samples, rules), SCANNED))
    taken = samples.subset(chosen)
    shown = rules.classes(_answers(model, samples, chosen, recipe.feeding, heard), _case(recipe, size))
    if recipe.feeding.feedback:
        return replace(taken, truth=_rarest(shown))
    if recipe.task == CLASSIFICATION and taken.truth is not None:
        return _answered_rightly(taken, shown)
    if taken.truth is not None and rules.truth_classes is not None:
        shown = [said & there for said, there in zip(shown, rules.truth_classes(taken.truth), strict=True)]
    return replace(taken, truth=_rarest(shown))


def _answers(model: bytes, samples: Samples, chosen: Array, feeding: Feeding, heard: Heard | None) -> list[Array]:
    """The real-valued outputs (N, ...) for the chosen samples; the model runs only for those that are not heard.

    A stream of which one is not heard is run from its beginning.
    """
    rows = {} if heard is None else {int(place): row for row, place in enumerate(heard.places)}
    known = np.array([int(place) in rows for place in chosen], bool)
    if feeding.feedback and not known.all():
        known[:] = False
    fresh = [] if known.all() else _run(model, samples, chosen[~known], feeding)
    if heard is None or not known.any():
        return fresh
    taken = [rows[int(place)] for place in chosen[known]]
    made = []
    for at, part in enumerate(heard.score.outputs.values()):
        both = np.empty((len(chosen), *part.shape[1:]), part.dtype)
        both[known] = part[taken]
        if fresh:
            both[~known] = fresh[at]
        made.append(both)
    return made


def _run(model: bytes, samples: Samples, chosen: Array, feeding: Feeding) -> list[Array]:
    graph = describe_any(model)
    inputs, left = fitting(samples.inputs, feeding, graph.input_specs())
    return _real(Sessions(model, left, len(chosen)).run(inputs, chosen), graph)


def _answered_rightly(taken: Samples, shown: Classes) -> Samples:
    labels = taken.classes
    right = np.array([int(label) in said for label, said in zip(labels, shown, strict=True)])
    return taken.subset(np.flatnonzero(right | ~np.isin(labels, labels[right])))


def _kinds_of_truth(samples: Samples, rules: TaskRules) -> Array:
    """One class for each sample (N,): the rarest one that it has."""
    if samples.truth is None or rules.truth_classes is None:
        return np.zeros(len(samples), np.int64)
    return np.array(_rarest(rules.truth_classes(samples.truth)), np.int64)


def _rarest(shown: Classes) -> list[int]:
    """The class of each sample that fewest samples have, `NOTHING` where it has none."""
    counts = Counter(one for classes in shown for one in classes)
    return [min(classes, key=lambda one: (counts[one], one)) if classes else NOTHING for classes in shown]


def problem(golden: GoldenSet, graph: Graph, recipe: Recipe, size: Size) -> str:
    """Why golden outputs show nothing of what the model is for; empty if they do."""
    real = _real(golden.outputs, graph)
    shown = baseline(real, recipe, size)
    if shown is None or shown.positive_rate > 0:
        return ""
    what = "a box in it" if recipe.task == DETECTION else f"another answer than {recipe.labels.negative!r}"
    what = what if recipe.task in {DETECTION, CLASSIFICATION} else "anything in it"
    return f"none of {len(golden)} golden inputs has {what}: give evaluation samples that show what the model is for"


def remark(golden: GoldenSet, samples: Samples, graph: Graph, recipe: Recipe) -> str:
    """Which classes of the evaluation samples no golden input is answered with; empty if there are none."""
    rules = TASKS[recipe.task]
    if samples.truth is None or rules.classes is None or rules.truth_classes is None:
        return ""
    size = input_size(graph, recipe.feeding)
    shown = rules.classes(_real(golden.outputs, graph), _case(recipe, size))
    there = frozenset().union(*rules.truth_classes(samples.truth))
    missing = sorted(there - frozenset().union(*shown))
    if not missing:
        return ""
    names = recipe.labels.names
    some = [names[at] if at < len(names) else str(at) for at in missing[:NAMED]]
    rest = f" and {len(missing) - NAMED} more" if len(missing) > NAMED else ""
    return f"no golden input is answered with {', '.join(some)}{rest}: {len(missing)} of {len(there)} classes"


def _has_positives(recipe: Recipe) -> bool:
    """Whether answers of the task can be of nothing, and a device sees that as it does."""
    with_presence = recipe.task == "keypoints" and recipe.postprocess.presence is not None
    return recipe.task in {DETECTION, "multilabel", "events"} or with_presence


def _case(recipe: Recipe, size: Size) -> Case:
    return Case(recipe.meaning, View(size, picture_preprocess(recipe.feeding)))


def _real(raw: Sequence[Array], graph: Graph) -> list[Array]:
    """The real values of a model's outputs, in the order of its source's."""
    real = [dequantize(part, spec) for part, spec in zip(raw, graph.output_specs(), strict=True)]
    return join_outputs(real, graph.joins)
