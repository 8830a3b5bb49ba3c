"""Golden inputs and outputs: what a model computed, recorded, and compared with what it computes elsewhere.

A golden file is an .npz with `input_0`.. and `output_0`.. in the model's own dtypes; the first axis of each counts
samples, the others are the tensor's shape without its batch of 1. Runs no model.
A device compares without numpy, in `skerry_agent.runner.golden`, which a test holds equal to this.
"""

from collections.abc import Sequence
from itertools import count, takewhile
from math import prod

import numpy as np
from msgspec import Struct

from skerry_agent.processing.arrays import Array, parse_npz, write_npz
from skerry_agent.processing.errors import ProcessingError
from skerry_agent.wire.manifest import Golden, TensorSpec

FLOAT_STEPS = 255
"""A float output is compared in steps of its recorded range / 255, as if it were an 8-bit one."""
_FAR = 2**31 - 1


class GoldenSet(Struct, frozen=True, eq=False):
    """Inputs and the outputs recorded for them: one array (N, ...) per tensor."""

    inputs: tuple[Array, ...]
    outputs: tuple[Array, ...]

    def __len__(self) -> int:
        return len(self.inputs[0])

    def sample(self, index: int, tensors: Sequence[TensorSpec]) -> list[Array]:
        """Inputs of one sample in the shapes that the model takes; raises `ProcessingError` if they do not fit."""
        here = [(array.dtype.name, array[index].size) for array in self.inputs]
        wanted = [(tensor.dtype, prod(tensor.shape)) for tensor in tensors]
        if here != wanted:
            raise ProcessingError(f"golden inputs are {here}, the model takes {wanted}", code="golden_format")
        return [array[index].reshape(tensor.shape) for array, tensor in zip(self.inputs, tensors, strict=True)]


class GoldenResult(Struct, frozen=True):
    """Largest difference in quantized steps, share of samples whose top-1 agrees, the verdict, one line for people."""

    samples: int
    max_lsb: int
    top1: float
    ok: bool
    detail: str


def save_golden(golden: GoldenSet) -> bytes:
    """A golden file; equal arrays give equal bytes."""
    arrays = {f"input_{i}": array for i, array in enumerate(golden.inputs)}
    return write_npz(arrays | {f"output_{i}": array for i, array in enumerate(golden.outputs)})


def load_golden(raw: bytes) -> GoldenSet:
    """Read a golden file. Raises `ProcessingError` (golden_format) if it is damaged or its arrays do not match."""
    try:
        arrays = parse_npz(raw, "golden file")
    except ProcessingError as error:
        raise ProcessingError(error.message, hint=error.hint, code="golden_format") from None
    golden = GoldenSet(_numbered(arrays, "input"), _numbered(arrays, "output"))
    lengths = {array.shape[0] if array.ndim else 0 for array in (*golden.inputs, *golden.outputs)}
    if not golden.inputs or not golden.outputs or len(lengths) != 1 or 0 in lengths:
        raise ProcessingError(
            "golden file needs input_0 and output_0 with the same number of samples, and at least one",
            code="golden_format",
        )
    return golden


def compare_golden(expected: Sequence[Array], got: Sequence[Array], spec: Golden) -> GoldenResult:
    """Compare outputs (N, ...) with the recorded ones. Top-1 is of the first output; equal maxima agree.

    Integer outputs differ in their own steps, float ones in steps of the recorded range / `FLOAT_STEPS`.
    """
    samples = len(expected[0]) if expected else 0
    shapes = [(e.shape, e.dtype) for e in expected], [(g.shape, g.dtype) for g in got]
    if not samples or shapes[0] != shapes[1]:
        return GoldenResult(samples, _FAR, 0.0, ok=False, detail=f"outputs are {shapes[1]}, recorded were {shapes[0]}")
    steps = differences(expected, got)
    top1 = _agreement(expected[0], got[0])
    worst = int(steps.max())
    output, sample = np.unravel_index(int(steps.argmax()), steps.shape)
    return GoldenResult(
        samples,
        worst,
        top1,
        ok=worst <= spec.max_lsb and top1 >= spec.min_top1,
        detail=f"largest difference {worst} steps (limit {spec.max_lsb}) in output {output} of sample {sample}; "
        f"top-1 agrees on {top1:.1%} of {samples} samples (limit {spec.min_top1:.1%})",
    )


def differences(expected: Sequence[Array], got: Sequence[Array]) -> Array:
    """The largest difference of each output in each sample (outputs, N), in whole steps, of equally shaped arrays."""
    return np.stack([_steps(e, g) for e, g in zip(expected, got, strict=True)])


def constant(outputs: Sequence[Array]) -> str | None:
    """Why these outputs (N, ...) of different inputs are suspect: each is the same for all N. None if they are not."""
    if not outputs or len(outputs[0]) < 2:
        return None
    if all((output == output[:1]).all() for output in outputs):
        return f"every output is the same for all {len(outputs[0])} golden inputs"
    return None


def _numbered(arrays: dict[str, Array], kind: str) -> tuple[Array, ...]:
    names = takewhile(arrays.__contains__, (f"{kind}_{i}" for i in count()))
    return tuple(arrays[name] for name in names)


def _steps(expected: Array, got: Array) -> Array:
    """The largest difference of each sample, in whole steps (N,)."""
    if expected.dtype.kind in "iub":
        return _per_sample(np.abs(expected.astype(np.int64) - got.astype(np.int64)))
    with np.errstate(invalid="ignore"):  # infinity less infinity is NaN, which counts as far off
        step = float(np.ptp(expected)) / FLOAT_STEPS or 1.0
        difference = np.abs(expected.astype(np.float64) - got.astype(np.float64)) / step
    difference = np.minimum(np.nan_to_num(difference, nan=_FAR, posinf=_FAR), _FAR)
    return _per_sample(np.rint(difference).astype(np.int64))


def _per_sample(difference: Array) -> Array:
    largest: Array = difference.reshape(len(difference), -1).max(axis=1, initial=0)
    return largest


def _agreement(expected: Array, got: Array) -> float:
    flat_expected, flat_got = (a.reshape(len(a), -1) for a in (expected, got))
    if not flat_expected.shape[1]:
        return 1.0
    at = np.arange(len(flat_expected))
    same = flat_expected[at, flat_got.argmax(axis=1)] == flat_expected.max(axis=1)
    same |= flat_got[at, flat_expected.argmax(axis=1)] == flat_got.max(axis=1)
    return float(same.mean())
