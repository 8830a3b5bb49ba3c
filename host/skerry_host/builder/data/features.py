"""Whether the features of a vector fit into one scale: an int8 input has 255 steps for all of them. Runs no model."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from skerry_agent.processing import Array, Feeding, ProcessingError, preprocess
from skerry_agent.wire.manifest import Preprocess, TensorSpec
from skerry_host.builder.data.samples import Samples

MOST = 1024
"""Longer vectors are signals, not features."""
STEPS = 255
MIN_STEPS = 2.0
"""A feature that spans fewer steps of the input's integers is a constant for the model, or a coin."""
SAMPLES = 500


@dataclass(frozen=True, slots=True)
class Features:
    """The span (largest minus smallest value) of each feature of an input, after preprocessing; `reach`: of all."""

    spans: Array
    reach: float

    @property
    def lost(self) -> list[int]:
        """The features that vary, but over hardly a step."""
        steps = self.spans * STEPS / self.reach if self.reach else self.spans
        return [int(at) for at in np.flatnonzero((self.spans > 0) & (steps < MIN_STEPS))]

    def problem(self, name: str) -> str:
        """What is wrong with them and what to do, empty if nothing is."""
        lost = self.lost
        if not lost:
            return ""
        moving = self.spans[self.spans > 0]
        listed = ", ".join(map(str, lost[:8])) + (", ..." if len(lost) > 8 else "")
        return (
            f"the features of input {name} have ranges from {moving.min():.3g} to {moving.max():.3g}, but one scale in "
            f"int8: {len(lost)} of {len(self.spans)} (feature {listed}) span less than {MIN_STEPS:g} of its {STEPS} "
            "steps; train the model on features of one range, and write how they get it as [preprocess] mean and std, "
            "one of each for each feature: a model that scales them itself does so behind the rounding"
        )


def features_of(samples: Samples, feeding: Feeding, inputs: Sequence[TensorSpec]) -> dict[str, Features]:
    """The features of each input of a model that takes a vector of numbers, by the input's name."""
    places = [place for place in feeding.brought(inputs) if _takes_features(inputs[place])]
    found: dict[str, Features] = {}
    for place in places:
        at, tensor = feeding.brought(inputs).index(place), inputs[place]
        features = _features(samples, at, feeding.at(place), tensor)
        if features is not None:
            found[tensor.name] = features
    return found


def _takes_features(tensor: TensorSpec) -> bool:
    """Not where it takes ids, whole numbers that have no scale."""
    whole = tensor.dtype.startswith(("int", "uint", "bool")) and not tensor.scale
    return len(tensor.shape) == 2 and 2 <= tensor.shape[1] <= MOST and not whole


def _features(samples: Samples, at: int, prep: Preprocess, tensor: TensorSpec) -> Features | None:
    real = TensorSpec(tensor.name, "float32", tensor.shape)
    some = samples.every(max(1, len(samples) // SAMPLES))
    try:
        rows = np.array([preprocess(sample[at], prep, real).reshape(-1) for sample in some], np.float64)
    except ProcessingError:
        return None
    if not len(rows) or not np.isfinite(rows).all():
        return None
    reach = max(0.0, float(rows.max())) - min(0.0, float(rows.min()))
    return Features(rows.max(axis=0) - rows.min(axis=0), reach)
