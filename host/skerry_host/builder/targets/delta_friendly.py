"""Delta-friendly quantization: takes over the previous release's scales where that costs no measurable accuracy.

`scale_grid` does the arithmetic; this decides, by evaluation, whether its result is used.
"""

from dataclasses import dataclass, replace

from skerry_host.builder.judge.gates import loss
from skerry_host.builder.judge.paired import Comparison
from skerry_host.builder.modelfile.scale_grid import GridOptions, to_previous_grid
from skerry_host.builder.targets.choose import NOISE_SAMPLES, Chosen, Work, within_budget


@dataclass(frozen=True, slots=True)
class PreviousRelease:
    """The previous release's int8 TFLite model, if there is one; `frozen` keeps its scales, as an Edge TPU needs."""

    model: bytes | None
    frozen: bool


@dataclass(frozen=True, slots=True)
class DeltaFriendlyModel:
    """What is built, and a remark on what delta-friendly quantization gave; empty where it was not tried."""

    chosen: Chosen
    remark: str = ""


def make_delta_friendly(work: Work, chosen: Chosen, previous: PreviousRelease) -> DeltaFriendlyModel:
    """Put the model on the scale grid of the previous release, unless that costs accuracy.

    Costs are accepted up to the evaluation's noise, on the samples that sufficed for both; with `sticky` up to the
    recipe's budget. What would miss the budget is not used where the model itself keeps it.
    """
    plan = chosen.plan
    if (
        previous.model is None
        or plan.delta_friendly is False
        or not work.builder.delta_friendly
        or work.source.quantized
    ):
        return DeltaFriendlyModel(chosen)
    options = GridOptions(frozen=previous.frozen, sticky=plan.sticky)
    floats = work.source.data if plan.rounding == "nearest" else b""  # else they would be rounded one by one again
    gridded = to_previous_grid(chosen.model, previous.model, floats=floats, options=options)
    if not gridded.layers:
        return DeltaFriendlyModel(chosen, "delta-friendly: no layer of the previous release matches this model")
    compared, budget = work.evaluation.compare(gridded.model), work.recipe.budget
    before, after = chosen.compared, compared
    lost, shared = _lost(before, after)
    allowed = budget.max_accuracy_drop if plan.sticky else NOISE_SAMPLES / shared
    kept = f"{gridded.kept_before:.1%} -> {gridded.kept_after:.1%} of the weights as in the previous release"
    metric = compared.score.metric
    if lost > allowed or (within_budget(before, work.recipe) and not within_budget(after, work.recipe)):
        return DeltaFriendlyModel(chosen, f"delta-friendly: not used, it costs {lost:.2%} {metric} ({kept})")
    remark = (
        f"delta-friendly: {gridded.layers} layers on the previous release's grid, {kept}, {metric} {0.0 - lost:+.2%}"
    )
    return DeltaFriendlyModel(replace(chosen, model=gridded.model, compared=compared), remark)


def _lost(before: Comparison, after: Comparison) -> tuple[float, int]:
    """What a model loses of the metric against another, and on how many samples: those that sufficed for both.

    Of a metric with a unit it is a part of the other's value, so that it compares with shares.
    """
    if before.right is not None and after.right is not None:
        shared = min(len(before.right), len(after.right))
        return float(before.right[:shared].mean() - after.right[:shared].mean()), shared
    old = before.score
    lost = loss(old.value, after.score.value, old.better)
    return (lost / max(abs(old.value), 1e-12) if old.unit else lost), old.samples
