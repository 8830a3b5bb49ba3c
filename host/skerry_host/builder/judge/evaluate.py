"""Evaluates a model on held-out samples, and the SQNR of the int8 model against the float one. Decides nothing.

Uses the device's own preprocessing; `tasks` know what a correct answer is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from skerry_agent.processing import Array, Feeding, dequantize, join_outputs
from skerry_agent.wire.manifest import ChannelSignal, Figure, Quality
from skerry_host.builder.data.kept import fitting
from skerry_host.builder.data.samples import Samples
from skerry_host.builder.judge.intervals import bootstrapped, wilson
from skerry_host.builder.judge.signal import CEILING_DB, as_seen, sqnr_db
from skerry_host.builder.judge.tasks.base import Expected, Known, Measure, View, view_of
from skerry_host.builder.judge.tasks.table import AGREEMENTS, measure
from skerry_host.builder.modelfile.describe import describe_any
from skerry_host.builder.modelfile.joins import joined_names
from skerry_host.builder.recipe.progress import Progress, silent
from skerry_host.builder.recipe.recipe import Recipe, Task
from skerry_host.builder.recipe.through_sigmoid import through_sigmoid
from skerry_host.builder.runtime.session import run_all

Interval = tuple[float, float]
OF_CLASSES = {"classification", "embedding"}
"""Tasks whose truth is one class for each sample."""


@dataclass(frozen=True, slots=True)
class Score:
    """The task's metric with its 95 % interval; `outputs` are real values (N, ...) by name, as the source has them.

    `labels` (N,) are of the same samples in the same order, None where they have none. `through_sigmoid` names the
    outputs that are only read through one. The rest is as in `Measure`.
    """

    metric: str
    samples: int
    value: float
    interval: Interval
    outputs: Mapping[str, Array]
    labels: Array | None = None
    better: Literal["higher", "lower"] = "higher"
    unit: str = ""
    figures: tuple[Figure, ...] = ()
    chance: float | None = None
    one_answer: float | None = None
    through_sigmoid: frozenset[str] = frozenset()

    @property
    def tells_apart(self) -> bool:
        """Whether the metric alone shows that the answers follow the samples: no single answer would reach it."""
        return self.one_answer is not None and self.interval[0] > self.one_answer

    def beats(self, constant: float) -> bool:
        """Whether it is surely better than a value; where samples are all alike no bootstrap says how few they are."""
        low, high = self.interval
        if low == high and not self.unit:
            spread = 1 - wilson(self.samples, self.samples)[0]
            low, high = low - spread, high + spread
        return high < constant if self.better == "lower" else low > constant

    @property
    def repeats(self) -> bool:
        """Whether each single answer is the float model's: a model of classes can do no better, however few there are.

        Never by labels: a model that always says the same reaches that where all samples are of one class.
        """
        return self.one_answer is not None and self.metric in AGREEMENTS and self.value == 1.0


def evaluate(model: bytes, samples: Samples, feeding: Feeding, task: Task, progress: Progress = silent) -> Score:
    """Run a model over all samples and score its outputs; without labels and float outputs all are right."""
    inputs, left = fitting(samples.inputs, feeding, describe_any(model).input_specs())
    outputs = real_outputs(model, run_all(model, inputs, left, progress))
    return scored(model, outputs, samples, Asked(feeding, task))


@dataclass(frozen=True, slots=True)
class Asked:
    """How samples become the inputs of a model, and what its outputs mean."""

    feeding: Feeding
    task: Task


def scored(model: bytes, outputs: Mapping[str, Array], samples: Samples, asked: Asked) -> Score:
    """The score of what a model has answered to all samples: its real-valued outputs (N, ...) by name."""
    view = view_of(describe_any(model), asked.feeding, samples)
    return score_of(Answered(outputs, samples, asked.task, view), labels_of(samples, asked.task))


@dataclass(frozen=True, slots=True)
class Answered:
    """A model's real-valued outputs (N, ...) by name, with all that it takes to measure them."""

    outputs: Mapping[str, Array]
    expected: Expected
    task: Task
    view: View

    def measure(self) -> Measure:
        """By the task's rules."""
        return measure(list(self.outputs.values()), self.expected, self.task, self.view)

    def only(self, chosen: Array) -> "Answered":
        """Those of some samples, by index."""
        truth, reference = self.expected.truth, self.expected.reference
        return Answered(
            {name: part[chosen] for name, part in self.outputs.items()},
            Known(
                None if truth is None else [truth[int(at)] for at in chosen],
                None if reference is None else tuple(part[chosen] for part in reference),
                len(chosen),
            ),
            self.task,
            self.view,
        )


