"""A layer without a kernel for int8: a float island for a CPU, a refusal for an Edge TPU and where it is forbidden."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from skerry_host.builder.build import Build, BuildRequest, build
from skerry_host.builder.recipe.errors import BuildRefused
from tests.kit.edgetpu.models import Maker
from tests.kit.recipes import NOW

RECIPE = """
schema = 1
name = "angles"
task = "raw"
license = "Apache-2.0"
[source]
file = "m.tflite"
[data]
calibration = "calibration.npz"
evaluation = "evaluation.npz"
min_calibration_samples = 32
[golden]
samples = 4
[budget]                            # an angle jumps at half a turn
max_accuracy_drop = 0.2
min_sqnr_db = 6
[quantize]
quantizer = "litert"
"""


def network() -> bytes:
    """Three dense layers and ATAN2, which is float everywhere."""
    made, random = Maker(), np.random.default_rng(0)
    made.tensor("x", (1, 16), "float32")
    for at, name in enumerate(("one", "two", "three")):
        made.tensor(f"w{at}", (16, 16), "float32", random.normal(0, 0.4, (16, 16)))
        made.tensor(f"net/{name}/MatMul", (1, 16), "float32")
    made.tensor("net/angle/Atan2", (1, 16), "float32")
    dense = schema.FullyConnectedOptionsT()
    made.op("FULLY_CONNECTED", ["x", "w0"], ["net/one/MatMul"], options=dense)
    made.op("FULLY_CONNECTED", ["net/one/MatMul", "w1"], ["net/two/MatMul"], options=dense)
    made.op("ATAN2", ["net/two/MatMul", "net/one/MatMul"], ["net/angle/Atan2"])
    made.op("FULLY_CONNECTED", ["net/angle/Atan2", "w2"], ["net/three/MatMul"], options=dense)
    return made.data(["x"], ["net/three/MatMul"])


@pytest.fixture
def made(tmp_path: Path) -> Callable[..., Build]:
    def run(board: str, settings: str = "") -> Build:
        random = np.random.default_rng(4)
        (tmp_path / "m.tflite").write_bytes(network())
        for name in ("calibration", "evaluation"):
            steps = random.normal(0, 0.2, (64, 16)).cumsum(axis=1)  # neighbours are alike
            np.savez(tmp_path / f"{name}.npz", inputs=(1 + steps).astype(np.float32))
        (tmp_path / "recipe.toml").write_text(RECIPE + settings)
        return build(BuildRequest(tmp_path, board, NOW, out=tmp_path / "b", targets=["cpu"]))

    return run


def test_a_search_names_the_island_that_it_needs(made: Callable[..., Build]):
    record = made("generic-x86").record
    assert record.checks[0].limit == "all but 4 that were to stay float"
    assert record.search[-1].startswith("float in net/angle/Atan2: ")
    (said,) = (line for line in record.remarks if line.startswith("float islands: "))
    assert "ATAN2 (net/angle/Atan2)" in said


@pytest.mark.parametrize(
    ("board", "settings"), [("generic-x86", "search = false"), ("raspberry-pi-4-coral-usb", "search_steps = 2")]
)
def test_what_nobody_asked_for_is_refused_and_an_edge_tpu_never_gets_one(
    made: Callable[..., Build], board: str, settings: str
):
    with pytest.raises(BuildRefused, match=r"not int8: .*ATAN2 \(net/angle/Atan2\)"):
        made(board, settings)


def test_a_recipe_may_ask_for_it_and_the_edge_tpu_s_part_would_end_there(made: Callable[..., Build]):
    record = made("raspberry-pi-4-coral-usb", 'search = false\nkeep_float = ["angle"]').record
    assert record.search == ()
    assert any(line.startswith("float islands: 1 of ") for line in record.remarks)
