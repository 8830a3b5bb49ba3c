"""Quantizes the model of a target: as the recipe asks, or by a search. Writes nothing, refuses nothing."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import msgspec

from skerry_host.builder.data.samples import DataSet, Samples
from skerry_host.builder.judge.evaluate import evaluate, sqnr_by_output
from skerry_host.builder.judge.gates import allowed_loss, channel_problem, loss
from skerry_host.builder.judge.paired import Comparison, PairedEvaluation
from skerry_host.builder.quantize.equalize import equalize
from skerry_host.builder.quantize.search import QuantizationLoss, SearchStep, Tools, search
from skerry_host.builder.recipe.progress import Progress
from skerry_host.builder.recipe.recipe import Budget, Quantize, Recipe
from skerry_host.builder.sources.load import SourceModel
from skerry_host.builder.targets.base import QuantizationJob, TargetBuilder

SEARCH_SAMPLES = 200
"""Calibration samples that candidates are ranked on."""
NOISE_SAMPLES = 2
"""A difference of up to this many samples is noise."""
SLACK_DB = 1.0
"""Calibration samples and evaluation samples may differ by so much: a model this close to its budget is evaluated."""


@dataclass(frozen=True, slots=True)
class Work:
    """What one target's model is made from and compared with."""

    builder: TargetBuilder
    recipe: Recipe
    source: SourceModel
    data: DataSet
    evaluation: PairedEvaluation
    progress: Progress


@dataclass(frozen=True, slots=True)
class Chosen:
    """A model, the plan it was made by, how it compares with the float one, and the search's steps if there was one.

    `reference` is the float model whose activations its own can be compared with: equalized where it was.
    """

    model: bytes
    plan: Quantize
    compared: Comparison
    steps: tuple[SearchStep, ...]
    reference: bytes


def choose(work: Work) -> Chosen:
    """Make the model of a target; look for a better one if the recipe says so or the plain one lost too much."""
    recipe, data = work.recipe, work.data

    compare = cache(work.evaluation.compare)

    def make(plan: Quantize) -> bytes:
        return work.builder.make(QuantizationJob(work.source, data.calibration, recipe.feeding, plan, work.progress))

    def enough(model: bytes) -> bool:
        return within_budget(compare(model), recipe.budget)

    plan = recipe.quantize
    work.progress(f"quantizing for {work.builder.target.name}")
    model = make(plan)
    steps: tuple[SearchStep, ...] = ()
    wanted = plan.search if plan.search is not None else not enough(model)
    if wanted and work.builder.searched and not work.source.quantized:
        stop = enough if plan.search is None else lambda _model: False
        found = search(plan, model, _tools(work, make, stop))
        plan, model, steps = found.plan, found.model, found.steps
    equal = plan.equalize and work.source.is_tflite
    reference = work.builder.float_model(equalize(work.source) if equal else work.source)
    plan = _as_it_is(plan, work.source)
    return Chosen(model, plan, compare(model), steps, reference)


def _as_it_is(plan: Quantize, source: SourceModel) -> Quantize:
    """The plan that an already quantized source was evidently made by: its own input and activations decide."""
    if not source.quantized:
        return plan
    graph = source.graph
    written = {graph.tensors[i].dtype for op in graph.ops for i in op.outputs}
    dtype = graph.input_specs()[0].dtype
    found = {"io": "float" if dtype == "float32" else dtype, "activations": "int16" if "int16" in written else "int8"}
    return msgspec.convert({**msgspec.structs.asdict(plan), **found}, Quantize)


def within_budget(compared: Comparison, budget: Budget) -> bool:
    """Whether quantization cost no more than the budget allows."""
    sqnr = min(sqnr_by_output(compared.reference, compared.score).values())
    reference, score = compared.reference, compared.score
    return (
        loss(reference.value, score.value, score.better) <= allowed_loss(reference.value, score.unit, budget)
        and sqnr >= budget.min_sqnr_db
        and not any(channel_problem(one, budget) for one in compared.channels)
    )


def _tools(work: Work, make: Callable[[Quantize], bytes], enough: Callable[[bytes], bool]) -> Tools:
    feeding, task = work.recipe.feeding, work.recipe.meaning
    samples = _some(work.data.calibration)
    reference = evaluate(work.source.data, samples, feeding, task, work.progress)
    samples = samples.compared_with(reference.outputs.values())

    def lost_by(model: bytes) -> QuantizationLoss:
        score = evaluate(model, samples, feeding, task, work.progress)
        lost = loss(reference.value, score.value, score.better)
        return QuantizationLoss(lost, min(sqnr_by_output(reference, score).values()))

    noise = NOISE_SAMPLES / len(samples)
    allowed = allowed_loss(reference.value, reference.unit, work.recipe.budget)
    budget = QuantizationLoss(allowed + noise, work.recipe.budget.min_sqnr_db - SLACK_DB)
    return Tools(make, lost_by, enough, work.progress, noise, budget)


def _some(samples: Samples) -> Samples:
    """At most `SEARCH_SAMPLES`, from all over the set."""
    step = -(-len(samples) // SEARCH_SAMPLES)
    return samples.every(step)
