"""The host's gates: what an int8 model must show before it may be released. Pure: measurements in, results out."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import hypot

from skerry_agent.wire.manifest import ChannelSignal, Quality
from skerry_host.build_record import Check
from skerry_host.builder.judge.kept_classes import KeptClass, lost_classes
from skerry_host.builder.judge.tasks.table import AGREEMENTS
from skerry_host.builder.modelfile.graph import Graph, Op, Tensor
from skerry_host.builder.modelfile.islands import float_left, scope
from skerry_host.builder.recipe.recipe import USUAL_SQNR_DB, Budget, Quantize
from skerry_host.metric_words import in_its_unit

DEFAULT_PLAN = Quantize()
FORMS = {"int8": "int8", "int16": "int16", "float": "8-bit weights"}
"""What a model's numbers are, for people, by the activations that were asked for."""
MIN_STEPS = 2.0
"""A block of channels whose values span fewer steps of its scale has two or three values left."""
WORST_SQNR = "worst SQNR"
"""The name of the gate that asks for a signal."""
FAR_ABOVE = 0.05
"""An int8 model that is so much better than the float one, beyond both intervals, is no good fortune."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What the gates are given. `golden_problem` says why the golden outputs are of no use, empty if they are.

    `as_it_is`: the source was quantized already, its input and output types are given. `chance` is what guessing
    reaches on these samples, None where that has no meaning. `signals`: the SQNR of the outputs that count where they
    are not all. `settled` names the outputs that the metric itself judges, where it shows that answers follow samples,
    and `followed` those of them that need no SQNR either. `classes`: how many answers of each are still given.
    """

    graph: Graph
    quality: Quality
    golden_problem: str
    plan: Quantize = DEFAULT_PLAN
    as_it_is: bool = False
    chance: float | None = None
    signals: Mapping[str, float] | None = None
    settled: frozenset[str] = frozenset()
    followed: frozenset[str] = frozenset()
    classes: tuple[KeptClass, ...] = ()

    @property
    def judged(self) -> Mapping[str, float]:
        """The SQNR of the outputs that count, by name."""
        return self.quality.sqnr_db if self.signals is None else self.signals


@dataclass(frozen=True, slots=True)
class GateResult:
    """One gate's outcome; `reason` says what is wrong and what to do, empty if it passed.

    `lost_signal` marks a failure that quantization caused, which a look at the layers explains; `at_chance` one of a
    model that does no better than guessing.
    """

    check: Check
    reason: str
    lost_signal: bool = False
    at_chance: bool = False


def run_gates(measured: Measured, budget: Budget) -> list[GateResult]:
    """The verdict of every gate that has something to say, in order of reporting."""
    return [gate.run(measured, budget) for gate in GATES if gate.applies(measured)]


def integers(measured: Measured, budget: Budget) -> GateResult:  # noqa: ARG001  (all gates look alike)
    """Inputs, outputs and operators compute on the integers that were asked for."""
    graph, plan = measured.graph, measured.plan
    if fused(graph):
        return _fused(graph)
    if plan.activations == "float":
        return _dynamic(graph)
    wanted = "float32" if plan.io == "float" else plan.io
    given = {"int8", "uint8", "int16", "float32"}
    allowed = (given if measured.as_it_is else {wanted}) | WHOLE_NUMBERS
    ends = [graph.tensors[i] for i in graph.inputs + graph.outputs]
    io = [t.name for t in ends if t.dtype not in allowed and not _raw_bytes(graph, t)]
    floats = unasked(graph, plan, as_it_is=measured.as_it_is)
    causes = [op for op in floats if op.name not in _BETWEEN] or floats
    left = [f"{op.name} ({scope(graph, op)})" for op in causes]
    asked = len(_floats(graph, plan, (), as_it_is=measured.as_it_is)) - len(floats)
    kind = plan.activations
    advice = f"not {kind}: {', '.join((io + left)[:5])}; replace operators that have no {kind} kernel"
    value = f"{len(graph.ops) - len(floats) - asked}/{len(graph.ops)} ops"
    limit = f"all but {asked} that were to stay float" if asked else "all"
    return _result(Check(f"fully {kind}", value, limit, not left + io), advice)


def unasked(graph: Graph, plan: Quantize, *, as_it_is: bool = False) -> list[Op]:
    """The operators that compute on float though `keep_float` does not name them."""
    return [] if plan.activations == "float" else _floats(graph, plan, plan.keep_float, as_it_is=as_it_is)


