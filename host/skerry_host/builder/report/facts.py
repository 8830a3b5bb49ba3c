"""Gathers the facts of a report: one `TargetFacts` for each target, one `Facts` for the build. Draws nothing."""

from collections.abc import Sequence, Set
from dataclasses import dataclass

import numpy as np

from skerry_agent.processing import Array
from skerry_agent.wire.manifest import Quality
from skerry_agent.wire.targets import CPU, EDGETPU, TargetName
from skerry_host.boards import Board
from skerry_host.build_record import BuildRecord, Check, Sampling
from skerry_host.builder.diagnose.advice import Tried, least_db, notable, remedies
from skerry_host.builder.diagnose.layer_stats import LayerStats
from skerry_host.builder.edgetpu.preflight import Outcome, Preflight
from skerry_host.builder.judge.evaluate import Score
from skerry_host.builder.judge.gates import WORST_SQNR, far_above
from skerry_host.builder.judge.tasks.base import Case, View
from skerry_host.builder.judge.tasks.classification import class_of, scores_of
from skerry_host.builder.modelfile.cost import Cost, costs, size
from skerry_host.builder.modelfile.graph import Graph, Op
from skerry_host.builder.quantize.search import SearchStep
from skerry_host.builder.recipe.recipe import Recipe, Task
from skerry_host.builder.report.boxes import Picture
from skerry_host.builder.report.roofline import Roof, accelerator_roof, over_the_link, roof
from skerry_host.builder.runtime.latency import Latency
from skerry_host.builder.targets.base import Compiled

MAX_CLASSES = 30
"""A larger confusion matrix is not legible."""


PLACES: dict[Outcome, str] = {"maps": EDGETPU.name, "cpu": CPU.name, "unknown": "unknown"}
"""Where an operator is predicted to run."""


@dataclass(frozen=True, slots=True)
class OperatorRow:
    """One operator for the table: its cost, what was measured of its first output, its least time and share of all."""

    cost: Cost
    layer: LayerStats | None
    trouble: str
    place: str
    place_reason: str
    bound: str
    least_us: float
    share: float
    width: float


@dataclass(frozen=True, slots=True)
class TargetFacts:
    """One target: what was made, how it compares; `form` is what its numbers are, for people.

    `preflight`: where an Edge TPU is to run the same integers. `pictures`: of a detector, with both models' boxes.

    `reference` and `float_latency` are the float model's, None where the source came quantized.
    """

    target: TargetName
    form: str
    graph: Graph
    quality: Quality
    checks: tuple[Check, ...]
    reasons: Sequence[str]
    layers: Sequence[LayerStats]
    steps: Sequence[SearchStep]
    tried: Tried
    reference: Score | None
    score: Score
    sampling: Sampling
    latency: Latency
    float_latency: Latency | None
    preflight: Preflight | None = None
    pictures: tuple[Picture, ...] = ()

    @property
    def signal_limit(self) -> str:
        """What the gate asked of the SQNR: a number, or nothing where the metric judges that output."""
        return next((check.limit for check in self.checks if check.name == WORST_SQNR), "none")


@dataclass(frozen=True, slots=True)
class Facts:
    """A whole build."""

    recipe: Recipe
    record: BuildRecord
    board: Board
    float_graph: Graph
    targets: Sequence[TargetFacts]
    edgetpu: Compiled | None = None

    @property
    def reasons(self) -> list[str]:
        """Why the build is refused, empty if it is not; with its target where there are several."""
        named = len(self.targets) > 1
        return [f"{part.target}: {reason}" if named else reason for part in self.targets for reason in part.reasons]

    @property
    def search(self) -> list[str]:
        """What a search tried and what each setting gave; with its target where there are several."""
        named = len(self.targets) > 1
        return [f"{part.target}: {step}" if named else str(step) for part in self.targets for step in part.steps]

    def measured(self) -> dict[str, object]:
        """Gates, quality and layers of each target, for a machine."""
        return {
            "targets": [
                {"target": part.target, "quality": part.quality, "checks": part.checks, "layers": part.layers}
                for part in self.targets
            ]
        }


def accelerator_of(facts: Facts) -> Roof | None:
    """The bounds of the board's accelerator, None where there is none or its file gives none."""
    return accelerator_roof(facts.board.peak) if facts.board.peak else None


def roof_of(facts: Facts, part: TargetFacts) -> Roof | None:
    """The bounds of the board's cores for a target, None where the board's file has none."""
    integer = part.form.startswith("int")
    return roof(facts.board.peak, integer=integer) if facts.board.peak else None


