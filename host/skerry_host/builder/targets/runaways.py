"""Finds calibration samples in which the float model itself runs away: they alone would decide every range.

A detector whose outputs reach 400 answered one sample in 200 with 13,600. Every range followed that sample, and so did
the signal that candidates were ranked by. Only a search leaves such samples out, and says so. Judges no model.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from skerry_agent.processing import Array, Feeding
from skerry_host.builder.data.kept import fitting
from skerry_host.builder.data.samples import Samples
from skerry_host.builder.judge.evaluate import real_outputs
from skerry_host.builder.judge.paired import room_for
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
    """The samples without those that run away; `left_out` says which those are and why, empty if there are none.

    `answers` are the float model's real-valued outputs (M, ...) to all that were looked at, by name, and `places` (N,)
    where those to the samples are; none where nobody has asked it.
    """

    samples: Samples
    left_out: str = ""
    answers: Mapping[str, Array] = field(default_factory=dict)
    places: Sequence[int] = ()


def calm(model: bytes, samples: Samples, feeding: Feeding) -> Calm:
    """Leave out what runs away in the float `model`; of a stream, whose samples depend on each other, nothing."""
    if len(samples) < FEWEST or feeding.feedback:
        return Calm(samples)
    answers = _answers(model, samples, feeding)
    peaks = {name: np.concatenate(list(_peaks(part))) for name, part in answers.items()}
    wild = {name: runaways(values) for name, values in peaks.items()}
    places = sorted({int(place) for found in wild.values() for place in found})
    if not places:
        return Calm(samples, answers=answers, places=range(len(samples)))
    name = next(name for name, found in wild.items() if len(found))
    usual, worst = float(np.quantile(peaks[name], MOST, method="lower")), float(peaks[name].max())
    which = f"calibration sample{'s' if len(places) > 1 else ''} {', '.join(map(str, places))}"
    why = f"in which the float model's {name} reaches {worst:.4g}, while 99 % of the samples keep under {usual:.4g}"
    kept = [at for at in range(len(samples)) if at not in set(places)]
    return Calm(samples.subset(kept), f"without {which}, {why}", answers, kept)


def runaways(peaks: Array) -> Array:
    """The places of values (N,) that are far above all others, where the others are alike."""
    middle, most = np.quantile(peaks, USUAL), np.quantile(peaks, MOST, method="lower")
    if most > FAR * middle:
        return np.zeros(0, np.int64)
    return np.flatnonzero((peaks > FAR * most) & (peaks > BOUNDED))


def _answers(model: bytes, samples: Samples, feeding: Feeding) -> dict[str, Array]:
    """The real-valued outputs (N, ...) by name."""
    inputs, left = fitting(samples.inputs, feeding, describe_any(model).input_specs())
    sessions, found = Sessions(model, left, len(samples)), dict[str, Array]()
    for start in range(0, len(samples), CHUNK):
        some = range(start, min(start + CHUNK, len(samples)))
        for name, values in real_outputs(model, sessions.run(inputs, some)).items():
            if name not in found:
                found[name] = room_for((len(samples), *values.shape[1:]), values.dtype)
            found[name][start : start + len(some)] = values
    return found


def _peaks(values: Array) -> Iterator[Array]:
    """The largest magnitude of each sample, some samples at a time."""
    for start in range(0, len(values), CHUNK):
        some = values[start : start + CHUNK]
        yield np.abs(some).reshape(len(some), -1).max(axis=1)
