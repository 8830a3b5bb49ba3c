"""Quantizes the model of a target: as the recipe asks, or by a search. Writes nothing, refuses nothing."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TypeVar

import msgspec
import numpy as np

from skerry_host.builder.data.samples import DataSet, Samples, spread
from skerry_host.builder.judge.evaluate import Asked, Score, answers_only, evaluate, scored, sqnr_by_output
from skerry_host.builder.judge.gates import allowed_loss, fused, loss, lost_channels, unasked, unsettled
from skerry_host.builder.judge.kept_classes import lost_classes
from skerry_host.builder.judge.paired import Comparison, PairedEvaluation
from skerry_host.builder.judge.signal import CEILING_DB
from skerry_host.builder.judge.tasks.base import Remembered
from skerry_host.builder.modelfile.describe import describe_any
from skerry_host.builder.modelfile.graph import Op
from skerry_host.builder.modelfile.islands import front_end, scope
from skerry_host.builder.quantize.equalize import equalize
from skerry_host.builder.quantize.search import QuantizationLoss, SearchStep, Tools, search
from skerry_host.builder.recipe.errors import ModelError
from skerry_host.builder.recipe.progress import Progress
from skerry_host.builder.recipe.recipe import Quantize, Recipe
from skerry_host.builder.sources.load import SourceModel
from skerry_host.builder.targets.base import QuantizationJob, TargetBuilder
from skerry_host.builder.targets.runaways import Calm, calm

T = TypeVar("T")
SEARCH_SAMPLES = 200
"""Calibration samples that candidates are ranked on."""
NOISE_SAMPLES = 2
"""A difference of up to this many samples is noise."""
SLACK_DB = 1.0
"""Calibration samples and evaluation samples may differ by so much: a model this close to its budget is evaluated."""

LARGEST_SHARE = 0.25
"""Of a model's operators, the most that a search leaves float."""
LARGEST_FRONT_END = 0.5
"""Of a model's multiply-adds, the most of what makes features of a signal that a search leaves float."""


@dataclass(frozen=True, slots=True)
class Work:
    """What one target's model is made from and compared with.

    `weakest` names the layers of a model that lose most, the worst first. `integers_only`: an accelerator gets the same
    model, so no layer may be left float or get 16 bit.
    """

    builder: TargetBuilder
    recipe: Recipe
    source: SourceModel
    data: DataSet
    evaluation: PairedEvaluation
    progress: Progress
    weakest: "Callable[[Work, bytes, Quantize], Sequence[str]] | None" = None
    integers_only: bool = False


@dataclass(frozen=True, slots=True)
class Chosen:
    """A model, the plan it was made by, how it compares with the float one, and the search's steps if there was one.

    `reference` is the float model whose activations its own can be compared with: equalized where it was. `uniform` is
    the same model with 8 bit everywhere, where some layers have 16; else None.
    """

    model: bytes
    plan: Quantize
    compared: Comparison
    steps: tuple[SearchStep, ...]
    reference: bytes
    uniform: bytes | None = None


def choose(work: Work) -> Chosen:
    """Make the model of a target; look for a better one if the recipe says so or the plain one lost too much."""
    recipe = work.recipe

    compare = latest(work.evaluation.compare)

    def make(plan: Quantize) -> bytes:
        return work.builder.make(
            QuantizationJob(work.source, work.data.calibration, recipe.feeding, plan, work.progress)
        )

    def enough(model: bytes, plan: Quantize) -> bool:
        return not _unasked(model, plan) and within_budget(compare(model), recipe)

    plan = recipe.quantize
    work.progress(f"quantizing for {work.builder.target.name}")
    searched = work.builder.searched and not work.source.quantized
    first, failure = _first(make, plan, searched=searched)
    model: bytes | None = first
    steps: tuple[SearchStep, ...] = ()
    wanted = plan.search if plan.search is not None else first is None or not enough(first, plan)
    if first is None or (wanted and searched):
        found = calm(work.source.data, work.data.calibration, recipe.feeding)
        if found.left_out:
            work = replace(work, data=replace(work.data, calibration=found.samples))  # `make` sees it, too
            first, failure = _first(make, plan, searched=searched)
        tools = _tools(work, found, make, enough)
        result = search(plan, first, replace(tools, start=f"{tools.start} {found.left_out}".strip()), failure)
        plan, model, steps = result.plan, result.model, result.steps
    assert model is not None
    uniform = make(msgspec.structs.replace(plan, int16_layers=())) if plan.int16_layers else None
    reference = float_reference(work, plan)
    plan = _as_it_is(plan, work.source)
    return Chosen(model, plan, compare(model), steps, reference, uniform)


def latest(compare: Callable[[bytes], T]) -> Callable[[bytes], T]:
    """The same, which is not asked twice in turn about a model; earlier answers are gone: each may hold gigabytes."""
    return lru_cache(maxsize=1)(compare)


def float_reference(work: Work, plan: Quantize) -> bytes:
    """The float model whose activations those of a plan's model can be compared with: equalized where the plan is."""
    equal = plan.equalize and work.source.is_tflite
    return work.builder.float_model(equalize(work.source) if equal else work.source)


