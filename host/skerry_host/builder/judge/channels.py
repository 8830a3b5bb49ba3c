"""The signal of each block of channels of an output: how many steps its values span, and how much noise they have.

One energy over a tensor of pixels and probabilities says nothing of the probabilities. Sums only, so that memory does
not grow with the samples. Knows no gate; which channels belong together says `channel_blocks`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from skerry_agent.processing import Array
from skerry_agent.wire.manifest import DETECTION, ChannelSignal
from skerry_host.builder.judge.signal import CEILING_DB, decibels
from skerry_host.builder.modelfile.channel_blocks import Blocks, Extremes, blocks_of, candidate_axes
from skerry_host.builder.modelfile.graph import Graph
from skerry_host.builder.recipe.recipe import Task

VARIES = 1 / 16
"""A channel whose values span this share of what the widest of its block do is looked at; a class that no sample
shows is not."""


SCATTERED_RATIO, SCATTERED_SHARE, PROBABLE = 16.0, 0.1, 1.05
"""Channels are of another kind than those around them if all of them reach so much less, and are that many, among
values that are no probabilities."""
CLASSES = {"classification", "multilabel", "segmentation", "sequence", "events"}
"""Tasks whose first output has one value for each class."""
MOST_OUTPUTS = 256
VECTORS = {"embedding"}
"""Tasks whose first output is one vector."""


def is_one_kind(task: str, place: int) -> bool:
    """Whether the task says that all channels of output `place` mean the same."""
    return place == 0 and task in CLASSES | VECTORS


def whole_outputs(task: Task) -> int:
    """How many of the first outputs a model must not give in parts.

    Agents from before there were parts read a class or a vector from the first output, and boxes by the places of these
    decoders: they would answer wrongly.
    """
    if task.name == DETECTION:
        return MOST_OUTPUTS if task.postprocess.decoder in {"ssd", "decoded"} else 0
    return 1 if is_one_kind(task.name, 0) else 0


@dataclass(slots=True)
class _Sums:
    """Of one axis, for each place along it: extremes, mean and squares of the float model's values, and the noise."""

    low: Array
    high: Array
    total: Array
    squares: Array
    noise: Array
    count: int = 0

    @classmethod
    def of(cls, size: int) -> "_Sums":
        """Nothing yet."""
        return cls(np.full(size, np.inf), np.full(size, -np.inf), np.zeros(size), np.zeros(size), np.zeros(size))

    def add(self, reference: Array, got: Array, axis: int) -> None:
        """Add one sample's values (without the batch)."""
        others = tuple(one for one in range(reference.ndim) if one != axis)
        self.low = np.minimum(self.low, reference.min(axis=others))
        self.high = np.maximum(self.high, reference.max(axis=others))
        self.total += reference.sum(axis=others)
        self.squares += np.square(reference).sum(axis=others)
        self.noise += np.square(reference - got).sum(axis=others)
        self.count += reference.size // len(self.low)

    @property
    def variation(self) -> Array:
        """The energy of what differs from each place's mean (n,)."""
        variation: Array = np.maximum(0.0, self.squares - np.square(self.total) / max(1, self.count))
        return variation


@dataclass(slots=True)
class ChannelSums:
    """Adds up one output's values, sample by sample, along each axis that may hold channels."""

    by_axis: dict[int, _Sums] = field(default_factory=dict)

    def add(self, reference: Array, got: Array) -> None:
        """Add samples (N, ...) of the float model and the other; what is not finite is for the whole output's SQNR."""
        for one, other in zip(reference, got, strict=True):
            if not one.ndim or not (np.isfinite(one).all() and np.isfinite(other).all()):
                continue
            wide, wide_other = one.astype(np.float64), other.astype(np.float64)
            for axis in candidate_axes(reference.shape):
                sums = self.by_axis.setdefault(axis, _Sums.of(reference.shape[axis]))
                sums.add(wide, wide_other, axis - 1)

    @property
    def extremes(self) -> dict[int, Extremes]:
        """By axis."""
        return {axis: Extremes(sums.low, sums.high) for axis, sums in self.by_axis.items()}


@dataclass(frozen=True, slots=True)
class OutputForm:
    """One output of the float model, as blocks are found in it, and the scale of each of its channels in the other.

    `scales` are by axis: (first channel, scale) of each part that has a scale of its own; 0 for floats. `alone`: there
    is no float model, the values are the quantized model's own.
    """

    graph: Graph
    place: int
    one_kind: bool
    scales: dict[int, list[tuple[int, float]]]
    alone: bool = False