def rows(part: TargetFacts, bounds: Roof | None, limit_db: float, accelerator: Roof | None = None) -> list[OperatorRow]:
    """The operators in order; without bounds the share is of the bytes.

    Those predicted for the Edge TPU have the accelerator's bounds, and none where the board's file gives none.
    """
    every = costs(part.graph)
    layers = {layer.index: layer for layer in reversed(part.layers)}
    places = {one.index: one for one in part.preflight.all} if part.preflight else {}
    crossing = crossings(part.graph, {i for i, one in places.items() if one.verdict == "maps"})
    timed = [
        (over_the_link(cost, crossing[cost.index]), accelerator) if cost.index in crossing else (cost, bounds)
        for cost in every
    ]
    weights = [own.least_us(cost) if own else 0.0 if bounds else float(cost.bytes) for cost, own in timed]
    total, most = sum(weights) or 1.0, max(weights, default=0.0) or 1.0
    return [
        OperatorRow(
            cost=cost,
            layer=(layer := layers.get(cost.index)),
            trouble=notable(layer, limit_db) if layer else "",
            place=PLACES[seen.verdict] if (seen := places.get(cost.index)) else part.target,
            place_reason=seen.reason if seen else "",
            bound=own.bound(moved) if own and cost.bytes else "",
            least_us=weight if bounds else 0.0,
            share=weight / total,
            width=weight / most,
        )
        for cost, (moved, own), weight in zip(every, timed, weights, strict=True)
    ]


def crossings(graph: Graph, mapped: Set[int]) -> dict[int, int]:
    """For each mapped operator, by index, the bytes of its activations that come from elsewhere or go there."""
    writers = {tensor: op.index for op in graph.ops for tensor in op.outputs}
    read_outside = {tensor for op in graph.ops if op.index not in mapped for tensor in op.inputs} | set(graph.outputs)

    def crosses(op: Op, tensor: int) -> bool:
        return tensor in read_outside if tensor in op.outputs else writers.get(tensor) not in mapped

    return {
        op.index: sum(size(graph.tensors[t]) for t in (*op.inputs, *op.outputs) if _moves(graph, t) and crosses(op, t))
        for op in graph.ops
        if op.index in mapped
    }


def _moves(graph: Graph, tensor: int) -> bool:
    return not graph.tensors[tensor].constant_bytes


def confusion_counts(score: Score, meaning: Task) -> Array | None:
    """Counts (classes, classes) of true class by answer; None where there are no labels or too many classes."""
    case = Case(meaning, View())
    classes = max(2, scores_of([*score.outputs.values()], case).shape[1])
    if score.labels is None or classes > MAX_CLASSES:
        return None
    answers = class_of([*score.outputs.values()], case)
    counts = np.zeros((classes, classes), np.int64)
    np.add.at(counts, (score.labels.astype(np.int64), answers), 1)
    return counts


def confused(counts: Array, names: Sequence[str], most: int = 3) -> list[str]:
    """The pairs of classes that are confused most often."""
    wrong = counts * (1 - np.eye(len(counts), dtype=np.int64))
    order = np.dstack(np.unravel_index(np.argsort(-wrong, axis=None), wrong.shape))[0][:most]
    return [f"{names[a]} as {names[b]} ({wrong[a, b]})" for a, b in order if wrong[a, b]]


def changes_to_make(facts: Facts, part: TargetFacts, table: Sequence[OperatorRow]) -> list[str]:
    """What to change, the most useful first: accuracy where it is missed, else where the time goes."""
    advice: list[str] = []
    if part.reasons and part.layers:
        advice += [f"{text}." for text in (part.tried.cause, part.tried.found) if text]
        advice += [
            f"Try {hint}." for hint in remedies(part.layers, least_db(facts.recipe.budget.least_sqnr_db), part.tried)
        ]
    real = part.quality.float_value
    if real is not None and (words := far_above(part.quality)):
        advice.append(f"{words[:1].upper()}{words[1:]}.")
    advice += _slow(part) + _unmapped(part) + _where_time_goes(table)
    return advice


def _slow(part: TargetFacts) -> list[str]:
    ratio = part.latency.p50_us / max(part.float_latency.p50_us, 1e-9) if part.float_latency else 0.0
    if ratio < 1.2:
        return []
    words = (
        f"On this machine the quantized model takes {ratio:.1f} times as long as the float one: an operator has no "
        "fast integer kernel here. Find it with `skerry model profile`, and measure on the board."
    )
    return [words]


def _unmapped(part: TargetFacts) -> list[str]:
    """What the Edge TPU will leave to the CPU, and for which reason first."""
    if part.preflight is None or part.preflight.mapped == len(part.preflight.all):
        return []
    left = len(part.preflight.all) - part.preflight.mapped
    words = f"Predicted: {left} of {len(part.preflight.all)} operators are not certain to run on the Edge TPU."
    return [words, *(f"Operator {one.index} ({one.op}): {one.reason}." for one in part.preflight.causes[:2])]


def _where_time_goes(table: Sequence[OperatorRow]) -> list[str]:
    timed = [row for row in table if row.least_us]
    if not timed:
        return []
    top = max(timed, key=lambda row: row.share)
    memory = sum(row.share for row in timed if row.bound == "memory")
    waits = (
        "memory: fewer channels, or a stride before it, move fewer bytes"
        if top.bound == "memory"
        else "arithmetic: fewer filters, a depthwise-separable form or a smaller input need less of it"
    )
    words = f"Operator {top.cost.index} ({top.cost.op}) is {top.share:.0%} of the estimated time on the board: bound by"
    advice = [f"{words} {waits}."]
    if memory > 0.6:
        words = f"{memory:.0%} of the estimated time is bound by memory: smaller activations (earlier strides, fewer"
        advice.append(f"{words} channels at high resolution) help more than fewer multiplications.")
    return advice