def _first(
    make: Callable[[Quantize], bytes], plan: Quantize, *, searched: bool
) -> tuple[bytes | None, ModelError | None]:
    """The model as the recipe says, or why there is none; raised at once where no search can help."""
    try:
        return make(plan), None
    except ModelError as error:
        if not searched or plan.search is False or error.code not in _OF_THE_QUANTIZER:
            raise
        return None, error


_OF_THE_QUANTIZER = {"quantizer", "does_not_run", "crash"}
"""Failures that another quantizer may not have."""


def _left(model: bytes, plan: Quantize) -> list[str]:
    """The layers of a model that compute on float though nobody asked for it, by the names of what they write.

    None where they are no islands any more but most of the model: that is not what was asked for.
    """
    graph = describe_any(model)
    left = [scope(graph, op) for op in _unasked(model, plan) if op.name not in {"QUANTIZE", "DEQUANTIZE"}]
    return left if len(left) <= LARGEST_SHARE * len(graph.ops) else []


def _unasked(model: bytes, plan: Quantize) -> list[Op]:
    graph = describe_any(model)
    return [] if fused(graph) else unasked(graph, plan)


def _as_it_is(plan: Quantize, source: SourceModel) -> Quantize:
    """The plan that an already quantized source was evidently made by: its own input and activations decide."""
    if not source.quantized:
        return plan
    graph = source.graph
    written = {graph.tensors[i].dtype for op in graph.ops for i in op.outputs}
    dtype = graph.input_specs()[0].dtype
    found = {"io": "float" if dtype == "float32" else dtype, "activations": "int16" if "int16" in written else "int8"}
    return msgspec.convert({**msgspec.structs.asdict(plan), **found}, Quantize)


def within_budget(compared: Comparison, recipe: Recipe) -> bool:
    """Whether quantization cost no more than the budget allows."""
    budget = recipe.budget
    reference, score = compared.reference, compared.score
    return (
        loss(reference.value, score.value, score.better)
        <= allowed_loss(reference.value, score.unit, budget, reference.chance)
        and _least_needed(compared, recipe) >= budget.least_sqnr_db
        and not lost_channels(compared.channels, budget, compared.settled)
        and not lost_classes(compared.classes, budget.min_class_kept)
    )


def _least_needed(compared: Comparison, recipe: Recipe) -> float:
    """The SQNR of the worst of the outputs that need one."""
    signals = answers_only(sqnr_by_output(compared.reference, compared.score), recipe)
    return min(unsettled(signals, recipe.budget, compared.followed).values(), default=CEILING_DB)


def _worst_db(reference: Score, score: Score, recipe: Recipe) -> float:
    """The SQNR of the worst of the outputs that count."""
    return min(answers_only(sqnr_by_output(reference, score), recipe).values())


def _tools(
    work: Work, calmed: Calm, make: Callable[[Quantize], bytes], enough: Callable[[bytes, Quantize], bool]
) -> Tools:
    feeding, task = work.recipe.feeding, work.recipe.meaning
    reference, samples = _ranking(work, calmed)
    samples = samples.compared_with(Remembered(reference.outputs.values()))

    def lost_by(model: bytes, plan: Quantize) -> QuantizationLoss:
        score = evaluate(model, samples, feeding, task, work.progress)
        lost = loss(reference.value, score.value, score.better)
        return QuantizationLoss(lost, _worst_db(reference, score, work.recipe), len(_unasked(model, plan)))

    def weakest(model: bytes, plan: Quantize) -> Sequence[str]:
        return work.weakest(work, model, plan) if work.weakest is not None else ()

    noise = NOISE_SAMPLES / len(samples)
    allowed = allowed_loss(reference.value, reference.unit, work.recipe.budget, reference.chance)
    asked = work.recipe.budget.min_sqnr_db  # else the metric may settle it, which only an evaluation can say
    budget = QuantizationLoss(allowed + noise, -CEILING_DB if asked is None else asked - SLACK_DB)
    mixed = work.builder.mixed and not work.integers_only
    thorough = work.recipe.quantize.search is True
    front = front_end(work.source.graph, LARGEST_FRONT_END)
    return Tools(make, lost_by, enough, work.progress, noise, budget, _left, weakest, mixed, thorough, front)


def _ranking(work: Work, calmed: Calm) -> tuple[Score, Samples]:
    """At most `SEARCH_SAMPLES` from all over the set, and the float model's score of them: it is not asked again."""
    chosen = spread(len(calmed.samples), SEARCH_SAMPLES)
    model, samples = work.source.data, calmed.samples.subset(chosen)
    asked = Asked(work.recipe.feeding, work.recipe.meaning)
    if not calmed.answers:
        return evaluate(model, samples, asked.feeding, asked.task, work.progress), samples
    places = np.asarray(calmed.places)[chosen]
    outputs = {name: part[places] for name, part in calmed.answers.items()}
    return scored(model, outputs, samples, asked), samples
