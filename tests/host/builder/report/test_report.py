"""The report: what its figures say, and the whole page in a real browser."""

import json
import re
import subprocess
from html import escape
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from skerry_agent.wire.manifest import Quality
from skerry_agent.wire.postprocess import Postprocess
from skerry_host.boards import Peak, list_boards, load_board
from skerry_host.builder.build import Build, BuildRequest, build
from skerry_host.builder.diagnose.advice import Tried
from skerry_host.builder.diagnose.layer_stats import LayerStats
from skerry_host.builder.judge.evaluate import Score
from skerry_host.builder.judge.gates import WORST_SQNR
from skerry_host.builder.modelfile.cost import Cost, costs
from skerry_host.builder.modelfile.graph import Graph, Op, Tensor, describe
from skerry_host.builder.modelfile.tflite import read_model
from skerry_host.builder.recipe.errors import BuildRefused
from skerry_host.builder.recipe.recipe import Task
from skerry_host.builder.report import figures
from skerry_host.builder.report.facts import Facts, changes_to_make, confused, confusion_counts, crossings
from skerry_host.builder.report.roofline import Roof, accelerator_roof, over_the_link, roof
from skerry_host.builder.report.svg import decades, figure, logarithmic, ticks
from skerry_host.cli.main import run
from tests.kit.programs import require_program
from tests.kit.recipes import FASHION, NOW, REAL, needs_real

FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]


def tensor(index: int, shape: tuple[int, ...], constant: int = 0) -> Tensor:
    return Tensor(index, f"t{index}", "int8", shape, shape, constant)


def test_multiply_adds_and_bytes_of_known_layers(float_model: bytes):
    found = costs(describe(read_model(float_model)))
    assert sum(cost.macs for cost in found if cost.op.endswith(("CONV_2D", "CONNECTED"))) == pytest.approx(
        1.04e7, rel=0.1
    )
    stem = found[0]
    assert stem.macs == 28 * 28 * 32 * 9
    assert (stem.activation_bytes, stem.integer) == (4 * 28 * 28 * (1 + 32), False)
    assert stem.parameter_bytes == 4 * (32 * 9 + 32)


PUBLISHED = {
    "mobilenet_v2_1.0_224_quant": 300,  # Sandler et al., MobileNetV2 (CVPR 2018), table 4
    "mobilenet_v1_0.5_160_quant": 77,  # Howard et al., MobileNets, and its authors' table of checkpoints
    "mobilenet_v1_0.25_128_quant": 14,
}


@needs_real
@pytest.mark.parametrize("name", PUBLISHED)
def test_multiply_adds_are_those_that_were_published(name: str):
    found = costs(describe(read_model((REAL / "edgetpu" / f"{name}.tflite").read_bytes())))
    assert sum(cost.macs for cost in found) / 1e6 == pytest.approx(PUBLISHED[name], rel=0.005, abs=0.5)


def test_a_pool_looks_at_its_window_for_every_output():
    op = Op(0, "AVERAGE_POOL_2D", 2, False, (0,), (1,), window=81)
    graph = Graph(1, (tensor(0, (1, 112, 112, 32)), tensor(1, (1, 112, 112, 32))), (op,), (0,), (1,))
    assert costs(graph)[0].macs == 81 * 112 * 112 * 32


def test_the_slow_branch_of_the_bad_release_counts_its_pools():
    found = costs(describe(read_model((FASHION / "fashion-1.2.0.tflite").read_bytes())))
    smooth = [cost.macs for cost in found if cost.op == "AVERAGE_POOL_2D"][:4]
    assert smooth == [81 * 112 * 112 * 32] * 4


def test_operators_that_only_move_values_compute_nothing():
    graph = Graph(1, (tensor(0, (1, 8)), tensor(1, (2, 4))), (Op(0, "RESHAPE", 1, False, (0,), (1,)),), (0,), (1,))
    (cost,) = costs(graph)
    assert (cost.macs, cost.bytes, cost.intensity) == (0, 16, 0.0)


def test_a_transposed_convolution_counts_its_inputs():
    tensors = (
        tensor(0, (4,), 16),
        tensor(1, (8, 2, 2, 16), 512),
        tensor(2, (1, 10, 10, 16)),
        tensor(3, (1, 20, 20, 8)),
    )
    graph = Graph(1, tensors, (Op(0, "TRANSPOSE_CONV", 3, False, (0, 1, 2), (3,)),), (2,), (3,))
    assert costs(graph)[0].macs == 10 * 10 * 16 * 8 * 4


def test_the_roof_decides_between_memory_and_arithmetic():
    made = Roof(100.0, 10.0, "memory")
    slow, busy = (Cost(0, "X", "", macs, 1000, 0, True) for macs in (100, 50_000))
    assert (made.ridge, made.bound(slow), made.bound(busy)) == (10.0, "memory", "compute")
    assert made.least_us(slow) == pytest.approx(0.1)
    assert made.least_us(busy) == pytest.approx(1.0)
    assert (made.reach(1.0), made.reach(50.0)) == (10.0, 100.0)


