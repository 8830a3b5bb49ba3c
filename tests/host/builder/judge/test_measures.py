import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs
from msgspec.structs import replace

from skerry_agent.processing import Feeding
from skerry_agent.wire.manifest import Quality
from skerry_host.build_record import Check
from skerry_host.builder.build import Build
from skerry_host.builder.data.samples import Samples
from skerry_host.builder.judge import gates
from skerry_host.builder.judge.evaluate import Score, answers_only, evaluate, sqnr_by_output
from skerry_host.builder.judge.gates import Measured, run_gates
from skerry_host.builder.judge.golden import choose
from skerry_host.builder.judge.intervals import wilson
from skerry_host.builder.judge.kept_classes import KeptClass
from skerry_host.builder.judge.signal import CEILING_DB, sqnr_db
from skerry_host.builder.judge.tasks.classification import top1
from skerry_host.builder.modelfile.graph import Graph, Op, Tensor
from skerry_host.builder.modelfile.islands import front_end
from skerry_host.builder.quantize.op_versions import INT8_VERSIONS
from skerry_host.builder.recipe.recipe import Budget, Data, InputPlan, Quantize, Recipe, SourcePlan, Task
from skerry_host.builder.runtime.session import Session
from tests.kit.recipes import FASHION, REPOSITORY
from tests.kit.running_sum import running_sum


@pytest.mark.parametrize(("right", "interval"), [(0, (0.0, 0.2775)), (10, (0.7225, 1.0)), (5, (0.2366, 0.7634))])
def test_the_interval_of_few_samples(right: int, interval: tuple[float, float]):
    assert wilson(right, 10) == pytest.approx(interval, abs=1e-4)


