"""Records golden outputs: what the int8 model computes for held-out samples. A device must reproduce them to commit.

Other CPUs and runtimes run the same model with other kernels, which round differently; near a decision boundary one
step becomes thirty. So the samples chosen are those whose outputs are stable, and the limits come from how far the
runtime's own kernels differ on them. Decides nothing about the model: `gates` does.
"""

from collections.abc import Sequence
from math import prod
from typing import Any, Protocol

import numpy as np
from msgspec import Struct

from skerry_agent.processing import Array, Feeding, GoldenSet, compare_golden, constant, differences
from skerry_agent.wire.manifest import Golden, TensorSpec
from skerry_host.builder.data.kept import fitting
from skerry_host.builder.data.samples import Samples
from skerry_host.builder.recipe.recipe import GoldenPlan
from skerry_host.builder.runtime.session import Sessions, is_stateful, stacked

CANDIDATES = 4
"""How many candidates are tried for each golden sample."""
NOISY_RUNS = 2
MOST_SAMPLES, MOST_BYTES = 64, 2 * 1024 * 1024
"""Where there are more classes than golden samples, one of each is recorded, up to so many samples and input bytes."""
ALLOWANCE = 2
"""A device may differ by this many times what the runtime's own kernels do: there are more kernels than two."""
_STRICT = Golden(max_lsb=0, min_top1=1.0)


class Runs(Protocol):
    """A loaded model, or several of it side by side."""

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """Its inputs."""

    def answers(self, rows: Sequence[Sequence[Array]], /) -> list[Array]:
        """For each output one array (N, ...) over ready inputs."""


class Recorded(Struct, frozen=True, eq=False):
    """Golden inputs and outputs, the limits for a device, and how many steps apart the runtime's kernels are there."""

    golden: GoldenSet
    limits: Golden
    spread_lsb: int

    @property
    def remark(self) -> str:
        """What a person should know of limits that they chose; mostly nothing."""
        if self.spread_lsb <= self.limits.max_lsb:
            return ""
        return (
            f"golden.max_lsb = {self.limits.max_lsb} may refuse a healthy device: the runtime's own kernels are "
            f"{self.spread_lsb} steps apart on these samples; leave it out, and the build measures it"
        )


def record(
    model: bytes, samples: Samples, feeding: Feeding, plan: GoldenPlan, earlier: GoldenSet | None = None
) -> Recorded:
    """Quantized inputs, spread over the classes, with the model's outputs; the most stable samples of each class.

    Those of the `earlier` release come first where they are stable enough: devices hold them already, so a patch of the
    golden file is as small as what changed in the outputs. A model with states gets the first samples of
    each class in their order, each with the states that the samples before it lead to.
    """
    sessions, others = Sessions(model, feeding), Sessions(model, feeding, default_kernels=False)
    in_order = is_stateful(sessions.graph, feeding)
    wanted = plan.samples if in_order else max(plan.samples, _covering(samples.classes, sessions))
    indices = choose(samples.classes, wanted if in_order else CANDIDATES * wanted)
    taken = _answered(sessions, _tensors(sessions, samples, feeding, indices))
    elsewhere = replay(others, taken)
    if not in_order:
        labels, costs = samples.classes[indices], instability(sessions, taken, elsewhere)
        order = choose(labels, wanted, costs)
        if earlier is not None:
            worst = max(Golden().max_lsb, *(costs[i] for i in order))
            order = choose(labels, wanted, _preferring(earlier, taken, costs, worst))
        taken = GoldenSet(_rows(taken.inputs, order), _rows(taken.outputs, order))
        elsewhere = _rows(elsewhere, order)
    apart = compare_golden(taken.outputs, elsewhere, _STRICT)
    return Recorded(taken, _limits(plan, apart.max_lsb, apart.top1), apart.max_lsb)