def test_the_roofs_of_every_board_that_gives_its_peak():
    boards = [load_board(name) for name in list_boards()]
    peaks = {board.name: board.peak for board in boards if board.peak is not None}
    assert {"raspberry-pi-4", "coral-dev-board"} <= set(peaks)
    for peak in peaks.values():
        assert roof(peak).gops >= peak.float_gops / 2
        assert (accelerator_roof(peak) is None) == (peak.accelerator_gops is None)
    own = accelerator_roof(peaks["coral-dev-board"])
    assert own is not None
    assert own.gops == 4000


def test_the_accelerator_has_another_roof():
    peak = Peak(10.0, 5.0, 2.0, "Estimate: none", 4000.0, 0.5)
    own = accelerator_roof(peak)
    assert own is not None
    assert own.memory == "the link to the accelerator"
    assert roof(peak, integer=False).gops == 5.0
    assert accelerator_roof(Peak(10.0, 5.0, 2.0, "Estimate: none")) is None


def test_what_runs_on_the_accelerator_has_its_bounds():
    """A chain of three: only the first and the last move bytes over the link, and the cores' bounds are not theirs."""
    tensors = (*(tensor(i, (1, 10, 10, 8)) for i in range(4)), tensor(4, (8, 1, 1, 8), 64))
    ops = tuple(Op(i, "CONV_2D", 3, False, (i, 4), (i + 1,)) for i in range(3))
    graph = Graph(1, tensors, ops, (0,), (3,))
    assert crossings(graph, {0, 1, 2}) == {0: 800, 1: 0, 2: 800}
    assert crossings(graph, {0, 1}) == {0: 800, 1: 800}
    made = Roof(4000.0, 0.5, "the link to the accelerator")
    first, between = (over_the_link(costs(graph)[i], crossings(graph, {0, 1, 2})[i]) for i in (0, 1))
    assert (made.bound(first), made.bound(between)) == ("memory", "compute")
    assert made.least_us(first) == pytest.approx(1.6)
    assert made.least_us(between) == pytest.approx(2 * 6400 / 4000 / 1e3)


def test_confusion_is_counted_by_true_class_and_answer():
    outputs = np.eye(3)[[0, 1, 1, 2, 0]]
    score = Score("top1", 5, 0.6, (0.2, 0.9), {"out": outputs}, np.array([0, 1, 2, 2, 2]))
    counts = confusion_counts(score, Task("classification"))
    assert counts.tolist() == [[1, 0, 0], [0, 1, 0], [1, 1, 1]]
    assert confused(counts, ["a", "b", "c"]) == ["c as a (1)", "c as b (1)"]
    assert confusion_counts(Score("top1", 5, 0.6, (0.2, 0.9), {"out": outputs}), Task("classification")) is None


def test_a_class_that_means_nothing_is_no_answer():
    """Its column comes first: without that every answer would be counted one class too far."""
    outputs = np.array([[0.1, 0.9, 0.0], [0.9, 0.0, 0.1]])
    score = Score("top1", 2, 1.0, (0.2, 1.0), {"out": outputs}, np.array([0, 1]))
    task = Task("classification", Postprocess("classes", background=0))
    assert confusion_counts(score, task).tolist() == [[1, 0], [0, 1]]
    single = Score("top1", 2, 1.0, (0.2, 1.0), {"out": np.array([[0.2], [0.8]])}, np.array([0, 1]))
    assert confusion_counts(single, Task("classification", Postprocess("classes"))).tolist() == [[1, 0], [0, 1]]


