"""Turns layer statistics into advice: where the signal is lost, the likely cause, what to try. Measures nothing."""

from collections.abc import Sequence
from dataclasses import dataclass

from skerry_host.builder.diagnose.layer_stats import LayerStats
from skerry_host.builder.quantize.pipeline import remedy

NARROW = 0.01
"""A larger share of clipped values is reported."""
OUTLIERS = 30.0
"""A largest value this many times the root mean square leaves 8 bits few steps for the rest."""
FINE_DB = 20.0
"""A layer with so much signal loses little: int8 layers of sound models have 20 to 40."""
STEEP_DB = 6.0
"""A drop of this many decibels is reported."""


NOT_TRIED = " (not tried)"
"""Behind every piece of advice that this build did not follow itself."""


@dataclass(frozen=True, slots=True)
class Tried:
    """How the model was made: there is no use in advising that. `last_resort` is what its target leaves to try.

    `searched`: other choices were tried, or make no difference. `found` says what else was tried, and what came of it;
    `cause` what of the data is to blame.
    """

    last_resort: str = "quantization-aware training"
    per_channel: bool = True
    searched: bool = False
    found: str = ""
    cause: str = ""


def least_db(budget_db: float) -> float:
    """What a layer needs so that the outputs keep to their budget: no more than `FINE_DB`, errors average out."""
    return min(budget_db, FINE_DB)


def first_lost(found: Sequence[LayerStats], limit_db: float) -> LayerStats | None:
    """The first layer, in the order of execution, with less signal than the limit."""
    return next((layer for layer in found if layer.sqnr_db < limit_db), None)


def steepest(found: Sequence[LayerStats]) -> LayerStats | None:
    """The layer that loses most of what comes in."""
    worst = max(found, key=lambda layer: layer.fall_db, default=None)
    return worst if worst is not None and worst.fall_db > 0 else None


def explain(found: Sequence[LayerStats], budget_db: float, tried: Tried) -> str:
    """One line: where the signal is lost, the layers with the least of it, and what to try."""
    if not found:
        return "no layer of the int8 model can be matched with one of the float model"
    parts, limit_db = [], least_db(budget_db)
    lost = first_lost(found, limit_db)
    if lost is not None:
        parts.append(f"the signal is first lost, under {limit_db:.0f} dB, at {lost}")
    weakest = sorted(found, key=lambda layer: layer.sqnr_db)[:3]
    parts.append(f"lowest SQNR in {', '.join(map(str, weakest))}")
    fall = steepest(found)
    if fall is not None:
        parts.append(f"the largest drop, {fall.fall_db:.1f} dB, is at {fall}")
    own = [text for text in (tried.cause, tried.found) if text]
    return "; ".join([*parts, *own, f"try: {', or '.join(remedies(found, limit_db, tried))}"])


def remedies(found: Sequence[LayerStats], limit_db: float, tried: Tried) -> list[str]:
    """What may help, the likeliest first; for the last resort it matters what the target can run.

    Nothing that was tried, and each marked as what it is: advice that this build did not follow.
    """
    suspects = [layer for layer in (first_lost(found, limit_db), steepest(found)) if layer is not None]
    hints = [
        *([] if tried.per_channel else [remedy("one scale")]),
        *(hint for layer in suspects for hint in _hints(layer, searched=tried.searched)),
        *([] if tried.searched else ["search = true in [quantize]"]),
        tried.last_resort,
    ]
    return [f"{hint}{NOT_TRIED}" for hint in dict.fromkeys(hints)]


def _hints(layer: LayerStats, *, searched: bool) -> list[str]:
    """What statistics of a layer speak for; a search has tried every calibrator."""
    hints = []
    if layer.clipped > NARROW:
        other = "" if searched else f" or {remedy('clipped')}"
        hints.append(f"more typical calibration samples{other} ({layer.clipped:.0%} of its values are clipped)")
    if layer.crest > OUTLIERS and not searched:
        times = f"its largest value is {layer.crest:.0f} times the typical one"
        hints.append(f"{remedy('outliers')} ({times})")
    if layer.dead:
        hints.append(f"training with weight decay or quantization ({layer.dead} of {layer.channels} channels are dead)")
    return hints


def notable(layer: LayerStats, limit_db: float) -> str:
    """What is wrong with one layer in a few words, empty if nothing is."""
    words = []
    if layer.sqnr_db < limit_db:
        words.append("signal lost")
    if layer.fall_db >= STEEP_DB:
        words.append(f"-{layer.fall_db:.0f} dB here")
    if layer.clipped > NARROW:
        words.append(f"{layer.clipped:.1%} clipped")
    if layer.dead:
        words.append(f"{layer.dead}/{layer.channels} channels dead")
    if layer.crest > OUTLIERS and layer.sqnr_db < limit_db + STEEP_DB:
        words.append(f"outliers, {layer.crest:.0f}x rms")
    return ", ".join(words)
