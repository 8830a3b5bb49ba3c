"""The host's gates: what an int8 model must show before it may be released. Pure: measurements in, results out."""

from collections.abc import Callable
from dataclasses import dataclass

from skerry_agent.wire.manifest import Quality
from skerry_host.build_record import Check
from skerry_host.builder.judge.tasks.table import AGREEMENTS
from skerry_host.builder.modelfile.graph import Graph, Op
from skerry_host.builder.recipe.recipe import Budget, Quantize

DEFAULT_PLAN = Quantize()
FORMS = {"int8": "int8", "int16": "int16", "float": "8-bit weights"}
"""What a model's numbers are, for people, by the activations that were asked for."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What the gates are given. `golden_problem` says why the golden outputs are of no use, empty if they are.

    `as_it_is`: the source was quantized already, its input and output types are given.
    """

    graph: Graph
    quality: Quality
    golden_problem: str
    plan: Quantize = DEFAULT_PLAN
    as_it_is: bool = False


@dataclass(frozen=True, slots=True)
class GateResult:
    """One gate's outcome; `reason` says what is wrong and what to do, empty if it passed.

    `lost_signal` marks a failure that quantization caused, which a look at the layers explains.
    """

    check: Check
    reason: str
    lost_signal: bool = False


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
    allowed = given if measured.as_it_is else {wanted}
    io = [t.name for i in graph.inputs + graph.outputs if (t := graph.tensors[i]).dtype not in allowed]
    spared = plan.io == "float" or measured.as_it_is
    floats = [op for op in graph.float_ops() if not (spared and _converts(graph, op))]
    left = [f"{op.name} ({graph.tensors[op.outputs[0]].name})" for op in floats]
    kind = plan.activations
    advice = f"not {kind}: {', '.join((io + left)[:5])}; replace operators that have no {kind} kernel"
    value = f"{len(graph.ops) - len(left)}/{len(graph.ops)} ops"
    return _result(Check(f"fully {kind}", value, "all", not left + io), advice)


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
    """The task's metric on held-out samples is high enough."""
    q = measured.quality
    low, high = q.int8_interval
    value = f"{q.int8_value:.2%} ({low:.1%}-{high:.1%})"
    beside = "" if q.float_value is None else f"; the float model has {q.float_value:.2%}"
    name = f"{FORMS[measured.plan.activations]} {q.metric}"
    advice = f"{name} {q.int8_value:.2%} is under min_accuracy {budget.min_accuracy:.2%}{beside}"
    ok = q.int8_value >= budget.min_accuracy
    return _result(Check(name, value, f">= {budget.min_accuracy:.2%}", ok), advice)


def accuracy_drop(measured: Measured, budget: Budget) -> GateResult:
    """Quantization costs little of the metric."""
    q = measured.quality
    assert q.float_value is not None
    drop = round(q.float_value - q.int8_value, 9)  # 0.93 - 0.92 is a hair over 0.01
    advice = (
        f"{q.metric} drops by {drop:.2%}, over max_accuracy_drop {budget.max_accuracy_drop:.2%}; "
        "give more, or more typical, calibration samples"
    )
    ok = drop <= budget.max_accuracy_drop
    check = Check(f"{q.metric} drop", f"{drop:.2%}", f"<= {budget.max_accuracy_drop:.2%}", ok)
    return _result(check, advice, lost_signal=True)


def signal(measured: Measured, budget: Budget) -> GateResult:
    """Every output follows the float model's."""
    name, worst = min(measured.quality.sqnr_db.items(), key=lambda item: item[1])
    advice = (
        f"output {name} has {worst:.1f} dB SQNR, under min_sqnr_db {budget.min_sqnr_db:.1f}; "
        "check whether the calibration samples resemble the evaluation samples"
    )
    ok = worst >= budget.min_sqnr_db
    check = Check("worst SQNR", f"{worst:.1f} dB", f">= {budget.min_sqnr_db:.1f} dB", ok)
    return _result(check, advice, lost_signal=True)


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
    Gate(accuracy, known, ("min_accuracy",)),
    Gate(accuracy_drop, compared, ("max_accuracy_drop",)),
    Gate(signal, compared, ("min_sqnr_db",)),
    Gate(size, keys=("max_bytes",)),
    Gate(golden),
)
"""All of them, in order of reporting. A new gate is a function and an entry here."""


def _result(check: Check, advice: str, *, lost_signal: bool = False) -> GateResult:
    return GateResult(check, "" if check.ok else advice, lost_signal and not check.ok)
