"""A build for a board with an Edge TPU: the compiled bundle first, the cpu bundle always (a stand-in compiles)."""

import pytest

from skerry_host.builder.build import BuildRequest, build
from tests.kit.edgetpu.compiler import REAL, calls
from tests.kit.edgetpu.models import compiled_of
from tests.kit.recipes import NOW

BOARD = "raspberry-pi-4-coral-usb"
COMPILED = REAL / "dense_256_edgetpu.tflite"


@pytest.fixture
def compiled_like(built):
    """A compiled file with the ends of the cpu bundle's model, which is the same for every board."""
    (cpu,) = (bundle for bundle in built.record.bundles if bundle.target == "cpu")
    return lambda **package: compiled_of(cpu.inputs[0], cpu.outputs[0], **package)


def test_a_compiled_bundle_stands_before_the_cpu_one(recipe, stand_in, compiled_like, tmp_path):
    data = compiled_like()
    stand_in({"log": "success.txt", "files": {"model_edgetpu.tflite": data}})
    made = build(BuildRequest(recipe, BOARD, NOW, "1.0.0", tmp_path / "b"))
    tpu, cpu = made.record.bundles
    assert (tpu.target, cpu.target) == ("edgetpu", "cpu")
    assert (made.path / tpu.model.name).read_bytes() == data
    assert tpu.artifact("golden") == cpu.artifact("golden")
    assert (tpu.min_edgetpu_runtime, cpu.min_edgetpu_runtime) == (13, None)
    assert (tpu.inputs, tpu.outputs) == (cpu.inputs, cpu.outputs)
    assert "edgetpu" not in made.record.not_built
    assert "not run, because this machine has no Edge TPU" in made.record.remarks[-1]
    assert (made.path / "edgetpu_compiler.log").exists()
    page = " ".join(made.report.split())
    assert "compiled by</td><td>16.0.384591198, for runtime 13; not run" in page
    assert "0 of 18, 0 were predicted" in page
    assert "at least 640B" in page


@pytest.mark.skipif(not COMPILED.exists(), reason="no real models: set SKERRY_REAL_MODELS")
def test_a_compiled_file_of_another_model_never_ships(recipe, stand_in, tmp_path):
    stand_in({"log": "success.txt", "files": {"model_edgetpu.tflite": COMPILED.read_bytes()}})
    made = build(BuildRequest(recipe, BOARD, NOW, "1.0.0", tmp_path / "b"))
    assert [bundle.target for bundle in made.record.bundles] == ["cpu"]
    assert "edgetpu" in made.record.not_built
    assert "its output belongs to another model: input 0 is 1x256 uint8" in made.record.remarks[-1]
    assert not list(made.path.glob("*edgetpu*"))


def test_a_build_pins_the_runtime_of_its_board_and_warns_of_a_compiler_that_went_beyond(
    recipe,
    stand_in,
    compiled_like,
    tmp_path,
):
    folder = stand_in({"log": "success.txt", "files": {"model_edgetpu.tflite": compiled_like(runtime=14)}})
    made = build(BuildRequest(recipe, "coral-dev-board", NOW, "1.0.0", tmp_path / "b"))
    assert calls(folder)[0][5:-1] == ["-m", "13"]
    assert made.record.bundles[0].min_edgetpu_runtime == 14
    assert "it needs runtime 14, the board has 13" in made.record.remarks[-1]


def test_without_a_compiler_the_build_goes_on_and_says_why(recipe, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    made = build(BuildRequest(recipe, BOARD, NOW, "1.0.0", tmp_path / "b", targets=("edgetpu",)))
    assert [bundle.target for bundle in made.record.bundles] == ["cpu"]
    assert "no Edge TPU compiler on this machine" in made.record.remarks[-1]
    assert "predicted: 18 of 18 operators would map" in made.record.remarks[-1]
