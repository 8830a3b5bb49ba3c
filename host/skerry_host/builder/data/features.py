"""Whether the features of a vector fit into one scale: an int8 input has 255 steps for all of them. Runs no model."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from skerry_agent.processing import Array, ProcessingError, preprocess
from skerry_agent.wire.manifest import Preprocess, TensorSpec

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


def features_of(samples: Any, prep: Preprocess, tensor: TensorSpec) -> Features | None:
    """The features of a model's first input; None where it takes no vector of numbers."""
    if len(tensor.shape) != 2 or not 2 <= tensor.shape[1] <= MOST:
        return None
    real = TensorSpec(tensor.name, "float32", tensor.shape)
    try:
        rows = np.array([preprocess(raw, prep, real).reshape(-1) for raw in _some(samples.inputs)], np.float64)
    except ProcessingError:
        return None
    if not len(rows) or not np.isfinite(rows).all():
        return None
    reach = max(0.0, float(rows.max())) - min(0.0, float(rows.min()))
    return Features(rows.max(axis=0) - rows.min(axis=0), reach)


def _some(inputs: Any) -> Iterator[Array]:
    """Samples from all over the set; of several inputs the first."""
    step = max(1, len(inputs) // SAMPLES)
    for at in range(0, len(inputs), step):
        sample = inputs[at]
        yield sample[0] if isinstance(sample, tuple) else sample
