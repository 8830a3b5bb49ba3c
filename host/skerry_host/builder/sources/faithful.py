"""Whether a converted or rewritten model still computes what its source does, on made-up inputs. Converts nothing.

Converters turn planes into pixels: axes of more than two are compared in either order.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from skerry_agent.processing import Array
from skerry_host.builder.judge.signal import CEILING_DB, decibels, energies
from skerry_host.builder.runtime.session import Session

LEAST_DB = 30.0
"""Float models of the same function differ by rounding: 60 and more. Less than this is another function."""
SAMPLES = 3
QUIET = 1e-3
"""Made-up inputs leave many outputs nearly silent (a map without text): less than this counts as so much."""


@dataclass(frozen=True, slots=True)
class Example:
    """An input, and what the source answers: arrays with a batch of 1."""

    sample: Array
    outputs: Sequence[Array]


def examples(source: bytes) -> list[Example]:
    """What a model, TFLite or ONNX, answers to made-up inputs."""
    session, random = Session(source), np.random.default_rng(0)
    samples = [random.random(session.input.shape, np.float32) for _ in range(SAMPLES)]
    return [Example(sample, session.run(sample)) for sample in samples]


def follows(source: Sequence[Example], made: bytes) -> float | None:
    """How well `made` follows a source, in decibels of the worst output; None where that cannot be told.

    It cannot when an output of the source is not finite or all zero, or has no counterpart of its size.
    """
    session = Session(made)
    found = [_worst(example, session) for example in source]
    return None if None in found else min((value for value in found if value is not None), default=None)


def _worst(example: Example, session: Session) -> float | None:
    fitting = [form for form in _forms(example.sample) if form.shape == session.input.shape]
    if not fitting:
        return None
    got = session.run(np.ascontiguousarray(fitting[-1]))
    found = [_best(wanted, got) for wanted in example.outputs]
    return None if None in found else min((value for value in found if value is not None), default=None)


def _best(wanted: Array, got: list[Array]) -> float | None:
    """The decibels of the output that is most like the wanted one."""
    if not np.isfinite(wanted).all() or not wanted.any():
        return None
    alike = [(form, other) for form in _forms(wanted) for other in got if other.size == form.size]
    pairs = (energies(form.ravel(), other.ravel()) for form, other in alike)
    least = wanted.size * QUIET**2
    return max((min(CEILING_DB, decibels(max(signal, least), noise)) for signal, noise in pairs), default=None)


def _forms(array: Array) -> Iterator[Array]:
    """As it is, and with its channels last: what a converter makes of planes comes last."""
    yield array
    if array.ndim > 2:
        yield np.moveaxis(array, 1, -1)