def _floats(graph: Graph, plan: Quantize, kept: Sequence[str], *, as_it_is: bool) -> list[Op]:
    """The float operators but those that are kept, and but conversions at ends that may be float."""
    spared = plan.io == "float" or as_it_is
    return [op for op in float_left(graph, kept) if not (spared and _converts(graph, op))]


WHOLE_NUMBERS = {"int32", "int64", "bool"}
"""Ids, masks, lengths, indices: they have no scale, and stay what they are whatever the plan says."""


_TAKES_BYTES = {"CAST", "GATHER", "EMBEDDING_LOOKUP", "ONE_HOT"}


def _raw_bytes(graph: Graph, tensor: Tensor) -> bool:
    """Whether an input takes bytes as they are, which the model itself makes real numbers of."""
    readers = {op.name for op in graph.ops if tensor.index in op.inputs}
    plain = tensor.dtype in {"uint8", "int8"} and not tensor.scale and tensor.index in graph.inputs
    return plain and bool(readers) and readers <= _TAKES_BYTES


_BETWEEN = {"QUANTIZE", "DEQUANTIZE"}
"""They stand on either side of an operator that computes on real numbers: that one is the cause, not they."""


def form(measured: Measured) -> str:
    """What a model's numbers are, for people."""
    return FORMS["int8" if fused(measured.graph) else measured.plan.activations]


def fused(graph: Graph) -> bool:
    """Whether it is an ONNX model of pairs that the runtime fuses into integer operators (QDQ)."""
    return any(op.name == "DequantizeLinear" for op in graph.ops)


_COMPUTE_OPS = {"Conv", "ConvTranspose", "Gemm", "MatMul"}


def _fused(graph: Graph) -> GateResult:
    """In ONNX, operators without an int8 form may stay float between the others; those that do the work may not."""
    compute = [op for op in graph.ops if op.name in _COMPUTE_OPS]
    left = [op for op in compute if graph.tensors[op.inputs[0]].dtype != "int8"]
    names = ", ".join(f"{op.name} ({graph.tensors[op.outputs[0]].name})" for op in left[:5])
    value = f"{len(compute) - len(left)}/{len(compute)} compute ops"
    return _result(Check("int8 in compute operators", value, "all", not left), f"not int8: {names}")


def _dynamic(graph: Graph) -> GateResult:
    """With a dynamic range activations stay float: what counts is that there are 8-bit weights."""
    with_weights = [op for op in graph.ops if any(graph.tensors[i].dtype == "int8" for i in op.inputs)]
    value = f"{len(with_weights)}/{len(graph.ops)} ops"
    return _result(Check("8-bit weights", value, "some", bool(with_weights)), "no operator has 8-bit weights")


def _converts(graph: Graph, op: Op) -> bool:
    """Whether an operator only stands between a float end of the model and its integers."""
    io = set(graph.inputs) | set(graph.outputs)
    return op.name in {"QUANTIZE", "DEQUANTIZE"} and bool(io & {*op.inputs, *op.outputs})


def accuracy(measured: Measured, budget: Budget) -> GateResult:
    """The task's metric on held-out samples is good enough."""
    q = measured.quality
    low, high = q.int8_interval
    value = f"{shown(q, q.int8_value)} ({shown(q, low, 1)}-{shown(q, high, 1)})"
    beside = "" if q.float_value is None else f"; the float model has {shown(q, q.float_value)}"
    name = f"{FORMS[measured.plan.activations]} {q.metric}"
    if q.better == "lower":
        most = budget.max_error
        limit = "none" if most is None else f"<= {shown(q, most)}"
        advice = f"{name} {shown(q, q.int8_value)} is over max_error {shown(q, most or 0.0)}{beside}"
        return _result(Check(name, value, limit, most is None or q.int8_value <= most), advice)
    reached, least = told_apart(lambda value, digits: shown(q, value, digits), q.int8_value, budget.min_accuracy, 2)
    advice = f"{name} {reached} is under min_accuracy {least}{beside}"
    return _result(
        Check(name, value, f">= {shown(q, budget.min_accuracy)}", q.int8_value >= budget.min_accuracy), advice
    )


