"""Splits outputs whose channels are of several kinds, as a detector's boxes and scores, into one for each kind.

On one scale of 256 steps for pixels up to 640 every probability is zero. Which channels differ is measured on some
calibration samples; that the float model's values are the same is `rewrite.split_outputs`' affair.
"""

import dataclasses

import numpy as np

from skerry_agent.processing import Array
from skerry_host.builder.modelfile.channel_blocks import Blocks, Extremes, blocks_of, candidate_axes
from skerry_host.builder.modelfile.graph import describe
from skerry_host.builder.modelfile.tflite import read_model, write_model
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
    found = _extremes(draft, places)
    blocks = {place: blocks_of(source.graph, place, found[place]) for place in places}
    parted: dict[int, Blocks] = {place: one for place, one in blocks.items() if len(one.starts) > 1}
    model = read_model(source.data)
    if not parted or not split_outputs(model, parted):
        return draft
    data = write_model(model)
    return dataclasses.replace(draft, source=dataclasses.replace(source, data=data, graph=describe(read_model(data))))


def _may_differ(draft: Draft, place: int) -> bool:
    """A state that is fed back must stay what it is called."""
    output = draft.source.graph.output_specs()[place]
    if output.name in draft.inputs.feeding.feedback.values():
        return False
    return any(output.shape[axis] > 1 for axis in candidate_axes(output.shape))


def _extremes(draft: Draft, places: list[int]) -> dict[int, dict[int, Extremes]]:
    """By place and axis the least and largest values on some samples."""
    session = Session(draft.source.data)
    found: dict[int, dict[int, Extremes]] = {place: {} for place in places}
    for tensor in draft.inputs.first(SAMPLES):
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
