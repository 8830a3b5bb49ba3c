"""All tasks by their names, and the one entry to measure with them."""

import numpy as np

from skerry_agent.wire.manifest import DETECTION
from skerry_host.builder.judge.tasks import (
    classification,
    detection,
    embedding,
    events,
    keypoints,
    multilabel,
    raw,
    regression,
    segmentation,
    sequence,
)
from skerry_host.builder.judge.tasks.base import Case, Expected, Measure, Outputs, TaskRules, View, pooled, share
from skerry_host.builder.recipe.recipe import Task

TASKS: dict[str, TaskRules] = {
    "classification": classification.RULES,
    "multilabel": multilabel.RULES,
    "detection": detection.RULES,
    "segmentation": segmentation.RULES,
    "keypoints": keypoints.RULES,
    "regression": regression.RULES,
    "embedding": embedding.RULES,
    "sequence": sequence.RULES,
    "events": events.RULES,
    "raw": raw.RULES,
}
"""A new task is a file and an entry here."""
AGREEMENTS = {rules.agreement for rules in TASKS.values()}
"""Metrics that compare with the float model: where there is none, a model agrees with itself."""


def measure(outputs: Outputs, expected: Expected, meaning: Task, view: View) -> Measure:
    """Measure real-valued outputs (N, ...) by the task's rules.

    Without truth and float outputs the outputs are the measure themselves: all are right. Raises `RecipeError`
    (postprocess) when they are boxes that nothing can be compared with.
    """
    rules, case = TASKS[meaning.name], Case(meaning, view)
    if expected.truth is not None and rules.judge is not None:
        return rules.judge(outputs, expected.truth, case)
    if expected.reference is not None:
        return rules.agree(outputs, expected.reference, case)
    require(outputs, meaning, view)
    if not rules.by_sample:
        return pooled(rules.agreement, lambda _chosen: 1.0, len(expected))
    return share(rules.agreement, np.ones(len(expected), bool))


def has_measure(expected: Expected, meaning: Task) -> bool:
    """Whether truth says what is right, so that no float model is needed."""
    return expected.truth is not None and TASKS[meaning.name].judge is not None


def one_by_one(expected: Expected, meaning: Task) -> bool:
    """Whether each sample is right or wrong whatever the others are."""
    rules = TASKS[meaning.name]
    return rules.one_by_one or (rules.by_sample and not has_measure(expected, meaning))


def require(outputs: Outputs, meaning: Task, view: View) -> None:
    """Refuse outputs that agree with anything, such as boxes in no sample: raises `RecipeError`."""
    rules = TASKS[meaning.name]
    if rules.require is not None:
        rules.require(outputs, Case(meaning, view))


def judged_outputs(meaning: Task, outputs: int) -> range:
    """The places of the outputs that a task's answers are read from, all of them; none where the metric is of numbers.

    Errors of numbers are pooled, and a small number is lost beside large ones: their signal counts.
    """
    if meaning.name in {"regression", "embedding", "raw"}:
        return range(0)
    spec = meaning.postprocess
    if meaning.name == DETECTION and spec.decoder in {"ssd", "decoded"}:
        return range(outputs if outputs <= SEPARATE[spec.decoder] else 0)
    return range(spec.output, min(spec.output + 1, outputs))


SEPARATE = {"ssd": 2, "decoded": 4}
"""Outputs of detectors that give boxes and scores apart: with more nobody says which ones are read."""


def has_seen(outputs: Outputs, meaning: Task, view: View) -> bool:
    """Whether outputs already show what `require` asks for; raises `RecipeError` where they never will."""
    rules = TASKS[meaning.name]
    return rules.seen is None or rules.seen(outputs, Case(meaning, view))