def channel_signals(name: str, sums: ChannelSums, form: OutputForm) -> list[ChannelSignal]:
    """Of each block of an output what its channels show; nothing where no values were added."""
    batched = form.graph.output_specs()[form.place].shape[:1] == (1,)
    if not sums.by_axis or not batched:
        return []
    blocks = blocks_of(form.graph, form.place, sums.extremes, one_kind=form.one_kind)
    if blocks.axis not in sums.by_axis:
        return []
    found, own = [], sums.by_axis[blocks.axis]
    for block in blocks.ranges:
        scale = _scale(form, blocks, block[0])
        found.append(_own_steps(name, own, block, scale) if form.alone else _signal(name, own, block, scale))
        if block[0] in blocks.mixed and not form.alone:
            found += _scattered(name, own, block, scale)
    return found


def _own_steps(name: str, sums: _Sums, block: tuple[int, int], scale: float) -> ChannelSignal:
    """What can be said of a model that came quantized: how many steps its own values span; none where all are one."""
    own = slice(block[0], block[1] + 1)
    widest = float((sums.high[own] - sums.low[own]).max())
    return ChannelSignal(name, *block, None, widest / scale if scale else None)


def _scattered(name: str, sums: _Sums, block: tuple[int, int], scale: float) -> list[ChannelSignal]:
    """Channels between those of another kind, that reach far less, as the visibilities of keypoints between pixels.

    Where all are within 0..1 they are probabilities, some of which no sample shows.
    """
    first, last = block
    own = slice(first, last + 1)
    spans, reach = sums.high[own] - sums.low[own], np.maximum(sums.high[own], 0) - np.minimum(sums.low[own], 0)
    order = np.argsort(reach)
    ratios = reach[order][1:] / np.maximum(reach[order][:-1], 1e-30)
    cut = int(ratios.argmax()) + 1 if len(ratios) and reach.max() > PROBABLE else 0
    small = order[:cut][spans[order[:cut]] > 0]
    if not cut or ratios[cut - 1] < SCATTERED_RATIO or len(small) < max(2, len(reach) * SCATTERED_SHARE):
        return []
    places = np.sort(small) + first
    found = decibels(float(sums.variation[places].sum()), float(sums.noise[places].sum()))
    steps = float(spans[small].max()) / scale if scale else None
    db = max(-CEILING_DB, min(CEILING_DB, found))
    return [ChannelSignal(name, int(places[0]), int(places[-1]), db, steps, len(places))]


def _signal(name: str, sums: _Sums, block: tuple[int, int], scale: float) -> ChannelSignal:
    """The widest channel tells how many steps are spanned; all that vary as it does, how much noise there is."""
    first, last = block
    own = slice(first, last + 1)
    spans = sums.high[own] - sums.low[own]
    widest = float(spans.max())
    if widest <= 0:  # the float model's values never change: nothing can be lost
        return ChannelSignal(name, first, last, None, None)
    varies = spans >= VARIES * widest
    found = decibels(float(sums.variation[own][varies].sum()), float(sums.noise[own][varies].sum()))
    db = max(-CEILING_DB, min(CEILING_DB, found))
    return ChannelSignal(name, first, last, db, widest / scale if scale else None)


def output_scales(graph: Graph) -> list[dict[int, list[tuple[int, float]]]]:
    """Of each output, joined where the model gives it in parts, what `OutputForm.scales` says."""
    specs = graph.output_specs()
    joins = {join.parts[0]: join for join in graph.joins}
    inner = {part for join in graph.joins for part in join.parts[1:]}
    found = []
    for place, spec in enumerate(specs):
        join = joins.get(place)
        if join is not None:
            sizes = [specs[part].shape[join.axis] for part in join.parts]
            starts = [sum(sizes[:at]) for at in range(len(sizes))]
            found.append({join.axis: [(at, specs[part].scale) for at, part in zip(starts, join.parts, strict=True)]})
        elif place not in inner:
            found.append({axis: [(0, spec.scale)] for axis in candidate_axes(spec.shape)})
    return found


def _scale(form: OutputForm, blocks: Blocks, first: int) -> float:
    """The largest scale where parts are along another axis."""
    parts = form.scales.get(blocks.axis)
    if parts is None:
        return max((scale for every in form.scales.values() for _start, scale in every), default=0.0)
    return next((scale for start, scale in reversed(parts) if start <= first), 0.0)


def worst(signals: Sequence[ChannelSignal]) -> ChannelSignal | None:
    """The block with the lowest SQNR, None where none has one."""
    known = [one for one in signals if one.sqnr_db is not None]
    return min(known, key=lambda one: one.sqnr_db or 0.0, default=None)