@given(st.integers(1, 10_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_interval_holds_the_share_and_stays_a_share(case: tuple[int, int]):
    right, samples = case
    low, high = wilson(right, samples)
    assert 0 <= low <= right / samples + 1e-12
    assert right / samples - 1e-12 <= high <= 1
    assert high > low


def test_the_interval_of_a_known_example():
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)  # Newcombe, Stat. Med. 17 (1998), table I


def test_sqnr():
    reference = np.array([1.0, -2.0, 3.0])
    assert sqnr_db(reference, reference) == math.inf
    assert sqnr_db(reference, reference * 1.1) == pytest.approx(20.0)
    assert sqnr_db(np.zeros(3), reference) == -math.inf
    assert sqnr_db(reference, np.array([1.0, np.nan, 3.0])) == -math.inf
    assert sqnr_db(np.array([1.0, np.inf]), np.ones(2)) == -math.inf
    assert sqnr_db(np.zeros(3), np.zeros(3)) == math.inf
    loud = np.full(4, 200, np.float32) * 1e18  # the square is beyond float32
    assert sqnr_db(loud, loud / np.float32(2)) == pytest.approx(20 * math.log10(2))


def score(**outputs: list[float]) -> Score:
    return Score("top1", 2, 1.0, (0.3, 1.0), {name: np.array(values) for name, values in outputs.items()})


def test_outputs_are_compared_in_their_order_and_within_what_json_has():
    ours, theirs = score(a=[1.0, 2.0], b=[0.0, 0.0], c=[3.0, 4.0]), score(z=[1.0, 2.0], y=[0.0, 1.0], x=[3.0, 4.5])
    assert sqnr_by_output(ours, theirs) == {"a": CEILING_DB, "b": -CEILING_DB, "c": pytest.approx(20.0)}
    with pytest.raises(ValueError, match="shorter"):
        sqnr_by_output(ours, score(z=[1.0, 2.0]))


def test_a_model_is_scored_by_what_its_answers_mean(built: Build):
    model, feeding = (built.path / "model.tflite").read_bytes(), Feeding.of(built.record.bundles[0])
    arrays, told = np.load(FASHION / "evaluation.npz"), []
    samples = Samples.of(arrays["inputs"][:60], truth=arrays["labels"][:60])
    task = Task("classification")
    found = evaluate(model, samples, feeding, task, lambda step, done=0, of=0, /: told.append(step))
    session = Session(model)
    answers = np.concatenate([session.run_raw(sample, feeding)[0] for sample in samples])
    right = int((answers.argmax(axis=1) == samples.classes).sum())
    assert 40 < right < 60
    assert (found.metric, found.samples, found.value, found.interval) == ("top1", 60, right / 60, wilson(right, 60))
    (spec,) = session.outputs
    np.testing.assert_allclose(found.outputs[spec.name], (answers - np.float64(spec.zero_point)) * spec.scale)
    assert told[-1] == "evaluating 60 samples"


def test_a_model_that_remembers_is_scored_in_the_order_of_the_samples():
    """Not in parts beside each other: it would forget at the start of each."""
    inputs = np.random.default_rng(4).integers(0, 9, (100, 2)).astype(np.float32)
    samples = Samples.of(inputs)
    found = evaluate(running_sum(2), samples, Feeding(), Task("raw"))
    np.testing.assert_array_equal(found.outputs["y"], np.cumsum(inputs, axis=0))


def test_top1():
    assert top1(np.array([[0.1, 0.9], [0.8, 0.2], [0.4, 0.6]]), np.array([1, 0, 0])).tolist() == [True, True, False]


@given(st.lists(st.integers(0, 9), min_size=2, max_size=200), st.integers(2, 40))
def test_golden_samples_take_the_classes_in_turn(labels: list[int], count: int):
    chosen = choose(np.array(labels), count)
    assert len(chosen) == len(set(chosen)) == min(count, len(labels))
    counts = [sum(labels[i] == label for i in chosen) for label in set(labels)]
    limits = [labels.count(label) for label in set(labels)]
    assert all(n >= min(limit, max(counts) - 1) for n, limit in zip(counts, limits, strict=True))


def graph(dtype: str = "int8") -> Graph:
    tensors = tuple(Tensor(i, f"t{i}", kind, (1, 4), (1, 4), 0) for i, kind in enumerate(["int8", dtype, "int8"]))
    ops = (Op(0, "CONV_2D", 3, False, (0,), (1,)), Op(1, "RELU6", 2, False, (1,), (2,)))
    return Graph(1, tensors, ops, (0,), (2,))


def quality(int8: float = 0.92, sqnr: float = 30.0, size: int = 1000) -> Quality:
    return Quality("top1", 1000, 0.925, int8, (0.9, 0.94), (0.9, 0.94), {"a": 40.0, "b": sqnr}, 4000, size)


def test_the_form_is_the_one_that_was_asked_for():
    plan = Quantize(activations="int16", io="int16")
    verdicts = run_gates(Measured(graph("int16"), quality(int8=0.5), "", plan), Budget(min_accuracy=0.9))
    assert verdicts[1].check.name == "int16 top1"
    assert verdicts[1].reason.startswith("int16 top1 50.00% is under")


def test_the_signal_of_scores_is_what_a_sigmoid_tells_apart():
    """Of -9000 and 3 only the second is a score that anybody sees; and what is not finite is not hidden."""
    ours = dataclasses.replace(score(a=[-9000.0, 3.0]), through_sigmoid=frozenset({"a"}))
    assert sqnr_by_output(ours, score(a=[-8.0, 3.0])) == {"a": CEILING_DB}
    assert sqnr_by_output(ours, score(a=[-9000.0, -1.0]))["a"] < 10
    assert sqnr_by_output(ours, score(a=[-8.0, np.nan])) == {"a": -CEILING_DB}


def test_a_class_that_is_lost_is_a_refusal_however_good_the_metric_is():
    kept = (KeptClass("cat", 40, 39), KeptClass("dog", 6, 2))
    verdicts = {
        result.check.name: result for result in run_gates(Measured(graph(), quality(), "", classes=kept), Budget())
    }
    gate = verdicts["worst class kept"]
    assert (gate.check.value, gate.check.limit, gate.check.ok, gate.lost_signal) == (
        "dog: 2 of 6",
        ">= 50%",
        False,
        True,
    )
    assert "of 6 samples in which the float model finds dog" in gate.reason
    few = (*(KeptClass(str(at), 90, 80) for at in range(300)), KeptClass("dog", 5, 2))
    every = run_gates(Measured(graph(), quality(), "", classes=few), Budget())
    (kept_gate,) = (one for one in every if one.check.name == "worst class kept")
    assert (kept_gate.check.value, kept_gate.reason) == ("dog: 2 of 5 (may be chance)", "")
    lax = run_gates(Measured(graph(), quality(), "", classes=kept), Budget(min_class_kept=0.3))
    assert not [one.reason for one in lax if one.reason]


def net(kinds: str, *ops: str, weights: str = "") -> Graph:
    """Operators one after the other, between tensors of these kinds; the first operator also reads `weights`."""
    every = enumerate([*kinds.split(), weights])
    tensors = tuple(Tensor(i, f"t{i}", kind, (1, 4), (1, 4), 0, 1, 0.5 * ("int" in kind)) for i, kind in every)
    first = (len(ops) + 1,) if weights else ()
    made = [Op(i, name, 1, False, (i, *first) if i == 0 else (i,), (i + 1,)) for i, name in enumerate(ops)]
    return Graph(1, tensors, tuple(made), (0,), (len(ops),))


INT16, UINT8_ENDS, FLOAT_ENDS = Quantize(activations="int16", io="int16"), Quantize(io="uint8"), Quantize(io="float")
DYNAMIC = Quantize(activations="float", io="float")
ROUND = ("QUANTIZE", "DEQUANTIZE")
NO_FORM = "; replace operators that have no int8 kernel"
# A model and what was asked for; what is said: (gate, value, what is wrong).
INTEGERS = {
    "int8": (net("int8 int8", "ADD"), Quantize(), ("fully int8", "1/1 ops", "")),
    "int16": (net("int16 int16", "ADD"), INT16, ("fully int16", "1/1 ops", "")),
    "int16 in vain": (
        net("int16 float32 int16", "ADD", "ADD"),
        INT16,
        ("fully int16", "0/2 ops", "not int16: ADD (t1), ADD (t2); replace operators that have no int16 kernel"),
    ),
    "uint8 ends": (net("uint8 int8 uint8", "QUANTIZE", "QUANTIZE"), UINT8_ENDS, ("fully int8", "2/2 ops", "")),
    "ends of another kind": (
        net("uint8 int8 int8", "QUANTIZE", "ADD"),
        Quantize(),
        ("fully int8", "2/2 ops", f"not int8: t0{NO_FORM}"),
    ),
    "int8 instead of uint8": (
        net("int8 int8", "ADD"),
        UINT8_ENDS,
        ("fully int8", "1/1 ops", f"not int8: t0, t1{NO_FORM}"),
    ),
    "float ends": (net("float32 int8 float32", *ROUND), FLOAT_ENDS, ("fully int8", "2/2 ops", "")),
    "float ends that nobody wants": (
        net("float32 int8 float32", *ROUND),
        Quantize(),
        ("fully int8", "0/2 ops", f"not int8: t0, t2, QUANTIZE (t1), DEQUANTIZE (t2){NO_FORM}"),
    ),
    "float inside": (
        net("float32 int8 float32 int8 float32", *ROUND, *ROUND),
        FLOAT_ENDS,
        ("fully int8", "2/4 ops", f"not int8: DEQUANTIZE (t2), QUANTIZE (t3){NO_FORM}"),
    ),
    "a float operator at a float end": (
        net("float32 float32 int8 float32", "RELU", *ROUND),
        FLOAT_ENDS,
        ("fully int8", "1/3 ops", f"not int8: RELU (t1){NO_FORM}"),
    ),
    "many": (
        net("int8 float32 float32 float32 float32 float32 int8", *["RELU"] * 6),
        Quantize(),
        ("fully int8", "0/6 ops", f"not int8: RELU (t1), RELU (t2), RELU (t3), RELU (t4), RELU (t5){NO_FORM}"),
    ),
    "8-bit weights": (
        net("float32 float32 float32", "FULLY_CONNECTED", "RELU", weights="int8"),
        DYNAMIC,
        ("8-bit weights", "1/2 ops", ""),
    ),
    "no 8-bit weights": (
        net("float32 float32 float32", "FULLY_CONNECTED", "RELU", weights="float32"),
        DYNAMIC,
        ("8-bit weights", "0/2 ops", "no operator has 8-bit weights"),
    ),
    "ONNX": (
        net("int8 int8 float32 float32", "Conv", "DequantizeLinear", "Relu"),
        Quantize(),
        ("int8 in compute operators", "1/1 compute ops", ""),
    ),
    **{
        f"ONNX, a float {name} of int8 weights": (
            net("float32 float32 int8 float32", name, "QuantizeLinear", "DequantizeLinear", weights="int8"),
            Quantize(),
            ("int8 in compute operators", "0/1 compute ops", f"not int8: {name} (t1)"),
        )
        for name in ("Conv", "ConvTranspose", "Gemm", "MatMul")
    },
    "ONNX, many": (
        net("float32 " * 7 + "float32", *["Gemm"] * 6, "DequantizeLinear"),
        Quantize(),
        ("int8 in compute operators", "0/6 compute ops", "not int8: " + ", ".join(f"Gemm (t{i})" for i in range(1, 6))),
    ),
}


@pytest.mark.parametrize("case", INTEGERS)
def test_what_was_asked_for_is_what_there_is(case: str):
    made, plan, (name, value, reason) = INTEGERS[case]
    verdict = run_gates(Measured(made, quality(), "", plan), Budget())[0]
    limit = "some" if name == "8-bit weights" else "all"
    assert (verdict.check, verdict.reason) == (Check(name, value, limit, not reason), reason)


@pytest.mark.parametrize("kind", ["int8", "uint8", "int16", "float32", "int32", "float64"])
def test_a_source_that_came_quantized_may_keep_its_ends(kind: str):
    """Whole numbers among them: they are ids."""
    verdict = run_gates(Measured(net(f"{kind} int8 {kind}", *ROUND), quality(), "", as_it_is=True), Budget())[0]
    assert verdict.reason == ("" if kind != "float64" else f"not int8: t0, t2{NO_FORM}")


def test_what_came_quantized_is_compared_with_nothing():
    alone = replace(quality(), float_value=None, float_interval=None, sqnr_db={}, float_bytes=None)
    names = [verdict.check.name for verdict in run_gates(Measured(graph(), alone, ""), Budget())]
    assert names == ["fully int8", "int8 top1", "size", "golden outputs"]
    itself = replace(alone, metric="agreement", int8_value=1.0)
    assert "int8 agreement" not in [v.check.name for v in run_gates(Measured(graph(), itself, ""), Budget())]
    with_float = replace(quality(), metric="agreement")
    assert "int8 agreement" in [v.check.name for v in run_gates(Measured(graph(), with_float, ""), Budget())]
    poor = run_gates(Measured(graph(), replace(alone, int8_value=0.5), ""), Budget(min_accuracy=0.9))
    assert poor[1].reason == "int8 top1 50.00% is under min_accuracy 90.00%"


def test_what_is_measured_is_said_with_its_limit():
    said = [
        Check("fully int8", "2/2 ops", "all", ok=True),
        Check("int8 top1", "92.00% (90.0%-94.0%)", ">= 90.00%", ok=True),
        Check("top1 drop", "0.50%", "<= 1.00%", ok=True),
        Check("worst SQNR", "30.0 dB", ">= 15.0 dB", ok=True),
        Check("size", "1000 B", "<= 2000 B", ok=True),
        Check("golden outputs", "repeatable", "repeatable", ok=True),
    ]
    checks = [result.check for result in run_gates(Measured(graph(), quality(), ""), BUDGET)]
    assert [check for check in checks if check in said] == said
    results = run_gates(Measured(graph(), quality(), "all the same", DYNAMIC), Budget())
    other = {result.check.name: result.check for result in results}
    assert (other["size"].limit, other["8-bit weights top1"].limit) == ("none", ">= 0.00%")
    assert (other["golden outputs"].value, other["golden outputs"].limit) == ("all the same", "repeatable")


def test_a_refusal_names_the_figure_the_budget_and_the_remedy():
    results = run_gates(Measured(graph(), quality(0.5, 10.0, 2001), ""), BUDGET)
    assert [result.reason for result in results if result.reason] == [
        "int8 top1 50.00% is under min_accuracy 90.00%; the float model has 92.50%",
        "top1 drops by 42.50%, over max_accuracy_drop 1.00%",
        "output b has 10.0 dB SQNR, under min_sqnr_db 15.0",
        "the model has 2001 bytes, over max_bytes 2000; make it smaller or raise the budget",
    ]


def test_a_figure_that_misses_by_little_has_the_digits_that_show_it():
    """A model was refused for 15.0 dB, under 15.0."""
    results = run_gates(Measured(graph(), quality(0.899996, 14.98, 2000), ""), BUDGET)
    reasons = [result.reason for result in results if result.reason]
    assert reasons[0].startswith("int8 top1 89.9996% is under min_accuracy 90.0000%")
    assert reasons[-1] == "output b has 14.98 dB SQNR, under min_sqnr_db 15.00"


def test_what_meets_a_budget_exactly_passes():
    """0.925 - 0.915 is a hair over 0.01."""
    results = run_gates(Measured(graph(), quality(0.915, 15.0, 2000), ""), replace(BUDGET, min_accuracy=0.915))
    assert [result.reason for result in results if result.reason] == []


BUDGET = Budget(max_accuracy_drop=0.01, min_accuracy=0.9, min_sqnr_db=15.0, max_bytes=2000)
GATES = {
    "passes": (Measured(graph(), quality(), ""), []),
    "float operators": (Measured(graph("float32"), quality(), ""), ["not int8: CONV_2D (t1), RELU6 (t2)"]),
    "accuracy and drop": (Measured(graph(), quality(int8=0.5), ""), ["under min_accuracy", "over max_accuracy_drop"]),
    "only the drop": (Measured(graph(), quality(int8=0.91), ""), ["over max_accuracy_drop"]),
    "signal": (Measured(graph(), quality(sqnr=10.0), ""), ["output b has 10.0 dB SQNR"]),
    "no signal at all": (Measured(graph(), quality(sqnr=-math.inf), ""), ["output b has -inf dB"]),
    "size": (Measured(graph(), quality(size=2001), ""), ["2001 bytes, over max_bytes 2000"]),
    "golden": (Measured(graph(), quality(), "every output is the same"), ["golden outputs: every output"]),
}


@pytest.mark.parametrize("case", GATES)
def test_gates(case: str):
    measured, expected = GATES[case]
    verdicts = run_gates(measured, BUDGET)
    reasons = [verdict.reason for verdict in verdicts if verdict.reason]
    assert len(reasons) == len(expected)
    assert all(part in reason for part, reason in zip(expected, reasons, strict=True))
    assert [v.check.ok for v in verdicts].count(False) == len(expected)


def test_only_a_loss_by_quantization_is_worth_a_look_at_the_layers():
    marked = {case: any(v.lost_signal for v in run_gates(measured, BUDGET)) for case, (measured, _) in GATES.items()}
    assert {case for case, lost in marked.items() if lost} == {
        "accuracy and drop",
        "only the drop",
        "signal",
        "no signal at all",
    }


def test_a_missing_size_budget_is_no_gate():
    verdicts = run_gates(Measured(graph(), quality(size=10**9), ""), Budget())
    assert all(verdict.check.ok for verdict in verdicts)


def test_op_versions_stay_where_the_edge_tpu_compiler_can_read_them():
    """The compiler refuses a model above these (it knows the versions of TensorFlow 2.6)."""
    newest = {
        "CONV_2D": 5,
        "DEPTHWISE_CONV_2D": 6,
        "FULLY_CONNECTED": 9,
        "ADD": 4,
        "MEAN": 3,
        "SOFTMAX": 3,
        "TRANSPOSE_CONV": 3,
    }
    assert all(INT8_VERSIONS[name] <= version for name, version in newest.items())


def test_every_key_of_the_budget_has_a_gate_and_is_documented():
    keys = [key for gate in gates.GATES for key in gate.keys]
    assert sorted(keys) == sorted(Budget.__struct_fields__)
    documented = (REPOSITORY / "docs" / "recipe.md").read_text("utf-8")
    assert [key for key in keys if f"| `[budget] {key}` |" not in documented] == []


def test_a_gate_that_is_added_is_run(monkeypatch: pytest.MonkeyPatch):
    refused = gates.GateResult(Check("colour", "red", "green", False), "paint it")
    never = gates.Gate(lambda _m, _b: pytest.fail("it has nothing to say"), lambda _m: False)
    monkeypatch.setattr(gates, "GATES", (*gates.GATES, gates.Gate(lambda _m, _b: refused), never))
    assert run_gates(Measured(graph(), quality(), ""), BUDGET)[-1] is refused


@pytest.mark.parametrize(("activations", "words"), [("int8", "int8"), ("int16", "int16"), ("float", "8-bit weights")])
def test_the_form_in_words(activations: str, words: str):
    assert gates.form(Measured(graph(), quality(), "", Quantize(activations=activations, io="float"))) == words


def test_the_form_of_an_onnx_model_is_int8_whatever_stands_between():
    tensors = graph().tensors
    pairs = Graph(1, tensors, (Op(0, "DequantizeLinear", 1, False, (0,), (1,)),), (0,), (1,))
    assert gates.form(Measured(pairs, quality(), "", Quantize())) == "int8"


def test_a_state_that_is_fed_back_is_not_judged_as_an_answer():
    """A detector of speech that answers as well as the float one was refused for the state that it keeps."""
    recipe = Recipe(1, "m", "events", "x", SourcePlan("m.onnx"), Data(), inputs={"h": InputPlan(feedback="hn")})
    signals = {"speech": 17.6, "hn": 5.9}
    assert answers_only(signals, recipe) == {"speech": 17.6}
    assert answers_only(signals, structs.replace(recipe, task="raw")) == signals
    assert answers_only({"hn": 5.9}, recipe) == {"hn": 5.9}
    made = replace(quality(), sqnr_db=signals)
    said = [
        [result.reason for result in run_gates(Measured(graph(), made, "", signals=signals), Budget()) if result.reason]
        for signals in (answers_only(made.sqnr_db, recipe), None)
    ]
    assert said[0] == []
    assert "output hn has 5.9 dB" in said[1][0]


def test_the_front_end_of_a_signal_is_what_its_last_logarithm_is_made_of():
    made = net("float32 " * 9, "PAD", "CONV_2D", "MUL", "SQRT", "CONV_2D", "ADD", "CONV_2D", "MEAN")
    assert front_end(made, 0.5) == ["t1", "t2", "t3", "t4"]
    assert front_end(made, 0.4) == []
    assert front_end(net("float32 float32 float32", "CONV_2D", "ADD"), 0.5) == []
    many = net("float32 " * 9, *(["TRANSPOSE"] * 4), "LOG", "ADD", "MUL", "MUL")
    assert len(front_end(many, 0.3)) == 5  # of eight operators, and a quarter of what is computed