def accuracy_drop(measured: Measured, budget: Budget) -> GateResult:
    """Quantization costs little of the metric."""
    q = measured.quality
    assert q.float_value is not None
    lost = loss(q.float_value, q.int8_value, q.better)
    allowed = allowed_loss(q.float_value, q.unit, budget, measured.chance)
    says, word = ("rises", "rise") if q.better == "lower" else ("drops", "drop")
    drop, most = told_apart(lambda value, digits: shown(q, value, digits), lost, allowed, 2)
    advice = f"{q.metric} {says} by {drop}, over {_allowance(measured, budget, most)}"
    check = Check(f"{q.metric} {word}", shown(q, lost), f"<= {shown(q, allowed)}", lost <= allowed)
    return _result(check, advice, lost_signal=True)


def _allowance(measured: Measured, budget: Budget, most: str) -> str:
    """Which key allows how much, in words."""
    q = measured.quality
    if not q.unit:
        return f"max_accuracy_drop {most}"
    part, value = f"max_relative_loss {budget.max_relative_loss:.2%} of", q.float_value or 0.0
    if allowed_loss(value, q.unit, budget, measured.chance) > allowed_loss(value, q.unit, budget):
        return f"{most}, for {part} what guessing has, {shown(q, measured.chance or 0.0)}"
    return f"{part} {shown(q, value)}"


def classes_kept(measured: Measured, budget: Budget) -> GateResult:
    """No class is lost where the float model found it, however rare it is among the samples."""
    worst = min(measured.classes, key=lambda one: one.share)
    problems = lost_classes(measured.classes, budget.min_class_kept)
    by_chance = "" if problems or worst.share >= budget.min_class_kept else " (may be chance)"
    check = Check(
        "worst class kept",
        f"{worst.name}: {worst.kept} of {worst.found}{by_chance}",
        f">= {budget.min_class_kept:.0%}",
        not problems,
    )
    return _result(check, "; ".join(problems), lost_signal=True)


def above_chance(measured: Measured, budget: Budget) -> GateResult:
    """The float model does better than guessing would: one that does not shows nothing of what quantization costs."""
    q = measured.quality
    value, interval = (q.float_value, q.float_interval) if q.float_interval else (q.int8_value, q.int8_interval)
    assert measured.chance is not None
    assert value is not None
    assert interval is not None
    guessed = measured.chance
    near = guesses(interval, guessed, q.better)
    which = "float model" if q.float_interval else "model"
    advice = (
        f"the {which} has {q.metric} {shown(q, value)} ({shown(q, interval[0], 1)}-{shown(q, interval[1], 1)}), which "
        f"is what guessing reaches on these samples ({shown(q, guessed)}): check labels, their order, [preprocess] and "
        "which output comes first, or give more samples; budget.allow_chance = true builds it all the same"
    )
    limit = "none" if budget.allow_chance else f"above chance, {shown(q, guessed)}"
    check = Check(f"{which} {q.metric}", shown(q, value), limit, budget.allow_chance or not near)
    return GateResult(check, "" if check.ok else advice, at_chance=not check.ok)


def guesses(interval: tuple[float, float], chance: float, better: str) -> bool:
    """Whether a figure's interval reaches what guessing does."""
    return interval[1] >= chance if better == "lower" else interval[0] <= chance


def signal(measured: Measured, budget: Budget) -> GateResult:
    """Every output follows the float model's, but those that the metric judges and no limit is asked for."""
    needed = unsettled(measured.judged, budget, measured.followed)
    name, worst = min((needed or measured.judged).items(), key=lambda item: item[1])
    ok = not needed or worst >= budget.least_sqnr_db
    reached, limit = told_apart(lambda value, digits: f"{value:.{digits}f}", worst, budget.least_sqnr_db, 1)
    advice = f"output {name} has {reached} dB SQNR, under min_sqnr_db {limit}"
    wanted = f">= {limit} dB" if needed else f"none, judged by {measured.quality.metric}"
    return _result(Check(WORST_SQNR, f"{reached} dB", wanted, ok), advice, lost_signal=True)


def unsettled(signals: Mapping[str, float], budget: Budget, followed: frozenset[str]) -> Mapping[str, float]:
    """The SQNR of the outputs that need one, by name."""
    if budget.min_sqnr_db is not None:
        return signals
    return {name: db for name, db in signals.items() if name not in followed}


