"""Every way to quantize, on the real fashion model and on small models made for the purpose."""

import sys
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from msgspec.structs import replace

from skerry_agent.processing import Feeding
from skerry_agent.wire.manifest import Preprocess
from skerry_host.builder.build import BuildRequest, build
from skerry_host.builder.data.samples import Samples
from skerry_host.builder.judge.evaluate import Score, evaluate, sqnr_by_output
from skerry_host.builder.judge.gates import Measured, integers
from skerry_host.builder.modelfile.graph import describe
from skerry_host.builder.modelfile.tflite import read_model, write_model
from skerry_host.builder.quantize.bias import expected_shift
from skerry_host.builder.quantize.equalize import equalize, pairs
from skerry_host.builder.quantize.histogram import Histogram, clip_by_error, clip_by_share
from skerry_host.builder.quantize.pipeline import quantize
from skerry_host.builder.quantize.weights import WeightedLayer, values, weighted
from skerry_host.builder.quantize.weights import replace as replace_values
from skerry_host.builder.recipe.errors import RecipeError
from skerry_host.builder.recipe.recipe import Budget, Quantize, load_recipe
from skerry_host.builder.runtime.session import Session
from skerry_host.builder.sources.load import SourceModel, load_source
from tests.kit.recipes import FASHION, NOW

PREP = Feeding((Preprocess(1 / 255),))
TASK = load_recipe(FASHION).recipe.meaning


def load(name: str, count: int) -> Samples:
    arrays = np.load(FASHION / name)
    return Samples.of(arrays["inputs"][:count], truth=arrays["labels"][:count])


CALIBRATION, EVALUATION = load("calibration.npz", 100), load("evaluation.npz", 300)


@pytest.fixture(scope="module")
def source() -> SourceModel:
    return load_source(FASHION / "fashion-1.0.0.tflite")


@pytest.fixture(scope="module")
def reference(source: SourceModel) -> Score:
    return evaluate(source.data, EVALUATION, PREP, TASK)


CASES = {
    "plain": (Quantize(), ("int8", "int8"), 30),
    "min-max": (Quantize(calibrator="min-max"), ("int8", "int8"), 30),
    "percentile": (Quantize(calibrator="percentile"), ("int8", "int8"), 30),
    "moving average": (Quantize(calibrator="moving-average"), ("int8", "int8"), 30),
    "per tensor": (Quantize(per_channel=False), ("int8", "int8"), 20),
    "octav": (Quantize(weight_ranges="octav"), ("int8", "int8"), 30),
    "bias correction": (Quantize(bias_correction=True), ("int8", "int8"), 30),
    "uint8 inputs and outputs": (Quantize(io="uint8"), ("uint8", "uint8"), 30),
    "float inputs and outputs": (Quantize(io="float"), ("float32", "float32"), 30),
    "16 bit": (Quantize(activations="int16", io="int16"), ("int16", "int16"), 35),
    "16 bit, float inputs and outputs": (Quantize(activations="int16", io="float"), ("float32", "float32"), 35),
    "dynamic range": (Quantize(activations="float", io="float"), ("float32", "float32"), 30),
}


@pytest.mark.parametrize("case", CASES)
def test_each_way_makes_a_model_that_follows_the_float_one(source: SourceModel, reference: Score, case: str):
    plan, ends, least_db = CASES[case]
    model = quantize(source, CALIBRATION, PREP, plan)
    session = Session(model)
    assert (session.inputs[0].dtype, session.outputs[0].dtype) == ends
    score = evaluate(model, EVALUATION, PREP, TASK)
    assert min(sqnr_by_output(reference, score).values()) > least_db
    assert score.value > reference.value - 0.02
    assert integers(Measured(session.graph, None, "", plan), Budget()).check.ok
    assert len(model) < len(source.data) / 2


def test_uint8_io_answer_as_signed_ones(source: SourceModel):
    signed, unsigned = (quantize(source, CALIBRATION, PREP, Quantize(io=io)) for io in ("int8", "uint8"))
    one, two = (evaluate(model, EVALUATION, PREP, TASK).outputs for model in (signed, unsigned))
    assert all(np.array_equal(a, b) for a, b in zip(one.values(), two.values(), strict=True))


def test_correcting_biases_helps_where_weights_have_one_scale(source: SourceModel, reference: Score):
    plan = Quantize(per_channel=False)
    plain, corrected = (
        evaluate(quantize(source, CALIBRATION, PREP, p), EVALUATION, PREP, TASK)
        for p in (plan, replace(plan, bias_correction=True))
    )
    assert sqnr_by_output(reference, corrected)["probabilities"] > sqnr_by_output(reference, plain)["probabilities"]


def test_a_plan_that_cannot_be_is_refused(make_recipe):
    folder = make_recipe(('activations = "int8"', 'activations = "int16"'))
    with pytest.raises(RecipeError, match=r"quantize\.io: 'int8' cannot be combined with activations = 'int16'"):
        load_recipe(folder)


@pytest.mark.parametrize("activations", ["int16", "float"])
def test_an_edge_tpu_takes_8_bits_only(activations: str):
    assert "8-bit integers only" in Quantize(activations=activations, io="float").edgetpu_problem
    assert not Quantize().edgetpu_problem


