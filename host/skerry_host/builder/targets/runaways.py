"""Finds calibration samples in which the float model itself runs away: they alone would decide every range.

A detector whose outputs reach 400 answered one sample in 200 with 13,600. Every range followed that sample, and so did
the signal that candidates were ranked by. Only a search leaves such samples out, and says so. Judges no model.
"""

from dataclasses import dataclass

import numpy as np

from skerry_agent.processing import Array, Feeding
from skerry_host.builder.data.kept import fitting
from skerry_host.builder.data.samples import Samples
from skerry_host.builder.judge.evaluate import real_outputs
from skerry_host.builder.modelfile.describe import describe_any
from skerry_host.builder.runtime.session import Sessions

FAR = 8.0
"""A sample runs away if an output reaches so many times what all but one sample in a hundred keep under."""
BOUNDED = 1.0
"""What a sigmoid, softmax or tanh reaches: a rare, sure answer is none that runs away."""
USUAL, MOST = 0.5, 0.99
FEWEST = 50
"""Samples without which nobody can say what is usual."""
CHUNK = 32


@dataclass(frozen=True, slots=True)
class Calm:
    """The samples without those that run away; `left_out` says which those are and why, empty if there are none."""

    samples: Samples
    left_out: str = ""


def calm(model: bytes, samples: Samples, feeding: Feeding) -> Calm:
    """Leave out what runs away in the float `model`; of a stream, whose samples depend on each other, nothing."""
    if len(samples) < FEWEST or feeding.feedback:
        return Calm(samples)
    peaks = _peaks(model, samples, feeding)
    wild = {name: runaways(values) for name, values in peaks.items()}
    places = sorted({int(place) for found in wild.values() for place in found})
    if not places:
        return Calm(samples)
    name = next(name for name, found in wild.items() if len(found))
    usual, worst = float(np.quantile(peaks[name], MOST, method="lower")), float(peaks[name].max())
    which = f"calibration sample{'s' if len(places) > 1 else ''} {', '.join(map(str, places))}"
    why = f"in which the float model's {name} reaches {worst:.4g}, while 99 % of the samples keep under {usual:.4g}"
    kept = samples.subset(at for at in range(len(samples)) if at not in set(places))
    return Calm(kept, f"without {which}, {why}")


def runaways(peaks: Array) -> Array:
    """The places of values (N,) that are far above all others, where the others are alike."""
    middle, most = np.quantile(peaks, USUAL), np.quantile(peaks, MOST, method="lower")
    if most > FAR * middle:
        return np.zeros(0, np.int64)
    return np.flatnonzero((peaks > FAR * most) & (peaks > BOUNDED))


def _peaks(model: bytes, samples: Samples, feeding: Feeding) -> dict[str, Array]:
    """The largest magnitude of each sample (N,) in each output."""
    inputs, left = fitting(samples.inputs, feeding, describe_any(model).input_specs())
    sessions, parts = Sessions(model, left, len(samples)), dict[str, list[Array]]()
    for start in range(0, len(samples), CHUNK):
        some = range(start, min(start + CHUNK, len(samples)))
        for name, values in real_outputs(model, sessions.run(inputs, some)).items():
            parts.setdefault(name, []).append(np.abs(values).reshape(len(some), -1).max(axis=1))
    return {name: np.concatenate(found) for name, found in parts.items()}