def told_apart(show: Callable[[float, int], str], value: float, limit: float, digits: int) -> tuple[str, str]:
    """Both as text, with as many digits as show that they differ: "15.0 dB, under 15.0" tells nobody anything."""
    texts = ((show(value, more), show(limit, more)) for more in range(digits, digits + 6))
    return next((pair for pair in texts if pair[0] != pair[1]), (show(value, digits), show(limit, digits)))


def channels(measured: Measured, budget: Budget) -> GateResult:
    """No block of channels of an output is lost in the steps or the noise of the others."""
    every = measured.quality.channels
    problems = lost_channels(every, budget, measured.settled)
    steps = min((one.steps for one in every if one.steps is not None), default=None)
    middle = min((one.sqnr_db for one in every if one.sqnr_db is not None), default=None)
    parts = [
        *([] if steps is None else [f"{steps:.3g} steps"]),
        *([] if middle is None else [f"{middle:.1f} dB"]),
    ]
    limits = f">= {MIN_STEPS:g} steps, {budget.min_channel_db:g} dB"
    limits += f"; {', '.join(sorted(measured.settled))} by {measured.quality.metric}" if measured.settled else ""
    check = Check("worst channels", ", ".join(parts) or "constant", limits, not problems)
    return _result(
        check, "; ".join(problems), lost_signal=all(one.steps is None or one.steps >= MIN_STEPS for one in every)
    )


def lost_channels(every: Sequence[ChannelSignal], budget: Budget, settled: frozenset[str]) -> list[str]:
    """What is wrong with each block, but those of the output that the metric itself has judged.

    A classifier that says the same as before, of classes that come in turn, does its job however near its scores are;
    of an output with other things beside its classes the metric says nothing.
    """
    blocks = [one.output for one in every]
    judged = [one for one in every if one.output not in settled or blocks.count(one.output) > 1]
    return [problem for one in judged if (problem := channel_problem(one, budget, alone=blocks.count(one.output) == 1))]


def coarse(measured: Measured, budget: Budget) -> str:
    """A warning where a model answers as it should, by numbers of which little is left; else empty."""
    settled = [one for one in measured.quality.channels if one.output in measured.settled]
    steps = min((one.steps for one in settled if one.steps is not None), default=MIN_STEPS)
    if steps < MIN_STEPS:
        names = ", ".join(sorted({one.output for one in settled}))
        return (
            f"output {names}: the answers are right, but the scores of all samples lie within {steps:.2g} steps of the "
            "output's scale: a device cannot tell by a score how sure an answer is"
        )
    noisy = {name: db for name, db in measured.judged.items() if name in measured.settled and db < USUAL_SQNR_DB}
    if not noisy or budget.min_sqnr_db is not None:
        return ""
    name, worst = min(noisy.items(), key=lambda item: item[1])
    return (
        f"output {name}: the answers are right, but its numbers have {worst:.1f} dB SQNR only: scores differ from the "
        f"float model's; min_sqnr_db = {USUAL_SQNR_DB:g} in [budget] refuses that"
    )


def channel_problem(one: ChannelSignal, budget: Budget, *, alone: bool = False) -> str:
    """What is wrong with a block of channels, empty if nothing is; `alone` if it is all of its output."""
    some = f"channel {one.first}" if one.first == one.last else f"channels {one.first}..{one.last}"
    some = f"{one.scattered} of {some}" if one.scattered else some
    if one.steps is not None and one.steps < MIN_STEPS:
        remedy = (
            "look whether the evaluation samples hold what the model answers to"
            if alone
            else "export the model with an output of their own for them (not tried)"
        )
        return (
            f"output {one.output}, {some}: their values span {one.steps:.2g} steps of the output's scale, so hardly "
            f"anything is left of them; {remedy}"
        )
    if one.sqnr_db is not None and one.sqnr_db < budget.min_channel_db:
        return (
            f"output {one.output}, {some}: {one.sqnr_db:.1f} dB of what they vary by to noise, under min_channel_db "
            f"{budget.min_channel_db:g}"
        )
    return ""


def size(measured: Measured, budget: Budget) -> GateResult:
    """The file fits."""
    size, limit = measured.quality.int8_bytes, budget.max_bytes
    advice = f"the model has {size} bytes, over max_bytes {limit}; make it smaller or raise the budget"
    ok = limit is None or size <= limit
    return _result(Check("size", f"{size} B", f"<= {limit} B" if limit else "none", ok), advice)