@pytest.mark.parametrize("activations", ["int16", "float"])
def test_a_board_with_one_is_told_why_it_gets_no_bundle_for_it(make_recipe, tmp_path: Path, activations: str):
    folder = make_recipe(('activations = "int8"', f'activations = "{activations}"'), ('io = "int8"', 'io = "float"'))
    board, words = "raspberry-pi-4-coral-usb", f"activations = '{activations}': an Edge TPU computes on 8-bit integers"
    with pytest.raises(RecipeError, match=words) as refused:
        build(BuildRequest(folder, board, NOW, "1.0.0", tmp_path / "b", targets=["edgetpu"]))
    assert "use int8, or build another --target" in str(refused.value)
    record = build(BuildRequest(folder, board, NOW, "1.0.0", tmp_path / "b")).record
    (line,) = (line for line in record.remarks if words in line)
    assert line.startswith(f"no edgetpu bundle: {words} only, without mixed precision; its part would end at ")
    assert "edgetpu" in record.not_built
    form = {"int16": "int16", "float": "8-bit weights"}[activations]
    assert {speed.form for speed in record.speeds_on_this_machine} == {form, "float"}


def test_a_build_may_ask_for_another_form(make_recipe, tmp_path: Path):
    folder = make_recipe(('activations = "int8"', 'activations = "int16"'), ('io = "int8"', 'io = "float"'))
    made = build(BuildRequest(folder, "generic-x86", NOW, "1.0.0", tmp_path / "b", targets=["cpu"]))
    assert made.record.checks[0].name == "fully int16"
    assert made.record.bundles[0].inputs[0].dtype == "float32"


# Equalization: on the fashion model with RELU6 made RELU and one channel scaled up, which changes nothing in float.


@pytest.fixture(scope="module")
def lopsided(source: SourceModel) -> SourceModel:
    model = read_model(source.data)
    for op in model.subgraphs[0].operators:
        if hasattr(op.builtinOptions, "fusedActivationFunction"):
            op.builtinOptions.fusedActivationFunction = schema.ActivationFunctionType.RELU
    for number, (before, after) in enumerate(pairs(model)):
        factor = np.ones(values(model, before.weight, "float32").shape[before.out_axis], np.float32)
        factor[number % len(factor)] = 300.0
        for index, array in (
            (
                before.weight,
                np.moveaxis(np.moveaxis(_w(model, before), before.out_axis, -1) * factor, -1, before.out_axis),
            ),
            (after.weight, np.moveaxis(np.moveaxis(_w(model, after), after.in_axis, -1) / factor, -1, after.in_axis)),
            (before.bias, values(model, before.bias, "float32") * factor),
        ):
            replace_values(model, index, array.astype(np.float32))
        if number == 3:
            break
    data = write_model(model)
    return SourceModel(data, describe(read_model(data)), source.sha256, source.file_bytes, ())


def _w(model, layer: WeightedLayer):
    return values(model, layer.weight, "float32")


def test_equalization_changes_no_output_but_keeps_the_signal(lopsided: SourceModel):
    even = equalize(lopsided)
    assert even.data != lopsided.data
    reference, other = (evaluate(s.data, EVALUATION, PREP, TASK) for s in (lopsided, even))
    assert sqnr_by_output(reference, other)["probabilities"] > 60
    plan = Quantize(per_channel=False)
    lost, kept = (
        sqnr_by_output(reference, evaluate(quantize(lopsided, CALIBRATION, PREP, p), EVALUATION, PREP, TASK))
        for p in (plan, replace(plan, equalize=True))
    )
    assert kept["probabilities"] > lost["probabilities"] + 10


def test_nothing_is_moved_across_relu6(source: SourceModel):
    assert list(pairs(read_model(source.data))) == []
    assert equalize(source) is source
    assert len(list(weighted(read_model(source.data)))) == 16


def test_the_expected_shift_of_a_layer():
    error = np.zeros((2, 1, 1, 3))
    error[1, 0, 0] = [0.5, -0.25, 0.0]
    conv = WeightedLayer(0, "CONV_2D", 0, 1, 2, 3, None)
    assert expected_shift(error, np.array([2.0, 2.0, 9.0]), conv).tolist() == [0.0, 0.5]
    depthwise = WeightedLayer(0, "DEPTHWISE_CONV_2D", 0, 1, 2, 3, None)
    assert expected_shift(np.ones((1, 3, 3, 2)), np.array([1.0, 2.0]), depthwise).tolist() == [9.0, 18.0]


def test_clipping_leaves_out_outliers_and_keeps_zero():
    histogram = Histogram(0.0, 100.0)
    histogram.add(np.append(np.linspace(0, 1, 1_000_000), 100.0))
    low, high = clip_by_share(histogram, 0.9999)
    assert low == 0
    assert high == pytest.approx(1, abs=0.1)
    assert clip_by_error(histogram)[1] < 50
    high_up = Histogram(5.0, 6.0)
    high_up.add(np.linspace(5, 6, 1000))
    assert clip_by_error(high_up)[0] == 0
    assert clip_by_share(high_up, 0.999)[0] == 0


def test_tensorflow_is_never_imported_on_this_path(recipe: Path, tmp_path: Path):
    import subprocess

    code = (
        "import sys, skerry_host.cli.main as m; code = m.run(sys.argv[1:]); "
        "found = [n for n in sys.modules if n.split('.')[0] in {'tensorflow', 'keras', 'tf_keras', 'torch', 'onnx'}]; "
        "sys.exit(code or (str(found) if found else 0))"
    )
    command = ["model", "build", str(recipe), "--board", "generic-x86", "--target", "cpu", "--out", str(tmp_path / "b")]
    done = subprocess.run([sys.executable, "-c", code, *command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