def _covering(labels: Array, sessions: Sessions) -> int:
    """How many samples have one of each class, as far as that is bearable."""
    size = sum(prod(tensor.shape) * np.dtype(tensor.dtype).itemsize for tensor in sessions.inputs)
    return min(len(np.unique(labels)), MOST_SAMPLES, MOST_BYTES // max(1, size))


def _preferring(earlier: GoldenSet, taken: GoldenSet, costs: list[int], worst: int) -> list[int]:
    """The costs, where inputs that were golden before cost least while they are no less stable than the `worst`."""
    if [array.dtype for array in earlier.inputs] != [array.dtype for array in taken.inputs]:
        return costs
    known = {sample.tobytes() for sample in earlier.inputs[0]}
    held = [sample.tobytes() in known for sample in taken.inputs[0]]
    return [-1 if here and cost <= worst else cost for here, cost in zip(held, costs, strict=True)]


def _limits(plan: GoldenPlan, spread_lsb: int, top1: float) -> Golden:
    """What the recipe says; where it is silent, the default or a multiple of what kernels differ by, the wider one."""
    default = Golden()
    lsb, share = min(255, ALLOWANCE * spread_lsb), max(0.0, 1 - ALLOWANCE * (1 - top1))
    return Golden(
        max(default.max_lsb, lsb) if plan.max_lsb is None else plan.max_lsb,
        min(default.min_top1, share) if plan.min_top1 is None else plan.min_top1,
    )


def instability(sessions: Runs, golden: GoldenSet, elsewhere: Sequence[Array]) -> list[int]:
    """For each sample the steps by which its answer moves: `elsewhere`, and with inputs a step up or down."""
    rng = np.random.default_rng(0)
    moved = [elsewhere]
    moved += [replay(sessions, _shaken(golden, rng)) for _ in range(NOISY_RUNS)]
    steps: list[int] = np.max([differences(golden.outputs, outputs) for outputs in moved], axis=(0, 1)).tolist()
    return steps


def _shaken(golden: GoldenSet, rng: np.random.Generator) -> GoldenSet:
    """Every input value a step up, down or left alone; a float one moves by up to 1/255 of its array's range.

    Numbers that are no measurements (ids, lengths, masks) stay: another id is another input, not a rounded one.
    """
    return GoldenSet(tuple(_moved(inputs, rng) for inputs in golden.inputs), golden.outputs)


def _moved(inputs: Array, rng: np.random.Generator) -> Array:
    """One sample at a time: as 64-bit integers all of them would be eight times as large."""
    if inputs.dtype.kind == "b" or (inputs.dtype.itemsize > 2 and inputs.dtype.kind in "iu"):
        return inputs
    shaken = np.empty_like(inputs)
    whole, step = inputs.dtype.kind in "iu", np.ptp(inputs) / 255
    for at, sample in enumerate(inputs):
        steps = rng.integers(-1, 2, sample.shape)
        shaken[at] = _clipped(sample + steps, inputs.dtype) if whole else sample + steps * step
    return shaken


def _clipped(values: Array, dtype: np.dtype[Any]) -> Array:
    info = np.iinfo(dtype)
    return np.clip(values, info.min, info.max)


def replay(sessions: Runs, golden: GoldenSet) -> tuple[Array, ...]:
    """The outputs of a model for recorded inputs: one array (N, ...) per output."""
    return tuple(sessions.answers([golden.sample(i, sessions.inputs) for i in range(len(golden))]))


def problem(model: bytes, golden: GoldenSet) -> str:
    """Why recorded outputs cannot be used; empty if a freshly loaded model repeats them to the last bit."""
    same = constant(golden.outputs)
    result = compare_golden(golden.outputs, replay(Sessions(model, Feeding()), golden), _STRICT)
    return same or ("" if result.ok else result.detail)


def choose(labels: Array, count: int, cost: Sequence[float] = ()) -> list[int]:
    """`count` indices that take the classes in turn, the cheapest samples of each, the first ones of equal cost.

    No class is left out by chance.
    """
    by_class = [np.flatnonzero(labels == label).tolist() for label in np.unique(labels)]
    if cost:
        by_class = [sorted(row, key=cost.__getitem__) for row in by_class]
    turns = (row[turn] for turn in range(max(map(len, by_class))) for row in by_class if turn < len(row))
    return [index for index, _ in zip(turns, range(count), strict=False)]


def _tensors(sessions: Sessions, samples: Samples, feeding: Feeding, indices: list[int]) -> list[list[Array]]:
    """The inputs of each sample; where outputs are fed back, with the states that the samples before lead to."""
    if not feeding.feedback:
        inputs, left = fitting(samples.inputs, feeding, sessions.inputs)
        return [left.tensors(inputs[index], sessions.inputs) for index in indices]
    found, wanted = {}, set(indices)
    with sessions.lent() as session:
        for index in range(max(indices, default=-1) + 1):
            sample = samples.inputs[index]
            if index in wanted:
                found[index] = session.tensors(sample, feeding)
            session.run_raw(sample, feeding)
    return [found[index] for index in indices]


def _answered(sessions: Sessions, rows: list[list[Array]]) -> GoldenSet:
    columns = tuple(stacked(column) for column in zip(*rows, strict=True))
    return GoldenSet(columns, tuple(sessions.answers(rows)))


def _rows(arrays: Sequence[Array], indices: list[int]) -> tuple[Array, ...]:
    return tuple(array[indices] for array in arrays)