def golden(measured: Measured, budget: Budget) -> GateResult:  # noqa: ARG001
    """A reloaded model repeats the golden outputs, and they depend on the input."""
    problem = measured.golden_problem
    check = Check("golden outputs", problem or "repeatable", "repeatable", not problem)
    return _result(check, f"golden outputs: {problem}")


def compared(measured: Measured) -> bool:
    """Whether there is a float model to compare with."""
    return measured.quality.float_value is not None


def has_channels(measured: Measured) -> bool:
    """Whether anything is known of the channels."""
    return bool(measured.quality.channels)


def has_classes(measured: Measured) -> bool:
    """Whether the float model finds any class in enough samples."""
    return bool(measured.classes)


def has_chance(measured: Measured) -> bool:
    """Whether guessing has a meaning, and answers were compared with what is right."""
    return measured.chance is not None


def known(measured: Measured) -> bool:
    """Whether it is known how many answers are right: without labels and a float model, a model agrees with itself."""
    return compared(measured) or measured.quality.metric not in AGREEMENTS


def always(_measured: Measured) -> bool:
    """The gate applies to every model."""
    return True


@dataclass(frozen=True, slots=True)
class Gate:
    """One gate: how it judges, whether it says something of what was measured, and the keys of [budget] that set it."""

    run: Callable[[Measured, Budget], GateResult]
    applies: Callable[[Measured], bool] = always
    keys: tuple[str, ...] = ()


GATES: tuple[Gate, ...] = (
    Gate(integers),
    Gate(above_chance, has_chance, ("allow_chance",)),
    Gate(accuracy, known, ("min_accuracy", "max_error")),
    Gate(accuracy_drop, compared, ("max_accuracy_drop", "max_relative_loss")),
    Gate(classes_kept, has_classes, ("min_class_kept",)),
    Gate(signal, compared, ("min_sqnr_db",)),
    Gate(channels, has_channels, ("min_channel_db",)),
    Gate(size, keys=("max_bytes",)),
    Gate(golden),
)
"""All of them, in order of reporting. A new gate is a function and an entry here."""


def shown(quality: Quality, value: float, digits: int = 2) -> str:
    """A value of the metric for people: a share in percent, else with its unit."""
    return in_its_unit(value, quality.unit, digits)


def loss(float_value: float, int8_value: float, better: str) -> float:
    """By how much the second value is worse."""
    lost = float_value - int8_value
    return round(lost if better == "higher" else -lost, 9)  # 0.93 - 0.92 is a hair over 0.01


def allowed_loss(float_value: float, unit: str, budget: Budget, chance: float | None = None) -> float:
    """How much worse it may be: points of a share; of what has a unit a part of the float model's value.

    That part of a model that is all but perfect is less than one step of 8 bits. So rounding may be off by the same
    part of what guessing is off by (`chance`), which adds to the model's own error as independent errors do, by their
    squares: much where there is none, nothing that counts where that is large.
    """
    if not unit:
        return budget.max_accuracy_drop
    own, rounding = abs(float_value), budget.max_relative_loss * (chance or 0.0)
    return max(budget.max_relative_loss * own, hypot(own, rounding) - own)


def far_above(quality: Quality) -> str:
    """A warning where the int8 model is far above the float one, beyond both intervals; else empty."""
    q = quality
    if q.float_value is None or q.float_interval is None:
        return ""
    gained = -loss(q.float_value, q.int8_value, q.better)
    least = FAR_ABOVE if not q.unit else FAR_ABOVE * abs(q.float_value)
    inside = q.int8_interval[0] <= q.float_value <= q.int8_interval[1]
    if gained < least or inside:
        return ""
    each = [
        f"{shown(q, value)} ({shown(q, low, 1)}-{shown(q, high, 1)})"
        for value, (low, high) in ((q.int8_value, q.int8_interval), (q.float_value, q.float_interval))
    ]
    return (
        f"{q.metric} of the quantized model, {each[0]}, is far above the float model's, {each[1]}: quantization "
        "improves nothing, so check labels, [preprocess] and which output comes first"
    )


def _result(check: Check, advice: str, *, lost_signal: bool = False) -> GateResult:
    return GateResult(check, "" if check.ok else advice, lost_signal and not check.ok)
