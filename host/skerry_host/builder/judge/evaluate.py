"""Evaluates a model on held-out samples, and the SQNR of the int8 model against the float one. Decides nothing.

Uses the device's own preprocessing; `tasks` know what a correct answer is.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from skerry_agent.processing import Array, dequantize
from skerry_agent.wire.manifest import Preprocess, Quality
from skerry_host.builder.data.samples import Samples
from skerry_host.builder.judge.signal import CEILING_DB, sqnr_db
from skerry_host.builder.judge.tasks.base import Expected, Known, View, input_size
from skerry_host.builder.judge.tasks.table import measure
from skerry_host.builder.modelfile.describe import describe_any
from skerry_host.builder.recipe.progress import Progress, silent
from skerry_host.builder.recipe.recipe import Task
from skerry_host.builder.runtime.session import run_all

Z95 = 1.959963984540054
"""The 97.5 % quantile of the normal distribution: 95 % of it lie within."""


@dataclass(frozen=True, slots=True)
class Score:
    """The share of correct samples, with its 95 % interval; `outputs` are real values (N, ...) by name.

    `labels` (N,) are of the same samples in the same order, None where they have none.
    """

    metric: str
    samples: int
    value: float
    interval: tuple[float, float]
    outputs: Mapping[str, Array]
    labels: Array | None = None


def evaluate(model: bytes, samples: Samples, prep: Preprocess, task: Task, progress: Progress = silent) -> Score:
    """Run a model over all samples and score its outputs; without labels and float outputs all are right."""
    outputs = real_outputs(model, run_all(model, samples.inputs, prep, progress))
    view = View(input_size(describe_any(model), prep), prep)
    found = measure(list(outputs.values()), expected(samples), task, view)
    assert found.marks is not None
    right, labels = int(found.marks.sum()), samples.labels if samples.labelled else None
    return Score(found.metric, len(samples), right / len(samples), wilson(right, len(samples)), outputs, labels)


def expected(samples: Samples) -> Expected:
    """What is right for samples."""
    return Known(samples.labels if samples.labelled else None, samples.truth, len(samples))


def real_outputs(model: bytes, raw: Sequence[Array]) -> dict[str, Array]:
    """The real values of a model's outputs by name."""
    return {
        spec.name: dequantize(part, spec) for spec, part in zip(describe_any(model).output_specs(), raw, strict=True)
    }


def wilson(right: int, samples: int) -> tuple[float, float]:
    """The 95 % score interval of a proportion (Wilson, JASA 22, 1927), which stays inside 0..1 even at its ends."""
    share, square = right / samples, Z95**2
    centre = (share + square / (2 * samples)) / (1 + square / samples)
    half = Z95 / (1 + square / samples) * math.sqrt(share * (1 - share) / samples + square / (4 * samples**2))
    return max(0.0, centre - half), min(1.0, centre + half)


def sqnr_by_output(float_score: Score, int8_score: Score) -> dict[str, float]:
    """SQNR in decibels of each output, at most `CEILING_DB` either way, matched by order: quantizers may rename."""
    pairs = zip(float_score.outputs.items(), int8_score.outputs.values(), strict=True)
    return {name: max(-CEILING_DB, min(CEILING_DB, sqnr_db(reference, got))) for (name, reference), got in pairs}


def quality(reference: Score | None, score: Score, float_bytes: int, int8_bytes: int) -> Quality:
    """All of it as a record has it; without `reference` there is no float model to compare with."""
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
    )
