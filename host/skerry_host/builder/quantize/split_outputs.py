"""Splits outputs whose channels are of several kinds, as a detector's boxes and scores, into one for each kind.

On one scale of 256 steps for pixels up to 640 every probability is zero. Which channels differ is measured on some
calibration samples; that the float model's values are the same is `rewrite.split_outputs`' affair.
"""

from dataclasses import replace
from functools import lru_cache

import numpy as np

from skerry_agent.processing import Array
from skerry_host.builder.modelfile.channel_blocks import Blocks, Extremes, blocks_of, candidate_axes
from skerry_host.builder.modelfile.graph import Graph, describe
from skerry_host.builder.modelfile.tflite import read_model, write_model
from skerry_host.builder.quantize.inputs import Runs
from skerry_host.builder.quantize.step import Draft, Step, int8
from skerry_host.builder.rewrite.split_outputs import split_outputs
from skerry_host.builder.runtime.session import Session

SAMPLES = 32
"""Calibration samples that show how far each channel's values reach."""


def split(draft: Draft) -> Draft:
    """The draft with its outputs split, or as it was; ranges that were trained are of whole outputs, and are kept."""
    source = draft.source
    places = [place for place in range(source.whole, len(source.graph.outputs)) if _may_differ(draft, place)]
    if source.trained or not places:
        return draft
    found = _extremes(Runs(source, draft.inputs, draft.progress), tuple(places))
    blocks = {place: blocks_of(source.graph, place, found[place]) for place in places}
    parted: dict[int, Blocks] = {place: one for place, one in blocks.items() if len(one.starts) > 1}
    if not parted:
        return draft
    data, graph = _split(source.data, tuple(sorted(parted.items())))
    return draft if graph is None else replace(draft, source=replace(source, data=data, graph=graph))


@lru_cache(maxsize=4)
def _split(data: bytes, parted: tuple[tuple[int, Blocks], ...]) -> tuple[bytes, Graph | None]:
    """A model with outputs in parts, the same for every plan; no graph where they cannot be."""
    model = read_model(data)
    if not split_outputs(model, dict(parted)):
        return data, None
    made = write_model(model)
    return made, describe(read_model(made))


def _may_differ(draft: Draft, place: int) -> bool:
    """A state that is fed back must stay what it is called."""
    output = draft.source.graph.output_specs()[place]
    if output.name in draft.inputs.feeding.feedback.values():
        return False
    return any(output.shape[axis] > 1 for axis in candidate_axes(output.shape))


@lru_cache(maxsize=4)
def _extremes(runs: Runs, places: tuple[int, ...]) -> dict[int, dict[int, Extremes]]:
    """By place and axis the least and largest values on some samples."""
    session = Session(runs.source.data)
    found: dict[int, dict[int, Extremes]] = {place: {} for place in places}
    for tensor in runs.inputs.first(SAMPLES):
        outputs = session.run(tensor)
        for place in places:
            for axis in candidate_axes(outputs[place].shape):
                found[place][axis] = _wider(found[place].get(axis), outputs[place], axis)
    return found


def _wider(known: Extremes | None, values: Array, axis: int) -> Extremes:
    others = tuple(one for one in range(values.ndim) if one != axis)
    low, high = values.min(axis=others), values.max(axis=others)
    return Extremes(low, high) if known is None else Extremes(np.minimum(low, known.low), np.maximum(high, known.high))


STEP = Step("split outputs of several kinds", int8, split)
