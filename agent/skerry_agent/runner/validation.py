"""Validates the model of a `Job`: loads it, compares it with its bundle, runs the golden inputs, warms it up.

Every failure raises `UnfitError` with the code that a `Refused` message carries. Serves nothing.
"""

import contextlib
import math
from collections.abc import Callable, Sequence

from msgspec import Struct

from skerry_agent.ports.runner_protocol import Job, Ready
from skerry_agent.runner.artifact import open_checked
from skerry_agent.runner.engines import Engine
from skerry_agent.runner.errors import EngineError, GoldenError, InferenceError, UnfitError
from skerry_agent.runner.golden import (
    GoldenSamples,
    compare_golden,
    constant,
    float_steps,
    load_golden,
    reproduces,
)
from skerry_agent.runner.inference import Inference
from skerry_agent.runner.tensor import Tensor, invalid, zeros
from skerry_agent.runner.usual import UsualInputs
from skerry_agent.wire.errors import WireError
from skerry_agent.wire.manifest import Bundle, TensorSpec

WARM_RUNS = 3
"""A runtime lays out its memory in the first inference; caches are warm after a few."""

Open = Callable[[Job], Engine]


def load(job: Job, open_engine: Open) -> Inference:
    """The model in memory, with the tensors that its bundle promises. Raises `UnfitError` (load_failed, damaged)."""
    try:
        engine = open_engine(job)
    except EngineError as error:
        raise UnfitError(str(error), code=error.code) from None
    except (WireError, OSError) as error:
        raise UnfitError(str(error)) from None
    for side, real, promised in (
        ("inputs", engine.inputs, job.bundle.inputs),
        ("outputs", engine.outputs, job.bundle.outputs),
    ):
        if _forms(real) != _forms(promised):
            raise UnfitError(f"the model's {side} are {_forms(real)}, its bundle says {_forms(promised)}")
    check_ends(job.bundle)
    return Inference(engine, job.bundle)


def check_ends(bundle: Bundle) -> None:
    """Raise `UnfitError` where a bundle joins or feeds back what its tensors cannot be."""
    inputs, outputs = ({spec.name: spec for spec in side} for side in (bundle.inputs, bundle.outputs))
    for name, source in bundle.feedback.items():
        if name not in inputs or source not in outputs:
            there = f"the model takes {[*inputs]} and gives {[*outputs]}"
            raise UnfitError(f"its bundle feeds {source} back to {name}, {there}")
        if math.prod(inputs[name].shape) != math.prod(outputs[source].shape):
            raise UnfitError(f"its bundle feeds {source} back to {name}, which has another size")
    if bundle.inputs and not bundle.brought:
        raise UnfitError("its bundle feeds back every input, so that no sample can come in")
    for join in bundle.joins:
        shapes = [bundle.outputs[part].shape for part in join.parts if part < len(bundle.outputs)]
        if len(shapes) < len(join.parts) or not _can_be_joined(shapes, join.axis):
            raise UnfitError(f"its bundle joins {join.name} from outputs {list(join.parts)}, which do not fit together")


def _can_be_joined(shapes: Sequence[tuple[int, ...]], axis: int) -> bool:
    others = {(*shape[:axis], *shape[axis + 1 :]) for shape in shapes}
    return all(axis < len(shape) for shape in shapes) and len(others) == 1


def read_golden(job: Job) -> GoldenSamples | None:
    """The bundle's golden file, None if it has none. Raises `UnfitError` (load_failed, damaged)."""
    artifact = job.bundle.artifact("golden")
    if artifact is None:
        return None
    try:
        with open_checked(job, artifact) as path:
            return load_golden(path)
    except EngineError as error:
        raise UnfitError(f"golden file: {error}", code=error.code) from None
    except (OSError, GoldenError) as error:
        raise UnfitError(f"golden file: {error}") from None


class Validated(Struct, frozen=True):
    """What validation says. `remembers`: asked its first golden input again, the model answered otherwise.

    So its answers depend on what came before, and golden inputs out of their order tell nothing of it.
    """

    ready: Ready
    remembers: bool = False


def validate(job: Job, inference: Inference, golden: GoldenSamples | None) -> Validated:
    """Run every golden input and check the outputs. Without a golden file it only warms, and says 0 samples.

    Raises `UnfitError`: golden_mismatch, invalid_output or constant_output.
    """
    if golden is None:
        _check_valid(_warm(inference, [zeros(t) for t in inference.inputs]))
        return Validated(Ready(samples=0, max_lsb=0, top1=1.0))
    got = _run_all(inference, golden)
    for row in got:
        _check_valid(row)
    if reason := constant(got):
        raise UnfitError(reason, code="constant_output")
    result = compare_golden(golden, got, job.bundle.golden)
    if not result.ok:
        raise UnfitError(result.detail, code="golden_mismatch")
    inference.usual = UsualInputs(golden)
    again = _warm(inference, golden.sample(0, inference.inputs))
    same = reproduces(golden, 0, again, job.bundle.golden, float_steps(golden))
    return Validated(Ready(result.samples, result.max_lsb, result.top1), not same)


def warm_unproven(inference: Inference) -> Validated:
    """Only warm a model that was proven before. Zeros, which it may never have seen, say nothing against it."""
    with contextlib.suppress(UnfitError):
        _warm(inference, [zeros(t) for t in inference.inputs])
    return Validated(Ready(samples=0, max_lsb=0, top1=1.0))


def _run_all(inference: Inference, golden: GoldenSamples) -> list[list[Tensor]]:
    """The outputs of each golden input."""
    try:
        return [inference.run(golden.sample(i, inference.inputs)) for i in range(len(golden))]
    except (InferenceError, GoldenError) as error:
        raise UnfitError(f"golden inputs: {error}", code="golden_mismatch") from None


def _warm(inference: Inference, inputs: list[Tensor]) -> list[Tensor]:
    try:
        return [inference.run(inputs) for _ in range(WARM_RUNS)][-1]
    except InferenceError as error:
        raise UnfitError(str(error)) from None


def _check_valid(outputs: list[Tensor]) -> None:
    if reason := invalid(outputs):
        raise UnfitError(reason, code="invalid_output")


def _forms(tensors: tuple[TensorSpec, ...]) -> str:
    return ", ".join(f"{t.dtype}{list(t.shape)}" for t in tensors) or "none"
