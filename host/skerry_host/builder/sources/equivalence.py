"""The conversion check: whether a converted or rewritten model computes what its source does, on random inputs.

Converters turn NCHW into NHWC: arrays of more than two axes are compared in either order. Converts nothing.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from skerry_agent.processing import Array
from skerry_host.builder.judge.signal import CEILING_DB, decibels, energies
from skerry_host.builder.runtime.session import Session

MIN_EQUIVALENCE_DB = 30.0
"""Float models of the same function differ by rounding only: 60 dB and more. Below this they compute another one."""
SAMPLES = 3
NOISE_FLOOR = 1e-3
"""Random inputs leave many outputs near zero (a map without text): a signal below this RMS counts as this."""


@dataclass(frozen=True, slots=True)
class Example:
    """An input and the source's outputs for it: arrays with a batch of 1."""

    sample: Array
    outputs: Sequence[Array]


def examples(source: bytes) -> list[Example]:
    """The outputs of a model, TFLite or ONNX, for random inputs."""
    shape, random = Session(source).input.shape, np.random.default_rng(0)
    samples = [random.random(shape, np.float32) for _ in range(SAMPLES)]
    # loaded anew for each: a fused LSTM would begin with the state that the sample before has left
    return [Example(sample, Session(source).run(sample)) for sample in samples]


def equivalence_db(source: Sequence[Example], made: bytes) -> float | None:
    """The SQNR of `made` against its source, in decibels of the worst output; None where it is not defined.

    It is not when an output of the source is not finite or all zero, or has no counterpart of its size.
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
    """The SQNR of the output that is closest to the wanted one."""
    if not np.isfinite(wanted).all() or not wanted.any():
        return None
    alike = [(form, other) for form in _forms(wanted) for other in got if other.size == form.size]
    pairs = (energies(form.ravel(), other.ravel()) for form, other in alike)
    least = wanted.size * NOISE_FLOOR**2
    return max((min(CEILING_DB, decibels(max(signal, least), noise)) for signal, noise in pairs), default=None)


def _forms(array: Array) -> Iterator[Array]:
    """As it is, and with its channels last; the form that a converter makes of NCHW comes last."""
    yield array
    if array.ndim > 2:
        yield np.moveaxis(array, 1, -1)
