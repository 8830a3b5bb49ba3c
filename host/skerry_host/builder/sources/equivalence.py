"""The conversion check: whether a converted or rewritten model computes what its source does, on random inputs.

Converters turn NCHW into NHWC: arrays of more than two axes are compared in either order. Converts nothing.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from skerry_agent.processing import Array
from skerry_agent.wire.manifest import TensorSpec
from skerry_host.builder.judge.signal import CEILING_DB, decibels, energies
from skerry_host.builder.runtime.session import Session

MIN_EQUIVALENCE_DB = 30.0
"""Float models of the same function differ by rounding only: 60 dB and more. Below this they compute another one."""
SAMPLES = 3
NOISE_FLOOR = 1e-3
"""Random inputs leave many outputs near zero (a map without text): a signal below this RMS counts as this."""


@dataclass(frozen=True, slots=True)
class Example:
    """Inputs and the source's outputs for them, in the source's order: arrays with a batch of 1."""

    inputs: Sequence[Array]
    outputs: Sequence[Array]


def examples(source: bytes) -> list[Example]:
    """The outputs of a model, TFLite or ONNX, for random inputs."""
    session, random = Session(source), np.random.default_rng(0)
    rows = [[random_values(random, tensor) for tensor in session.inputs] for _ in range(SAMPLES)]
    return [Example(row, session.run(row)) for row in rows]


def random_values(random: np.random.Generator, tensor: TensorSpec) -> Array:
    """Values that every model can take: reals of 0 to 1, bytes, and small ids or truth values of other integers."""
    dtype = np.dtype(tensor.dtype)
    if dtype.kind == "f":
        return random.random(tensor.shape, np.float32).astype(dtype)
    limit = 256 if dtype == np.uint8 else 2
    return random.integers(0, limit, tensor.shape).astype(dtype)


def equivalence_db(source: Sequence[Example], made: bytes) -> float | None:
    """The SQNR of `made` against its source, in decibels of the worst output; None where it is not defined.

    It is not when an output of the source is not finite or all zero, or has no counterpart of its size.
    """
    session = Session(made)
    found = [_worst(example, session) for example in source]
    return None if None in found else min((value for value in found if value is not None), default=None)


def _worst(example: Example, session: Session) -> float | None:
    given = [_fitting(array, tensor) for array, tensor in zip(example.inputs, session.inputs, strict=True)]
    ready = [array for array in given if array is not None]
    if len(ready) < len(given):
        return None
    got = session.run(ready)
    found = [_best(wanted, got) for wanted in example.outputs]
    return None if None in found else min((value for value in found if value is not None), default=None)


def _fitting(array: Array, tensor: TensorSpec) -> Array | None:
    """An array in the order of axes that the model takes, None where it has none."""
    found = [form for form in _forms(array) if form.shape == tensor.shape]
    return np.ascontiguousarray(found[-1]).astype(tensor.dtype) if found else None


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
