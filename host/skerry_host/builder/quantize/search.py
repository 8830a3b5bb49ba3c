"""The accuracy-budgeted search: tries other quantization settings until the model is within its budget.

Candidates are ranked on calibration samples, so that no setting is chosen on evaluation samples and their result stays
fair. Makes no model itself: `make` does. Keeps the number formats and the granularity of the recipe, except that it may
try one scale per tensor instead of one per channel. The steps of `pipeline` say which settings to try.
"""

from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from skerry_host.builder.quantize.pipeline import choices
from skerry_host.builder.recipe.errors import ModelError
from skerry_host.builder.recipe.progress import Progress
from skerry_host.builder.recipe.recipe import Quantize


@dataclass(frozen=True, slots=True)
class QuantizationLoss:
    """What quantization costs a model: the drop of its metric, and the SQNR of its worst output."""

    drop: float
    sqnr_db: float

    def beats(self, other: "QuantizationLoss", noise: float) -> bool:
        """Whether it loses less; where the difference is within the noise, whether more of the signal is left."""
        if abs(self.drop - other.drop) > noise:
            return self.drop < other.drop
        return self.sqnr_db > other.sqnr_db + MIN_GAIN_DB

    def within(self, budget: "QuantizationLoss") -> bool:
        """Whether it loses no more than the budget."""
        return self.drop <= budget.drop and self.sqnr_db >= budget.sqnr_db


MIN_GAIN_DB = 0.1
"""A smaller gain is not worth another setting."""


class SearchStep(msgspec.Struct, frozen=True):
    """One candidate plan and what it gained over the best before it.

    `drop` and `sqnr_db` are None when it could not be made, or was not tried: `cut`.
    """

    name: str
    drop: float | None
    sqnr_db: float | None
    gained_db: float
    kept: bool
    cut: bool = False

    def __str__(self) -> str:
        if self.cut:
            return f"{self.name}: not tried"
        if self.drop is None or self.sqnr_db is None:
            return f"{self.name}: not possible with this model"
        verdict = "kept" if self.kept else "no better"
        return f"{self.name}: {self.sqnr_db:.1f} dB ({self.gained_db:+.1f} dB), drop {self.drop:.2%}, {verdict}"


@dataclass(frozen=True, slots=True)
class Tools:
    """What the search needs: how to make a model and how to rank one, whether one is good enough.

    `enough` takes long, so only those are asked about that look to be within `budget`.
    """

    make: Callable[[Quantize], bytes]
    loss: Callable[[bytes], QuantizationLoss]
    enough: Callable[[bytes], bool]
    progress: Progress
    noise: float
    budget: QuantizationLoss


@dataclass(frozen=True, slots=True)
class SearchResult:
    """The best plan, its model, and every step on the way."""

    plan: Quantize
    model: bytes
    steps: tuple[SearchStep, ...]


def search(plan: Quantize, model: bytes, tools: Tools) -> SearchResult:
    """Start from a plan and its model; stop when a model is good enough, all was tried, or its tries are used up.

    It has no time limit: the same source gives the same model on a busy machine.
    """
    best, best_model, best_loss = plan, model, tools.loss(model)
    steps = [SearchStep("as in the recipe", best_loss.drop, best_loss.sqnr_db, 0.0, kept=True)]
    for stage in choices():
        improved = False
        for name, candidate in stage(best):
            if len(steps) > plan.search_steps:
                return SearchResult(best, best_model, (*steps, _cut(plan)))
            tools.progress(f"searching: {name}")
            made = _try(candidate, tools)
            steps.append(_step(name, made, best_loss, tools.noise))
            if made and steps[-1].kept:
                best, (best_model, best_loss), improved = candidate, made, True
        if improved and best_loss.within(tools.budget) and tools.enough(best_model):
            break
    return SearchResult(best, best_model, tuple(steps))


def _try(plan: Quantize, tools: Tools) -> tuple[bytes, QuantizationLoss] | None:
    """A candidate's model and fit; None when the quantizer cannot make it or the runtime cannot run it."""
    try:
        model = tools.make(plan)
        return model, tools.loss(model)
    except ModelError:
        return None


def _step(name: str, made: tuple[bytes, QuantizationLoss] | None, best: QuantizationLoss, noise: float) -> SearchStep:
    if made is None:
        return SearchStep(name, None, None, 0.0, kept=False)
    loss = made[1]
    return SearchStep(name, loss.drop, loss.sqnr_db, loss.sqnr_db - best.sqnr_db, kept=loss.beats(best, noise))


def _cut(plan: Quantize) -> SearchStep:
    return SearchStep(f"the rest, after search_steps = {plan.search_steps}", None, None, 0.0, kept=False, cut=True)