def test_scales_and_ticks():
    assert ticks(0.0, 1.0) == [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    assert ticks(0.91, 0.94, 3) == [0.91, 0.92, 0.93, 0.94]
    assert decades(0.5, 200) == [1.0, 10.0, 100.0]
    assert logarithmic(1, 100, 0, 10)(10) == pytest.approx(5)
    assert (figure(0.001), figure(1e6), figure(2.5)) == ("1e-3", "1e6", "2.5")


def test_names_cannot_break_the_drawing():
    drawing = figures.confusion(np.eye(2, dtype=int), ["<script>", "a & b"])
    assert "<script>" not in drawing
    assert "&lt;script&gt;" in drawing


def test_values_of_a_model_without_classes_are_drawn_against_the_float_ones():
    reference = np.linspace(-1, 1, 10_000).reshape(100, 100)
    drawing = figures.errors(reference, reference + 0.01, "box")
    assert 1000 < drawing.count("<circle") <= 2 * figures.POINTS
    assert "<circle" in figures.errors(np.zeros((4, 4)), np.zeros((4, 4)), "nothing")


def test_rare_values_are_drawn_as_well():
    reference = np.zeros(100_000)
    reference[:20] = np.linspace(0.5, 1, 20)
    one, two = figures.spread(reference, reference + 0.1)
    assert len(one) <= figures.POINTS
    assert (one >= 0.5).sum() == 20
    assert np.allclose(two - one, 0.1)


def test_an_accuracy_under_its_budget_shows_the_budget():
    quality = Quality("top1", 100, 0.9, 0.8, (0.85, 0.95), (0.7, 0.88), {"a": 20.0}, 10, 5)
    assert "least" in figures.accuracy(quality, 0.75, "int8")
    assert "80.00%" in figures.accuracy(quality, 0.0, "int8")


def test_a_report_needs_nothing_from_elsewhere(built: Build):
    page = (built.path / "report.html").read_text("utf-8")
    assert page == built.report
    assert not re.search(r"(?:src|href)\s*=|url\(|@import|https?://|<script", page)
    for words in (
        "Every gate passed",
        "SQNR by layer",
        "Confusion matrix",
        "Memory-bound or compute-bound?",
        "Operators",
    ):
        assert words in page


def test_the_card_of_the_signal_names_the_limit_of_its_gate(built: Build):
    """It said "at least 15 dB" of a detector that had 11.7 and passed: its boxes were judged by the metric."""
    (limit,) = {one.limit for one in built.record.checks if one.name == WORST_SQNR}
    assert f"signal to quantization noise ratio, limit {escape(limit)}<" in built.report


def test_a_refused_build_leaves_its_report_where_it_was_asked_for(make_recipe, tmp_path: Path, capsys):
    folder = make_recipe(("min_accuracy = 0.90", "min_accuracy = 1.0"))
    with pytest.raises(BuildRefused) as refused:
        build(BuildRequest(folder, "raspberry-pi-4", NOW, "1.0.0", tmp_path / "b"))
    assert "Refused because" in refused.value.report
    page = tmp_path / "why.html"
    command = ["model", "build", str(folder), "--board", "generic-x86", "--target", "cpu", "--out", str(tmp_path / "b")]
    assert run(command) == 1
    assert "--report FILE also writes its report" in capsys.readouterr().err
    assert run([*command, "--report", str(page), "--json"]) == 1
    said = capsys.readouterr()
    assert f"; its report is {page}" in said.err
    assert json.loads(said.out)["error"]["report"] == str(page)
    assert "under min_accuracy" in page.read_text("utf-8")
    assert not (tmp_path / "b").exists()
    capsys.readouterr()
    assert run([*command, "--report", str(tmp_path / "no" / "where.html")]) == 2
    assert "cannot write the report" in capsys.readouterr().err


def test_a_board_with_an_edge_tpu_shows_where_operators_are_predicted_to_run(recipe: Path, tmp_path: Path):
    page = build(BuildRequest(recipe, "raspberry-pi-4-coral-usb", NOW, "1.0.0", tmp_path / "b")).report
    assert "The target is predicted" in page
    assert page.count(">edgetpu</span>") == 18


@pytest.mark.web
@pytest.mark.parametrize("width", [1240, 420])
def test_the_report_in_a_real_browser(built: Build, tmp_path: Path, width: int):
    """It is drawn as meant: a picture of it has content to its end, and nothing complains."""
    chromium = require_program("chromium", "chromium")
    shot = tmp_path / "report.png"
    command = [
        chromium, *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", "--enable-logging=stderr", f"--screenshot={shot}",
        f"--window-size={width},2400", (built.path / "report.html").as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert shot.stat().st_size > 50_000
    assert not [line for line in done.stderr.splitlines() if "CONSOLE" in line]


def test_reasons_name_their_target_where_there_are_several():
    cpu, onnx = (SimpleNamespace(target=name, reasons=["too little signal"]) for name in ("cpu", "onnx"))
    parts = [Facts(None, None, None, None, targets).reasons for targets in ([cpu], [cpu, onnx])]
    assert parts == [["too little signal"], ["cpu: too little signal", "onnx: too little signal"]]


def test_advice_on_where_the_time_goes_says_what_helps(built: Build):
    page = " ".join(built.report.split())
    assert "of the estimated time on the board: bound by" in page
    assert "need less of it." in page or "move fewer bytes." in page


def test_what_was_tried_is_told_on_the_page_before_what_was_not():
    layer = LayerStats(0, "CONV_2D", "a", 5.0, 1.0, 0.0, 0, 0, 8, 4.0, 0.0)
    none = dict.fromkeys(("latency", "float_latency", "preflight"))
    quality = SimpleNamespace(float_value=None)
    tried = Tried(found="16 bits were tried and miss", cause="the features differ")
    part = SimpleNamespace(reasons=["lost"], layers=[layer], tried=tried, quality=quality, **none)
    recipe = SimpleNamespace(budget=SimpleNamespace(least_sqnr_db=15.0))
    said = changes_to_make(SimpleNamespace(recipe=recipe), part, [])
    assert said[:2] == ["the features differ.", "16 bits were tried and miss."]
    assert said[2].endswith("(not tried).")