def score_of(answered: Answered, labels: Array | None = None, measured: Measure | None = None) -> Score:
    """The score of all answers; where the metric is no mean of samples its interval is the task's, or bootstrapped.

    `measured` is what `answered.measure` gives, where that is known already.
    """
    found, count = measured or answered.measure(), len(answered.expected)
    return Score(
        metric=found.metric,
        samples=count,
        value=found.value,
        interval=_interval(found, answered, count),
        outputs=answered.outputs,
        labels=labels,
        better=found.better,
        unit=found.unit,
        figures=found.figures,
        chance=found.chance,
        one_answer=found.one_answer,
        through_sigmoid=_through_sigmoid(answered),
    )


def _through_sigmoid(answered: Answered) -> frozenset[str]:
    names = [*answered.outputs]
    places = through_sigmoid(answered.task, [part.shape for part in answered.outputs.values()])
    return frozenset(names[place] for place in places)


def _interval(found: Measure, answered: Answered, count: int) -> Interval:
    if found.interval is not None:
        return found.interval
    if found.marks is not None:
        return wilson(int(found.marks.sum()), count)
    return bootstrapped(lambda chosen: answered.only(chosen).measure().value, count)


def labels_of(samples: Samples, task: Task) -> Array | None:
    """The class of each sample (N,), None where truth is something else, or nobody has said."""
    return samples.classes if samples.truth is not None and task.name in OF_CLASSES else None


def real_outputs(model: bytes, raw: Sequence[Array]) -> dict[str, Array]:
    """The real values of a model's outputs by name; parts of one output of the source are joined."""
    graph = describe_any(model)
    specs = graph.output_specs()
    real = [dequantize(part, spec) for spec, part in zip(specs, raw, strict=True)]
    names = joined_names([spec.name for spec in specs], graph.joins)
    return dict(zip(names, join_outputs(real, graph.joins), strict=True))


def answers_only(sqnr_db: Mapping[str, float], recipe: Recipe) -> dict[str, float]:
    """Of the outputs those whose signal counts: not states that are fed back, which are nobody's answer.

    They run away from the float model's over a stream; what that does to the answers is in the answers. Of a raw model
    nobody knows which is which.
    """
    states = set(recipe.feeding.feedback.values()) if recipe.task != "raw" else set()
    return {name: db for name, db in sqnr_db.items() if name not in states} or dict(sqnr_db)


def sqnr_by_output(float_score: Score, int8_score: Score) -> dict[str, float]:
    """SQNR in decibels of each output, at most `CEILING_DB` either way, matched by order: quantizers may rename.

    Of those that are only read through a sigmoid, as far as it tells their values apart.
    """
    pairs = zip(float_score.outputs.items(), int8_score.outputs.values(), strict=True)
    found = {}
    for (name, reference), got in pairs:
        seen = (as_seen(reference), as_seen(got)) if name in float_score.through_sigmoid else (reference, got)
        found[name] = max(-CEILING_DB, min(CEILING_DB, sqnr_db(*seen)))
    return found


def one_sided(reference: Score | None) -> str:
    """A warning where the float model, by which answers are judged, gives the same one for all samples; else empty."""
    if reference is None or reference.metric not in AGREEMENTS or reference.one_answer != 1.0:
        return ""
    return (
        f"the float model gives the same class for all {reference.samples} samples: that the int8 model gives it, too, "
        "does not show that it tells classes apart; give samples of several, or labels"
    )


def quality(
    reference: Score | None, score: Score, sizes: tuple[int, int], channels: tuple[ChannelSignal, ...] = ()
) -> Quality:
    """All of it as a record has it; `sizes` are the bytes of the source and of the model.

    Without `reference` there is no float model to compare with.
    """
    float_bytes, int8_bytes = sizes
    return Quality(
        metric=score.metric,
        samples=score.samples,
        float_value=reference.value if reference else None,
        int8_value=score.value,
        float_interval=reference.interval if reference else None,
        int8_interval=score.interval,
        sqnr_db=sqnr_by_output(reference, score) if reference else {},
        float_bytes=float_bytes if reference else None,
        int8_bytes=int8_bytes,
        figures=_figures(reference, score),
        better=score.better,
        unit=score.unit,
        channels=channels,
    )


def _figures(reference: Score | None, score: Score) -> tuple[Figure, ...]:
    """The further figures of both models, side by side; of one that the float model lacks its value is None."""
    known = {one.name: one.int8_value for one in reference.figures} if reference else {}
    return tuple(Figure(one.name, known.get(one.name), one.int8_value, one.better, one.unit) for one in score.figures)
