"""The accuracy-budgeted search: tries other quantization settings until the model is within its budget.

Candidates are ranked on calibration samples, so that no setting is chosen on evaluation samples and their result stays
fair. Makes no model itself: `make` does. Keeps the number formats and the granularity of the recipe, except that it may
try one scale per tensor instead of one per channel, and where the target allows it 16 bit or float in named layers. The
steps of `pipeline` say which settings to try, `other_forms` which quantizers and layers.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import msgspec

from skerry_host.builder.quantize.other_forms import ALL, SOME, islands, other_quantizer, wider
from skerry_host.builder.quantize.pipeline import choices
from skerry_host.builder.recipe.errors import ModelError
from skerry_host.builder.recipe.progress import Progress
from skerry_host.builder.recipe.recipe import Quantize


@dataclass(frozen=True, slots=True)
class QuantizationLoss:
    """What quantization costs a model: the drop of its metric, and the SQNR of its worst output.

    `floats`: how many of its operators compute on float although nobody asked for it.
    """

    drop: float
    sqnr_db: float
    floats: int = 0

    def beats(self, other: "QuantizationLoss", noise: float) -> bool:
        """Whether it loses less; where the difference is within the noise, whether more of the signal is left.

        To be better than the float model is luck, of which more is worth nothing.
        """
        if self.floats != other.floats:
            return self.floats < other.floats
        own, others = max(0.0, self.drop), max(0.0, other.drop)
        if abs(own - others) > noise:
            return own < others
        return self.sqnr_db > other.sqnr_db + MIN_GAIN_DB

    def within(self, budget: "QuantizationLoss") -> bool:
        """Whether it loses no more than the budget."""
        return self.drop <= budget.drop and self.sqnr_db >= budget.sqnr_db and self.floats <= budget.floats


MIN_GAIN_DB = 0.1
"""A smaller gain is not worth another setting."""


class SearchStep(msgspec.Struct, frozen=True):
    """One candidate plan and what it gained over the best before it.

    `drop` and `sqnr_db` are None when it could not be made, and `why` says why, or was not tried: `cut`.
    """

    name: str
    drop: float | None
    sqnr_db: float | None
    gained_db: float
    kept: bool
    cut: bool = False
    floats: int = 0
    why: str = ""

    def __str__(self) -> str:
        if self.cut:
            return f"{self.name}: not tried"
        if self.drop is None or self.sqnr_db is None:
            return f"{self.name}: not possible with this model" + (f" ({self.why})" if self.why else "")
        verdict = "kept" if self.kept else "no better"
        left = f", {self.floats} operators float" if self.floats else ""
        return f"{self.name}: {self.sqnr_db:.1f} dB ({self.gained_db:+.1f} dB), drop {self.drop:.2%}{left}, {verdict}"


def told(steps: Sequence[SearchStep]) -> list[str]:
    """One line of how many settings were tried and what the best gave; none where nothing was tried."""
    count = sum(not step.cut for step in steps)
    kept = [step for step in steps if step.kept]
    if count < 2 or not kept:
        return []
    best = kept[-1]
    which = "the recipe's own" if best is steps[0] else f"{best.name}, upon what was kept before,"
    words = f"{count} settings were tried on calibration samples; the best is {which} with {best.sqnr_db or 0:.1f} dB"
    return [words]


def nobody(_model: bytes, _plan: Quantize) -> Sequence[str]:
    """No layers."""
    return ()


@dataclass(frozen=True, slots=True)
class Tools:
    """What the search needs: how to make a model and how to rank one, whether one is good enough.

    `enough` takes long, so only those are asked about that look to be within `budget`. `left` names the layers that
    compute on float though nobody asked for it, `weakest` those that lose most, the worst first, `front` those that
    make features of a signal. `mixed`: 16 bit and float in some layers may be tried, which an accelerator cannot run.
    `thorough`: the best is wanted of what costs nothing at run time, not the first that is good enough. `start` is what
    the first model is called.
    """

    make: Callable[[Quantize], bytes]
    loss: Callable[[bytes, Quantize], QuantizationLoss]
    enough: Callable[[bytes, Quantize], bool]
    progress: Progress
    noise: float
    budget: QuantizationLoss
    left: Callable[[bytes, Quantize], Sequence[str]] = nobody
    weakest: Callable[[bytes, Quantize], Sequence[str]] = nobody
    mixed: bool = False
    thorough: bool = False
    front: Sequence[str] = ()
    start: str = "as in the recipe"


@dataclass(frozen=True, slots=True)
class SearchResult:
    """The best plan, its model, and every step on the way."""

    plan: Quantize
    model: bytes
    steps: tuple[SearchStep, ...]


@dataclass(frozen=True, slots=True)
class _Best:
    plan: Quantize
    model: bytes
    loss: QuantizationLoss


def search(plan: Quantize, model: bytes | None, tools: Tools, failure: ModelError | None = None) -> SearchResult:
    """Start from a plan and its model; stop when a model is good enough, all was tried, or its tries are used up.

    Without a model, because of a `failure`, what else may make one is tried first; that is raised again if nothing
    does. It has no time limit: the same source gives the same model on a busy machine.
    """
    return _Search(plan, tools).run(model, failure)


class _Search:
    """One search: the best so far, and the steps."""

    def __init__(self, plan: Quantize, tools: Tools) -> None:
        self._plan, self._tools = plan, tools
        self._best: _Best | None = None
        self._last: _Best | None = None
        self._missed: _Best | None = None
        self._steps: list[SearchStep] = []
        self._weak: tuple[_Best, Sequence[str]] | None = None

    def run(self, model: bytes | None, failure: ModelError | None) -> SearchResult:
        """See `search`."""
        self._begin(model, failure)
        for stage in self._stages():
            improved, cut = self._try_all(stage)
            if cut:
                break
            if improved and self._done() and not self._tools.thorough:
                break
        if self._best is None:
            assert failure is not None
            tried = "; ".join(map(str, self._steps[1:]))
            raise ModelError(
                failure.message + (f" (also tried: {tried})" if tried else ""), hint=failure.hint, code=failure.code
            )
        return SearchResult(self._best.plan, self._best.model, tuple(self._steps))

    def _begin(self, model: bytes | None, failure: ModelError | None) -> None:
        name = self._tools.start
        if model is None:
            self._steps.append(_failed(name, failure))
            return
        loss = self._tools.loss(model, self._plan)
        self._best = _Best(self._plan, model, loss)
        self._missed = None if self._tools.thorough else self._best  # or there would be no search
        self._steps.append(SearchStep(name, loss.drop, loss.sqnr_db, 0.0, kept=True, floats=loss.floats))

    def _stages(self) -> Iterator[Iterator[tuple[str, Quantize]]]:
        """Where there is no model of the form that was asked for, first what gives one; then what loses less."""
        first = self._unformed()
        if first:
            yield other_quantizer(self._from())
        if self._unformed():
            yield self._islands()
        if not self._first_made() and self._tools.mixed and not self._done():
            yield islands(self._plan, (), self._tools.front)
        if self._best is None:
            return
        for stage in choices():
            yield stage(self._from())
        if not first:
            yield other_quantizer(self._from())
        if self._tools.mixed:
            yield from self._mixed()

    def _mixed(self) -> Iterator[Iterator[tuple[str, Quantize]]]:
        """16 bit and float in some layers, float before 16 bit in all of them, which takes longest on a device."""
        for shares, front in ((SOME, self._tools.front), (ALL, ())):
            if self._done():
                return
            plan = self._from() if shares is SOME else self._anew()
            for candidate in wider(plan, self._weakest(), self._plan.quantizer, shares):
                yield iter([candidate])
                yield self._without_left()
                if self._done():
                    return
            for candidate in islands(self._with_first_quantizer(), self._weakest(), front):
                yield iter([candidate])
                if self._done():
                    return

    def _anew(self) -> Quantize:
        """The recipe's own plan with the best one's layers: what was best for 8 bits was a bargain with their noise.

        Where that plan makes no model, the best one's is all that is known to.
        """
        best = self._from()
        if not self._first_made():
            return best
        return msgspec.structs.replace(self._plan, keep_float=best.keep_float, dense_by_row=best.dense_by_row)

    def _unformed(self) -> bool:
        return self._best is None or self._best.loss.floats > 0

    def _from(self) -> Quantize:
        return self._plan if self._best is None else self._best.plan

    def _with_first_quantizer(self) -> Quantize:
        """The best plan with the recipe's quantizer, where that makes a model: another is slow, and as good."""
        plan = self._from()
        return msgspec.structs.replace(plan, quantizer=self._plan.quantizer) if self._first_made() else plan

    def _first_made(self) -> bool:
        """Whether the recipe's own plan makes a model."""
        return self._steps[0].drop is not None

    def _islands(self) -> Iterator[tuple[str, Quantize]]:
        if self._best is None or not self._tools.mixed:
            return
        left = tuple(self._tools.left(self._best.model, self._best.plan))
        if not left:
            return
        yield (
            f"float in {_some(left)}",
            msgspec.structs.replace(self._best.plan, keep_float=(*self._best.plan.keep_float, *left)),
        )

    def _without_left(self) -> Iterator[tuple[str, Quantize]]:
        """The last that was tried, with what has no kernel of 16 bit named as float: it was float already."""
        last = self._last
        if last is None or not last.loss.floats:
            return
        if left := self._tools.left(last.model, last.plan):
            wide = tuple(name for name in last.plan.int16_layers if name not in left)
            plan = msgspec.structs.replace(last.plan, int16_layers=wide, keep_float=(*last.plan.keep_float, *left))
            yield f"{self._steps[-1].name}, float in {_some(left)}", plan

    def _weakest(self) -> Sequence[str]:
        """Of the best model: another is looked at only once there is a better one, for it takes long."""
        assert self._best is not None
        if self._weak is None or self._weak[0] is not self._best:
            self._weak = self._best, self._tools.weakest(self._best.model, self._best.plan)
        return self._weak[1]

    def _done(self) -> bool:
        best = self._best
        if best is None or not best.loss.within(self._tools.budget):
            return False
        enough = self._tools.enough(best.model, best.plan)
        self._missed = None if enough else best
        return enough

    def _try_all(self, stage: Iterator[tuple[str, Quantize]]) -> tuple[bool, bool]:
        """Whether a candidate of a stage was better, and whether the tries are used up."""
        improved = False
        for name, candidate in stage:
            if len(self._steps) > self._plan.search_steps:
                self._steps.append(_cut(self._plan))
                return improved, True
            self._tools.progress(f"searching: {name}")
            improved |= self._try(name, candidate)
        return improved, False

    def _try(self, name: str, plan: Quantize) -> bool:
        try:
            model = self._tools.make(plan)
            loss = self._known(model, plan) or self._tools.loss(model, plan)
        except ModelError as error:
            self._last = None
            self._steps.append(_failed(name, error))
            return False
        before = self._best
        kept = before is None or loss.beats(before.loss, self._tools.noise) or self._reaches(loss, before.loss)
        gained = 0.0 if before is None else loss.sqnr_db - before.loss.sqnr_db
        self._steps.append(SearchStep(name, loss.drop, loss.sqnr_db, gained, kept=kept, floats=loss.floats))
        self._last = _Best(plan, model, loss)
        if kept:
            self._best = self._last
        return kept

    def _reaches(self, loss: QuantizationLoss, best: QuantizationLoss) -> bool:
        """Whether a model looks to be within the budget and the best so far does not, or was evaluated and is not.

        Then it is worth being evaluated, even if it is better by noise only.
        """
        missed = self._missed is self._best and loss.drop < best.drop
        return loss.within(self._tools.budget) and (missed or not best.within(self._tools.budget))

    def _known(self, model: bytes, plan: Quantize) -> QuantizationLoss | None:
        """What the best model loses, if this is the same: many a setting changes nothing in a model."""
        best = self._best
        same = best is not None and model == best.model and plan.keep_float == best.plan.keep_float
        return best.loss if best is not None and same else None


def _some(layers: Sequence[str]) -> str:
    return ", ".join(layers[:3]) + (" ..." if len(layers) > 3 else "")


def _failed(name: str, error: ModelError | None) -> SearchStep:
    return SearchStep(name, None, None, 0.0, kept=False, why=error.message if error is not None else "")


def _cut(plan: Quantize) -> SearchStep:
    return SearchStep(f"the rest, after search_steps = {plan.search_steps}", None, None, 0.0, kept=False, cut=True)
