"""The conversion check: whether a converted or rewritten model computes what its source does, on random inputs.

Converters turn NCHW into NHWC: arrays of more than two axes are compared in either order. Converts nothing.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from skerry_agent.processing import Array
from skerry_agent.wire.manifest import TensorSpec
from skerry_host.builder.judge.signal import CEILING_DB, decibels, energies
from skerry_host.builder.modelfile.describe import is_tflite
from skerry_host.builder.runtime.session import Session

MIN_EQUIVALENCE_DB = 30.0
"""Float models of the same function differ by rounding only: 60 dB and more. Below this they compute another one."""
SAMPLES = 3
NOISE_FLOOR = 1e-3
"""Random inputs leave many outputs near zero (a map without text): a signal below this RMS counts as this."""


@dataclass(frozen=True, slots=True)
class Example:
    """Inputs and the source's outputs for them, both in the source's order: arrays with a batch of 1.

    `exact`: the order of outputs, and of the axes of all arrays, is the model's; else a converter may have changed it.
    """

    inputs: Sequence[Array]
    outputs: Sequence[Array]
    exact: bool = False


def examples(source: bytes, *, exact: bool | None = None) -> list[Example]:
    """The outputs of a model, TFLite or ONNX, for random inputs."""
    tensors, random = Session(source).inputs, np.random.default_rng(0)
    rows = [[random_values(random, tensor) for tensor in tensors] for _ in range(SAMPLES)]
    # loaded anew for each: a fused LSTM would begin with the state that the sample before has left
    return [Example(row, Session(source).run(row), is_tflite(source) if exact is None else exact) for row in rows]


def random_values(random: np.random.Generator, tensor: TensorSpec) -> Array:
    """Values that every model can take: reals of 0 to 1, bytes, and 0 or 1 where whole numbers are ids or masks."""
    dtype = np.dtype(tensor.dtype)
    if dtype.kind == "f":
        return random.random(tensor.shape, np.float32).astype(dtype)
    limit = 256 if dtype == np.uint8 else 2
    return random.integers(0, limit, tensor.shape).astype(dtype)


def equivalence_db(source: Sequence[Example], made: bytes) -> float | None:
    """The SQNR of `made` against its source, in decibels of the worst output; None where it is not defined.

    Outputs are compared in their order. It is not defined when an output of the source is not finite or all zero, or
    has no counterpart of its size.
    """
    session = Session(made)
    found = [_worst(example, session) for example in source]
    return None if None in found else min((value for value in found if value is not None), default=None)


def order_of_outputs(example: Example, made: bytes) -> list[int] | None:
    """For each output of the source the place of the made model's that is closest to it, each taken once.

    For converters that say nothing of it. None where there is no such order.
    """
    session = Session(made)
    got = _answers(example, session)
    if got is None or len(got) != len(example.outputs):
        return None
    scores = [[_decibels(wanted, other, exact=example.exact) for other in got] for wanted in example.outputs]
    return _assigned(scores)


def _assigned(scores: Sequence[Sequence[float | None]]) -> list[int] | None:
    """Of each row a column of its own, the best pairs first; the same place first where several are as good."""
    pairs = [
        (-value, row != column, row, column)
        for row, line in enumerate(scores)
        for column, value in enumerate(line)
        if value is not None
    ]
    chosen: dict[int, int] = {}
    for _value, _moved, row, column in sorted(pairs):
        if row not in chosen and column not in chosen.values():
            chosen[row] = column
    return [chosen[row] for row in range(len(scores))] if len(chosen) == len(scores) else None


def _worst(example: Example, session: Session) -> float | None:
    got = _answers(example, session)
    if got is None or len(got) != len(example.outputs):
        return None
    pairs = zip(example.outputs, got, strict=True)
    found = [_decibels(wanted, other, exact=example.exact) for wanted, other in pairs]
    return None if None in found else min((value for value in found if value is not None), default=None)


def _answers(example: Example, session: Session) -> list[Array] | None:
    """What a model answers to an example's inputs, None where they do not fit it."""
    if len(example.inputs) != len(session.inputs):
        return None
    pairs = zip(example.inputs, session.inputs, strict=True)
    given = [_fitting(array, tensor, exact=example.exact) for array, tensor in pairs]
    ready = [array for array in given if array is not None]
    return session.run(ready) if len(ready) == len(given) else None


def _fitting(array: Array, tensor: TensorSpec, *, exact: bool) -> Array | None:
    """An array in the order of axes that the model takes, None where it has none."""
    found = [form for form in _forms(array, exact=exact) if form.shape == tensor.shape]
    return np.ascontiguousarray(found[-1]).astype(tensor.dtype) if found else None


def _decibels(wanted: Array, got: Array, *, exact: bool) -> float | None:
    """The SQNR of an output against the wanted one, in the order of axes that is closest; None where it has none."""
    if got.size != wanted.size or not np.isfinite(wanted).all():
        return None
    if wanted.dtype.kind in "iub":
        return CEILING_DB if (got.ravel() == wanted.ravel()).all() else -CEILING_DB
    if not wanted.any():
        return None
    least = wanted.size * NOISE_FLOOR**2
    pairs = (energies(form.ravel(), got.ravel()) for form in _forms(wanted, exact=exact))
    return max(min(CEILING_DB, decibels(max(signal, least), noise)) for signal, noise in pairs)


def _forms(array: Array, *, exact: bool) -> Iterator[Array]:
    """As it is, and unless it is `exact` with its channels last; the form that a converter makes of NCHW comes last."""
    yield array
    if array.ndim > 2 and not exact:
        yield np.moveaxis(array, 1, -1)
