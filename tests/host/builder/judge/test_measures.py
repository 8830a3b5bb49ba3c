import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from skerry_agent.wire.manifest import Quality
from skerry_host.build_record import Check
from skerry_host.builder.judge import gates
from skerry_host.builder.judge.evaluate import wilson
from skerry_host.builder.judge.gates import Measured, run_gates
from skerry_host.builder.judge.golden import choose
from skerry_host.builder.judge.metrics import top1
from skerry_host.builder.judge.signal import sqnr_db
from skerry_host.builder.modelfile.graph import Graph, Op, Tensor
from skerry_host.builder.quantize.op_versions import INT8_VERSIONS
from skerry_host.builder.recipe.recipe import Budget, Quantize
from tests.kit.recipes import REPOSITORY


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


def test_top1():
    assert top1(np.array([[0.1, 0.9], [0.8, 0.2], [0.4, 0.6]]), np.array([1, 0, 0])) == 2


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


def test_what_came_quantized_is_compared_with_nothing():
    alone = replace(quality(), float_value=None, float_interval=None, sqnr_db={}, float_bytes=None)
    names = [verdict.check.name for verdict in run_gates(Measured(graph(), alone, ""), Budget())]
    assert names == ["fully int8", "int8 top1", "size", "golden outputs"]
    itself = replace(alone, metric="agreement", int8_value=1.0)
    assert "int8 agreement" not in [v.check.name for v in run_gates(Measured(graph(), itself, ""), Budget())]


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
