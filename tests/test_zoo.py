"""The zoo's judgements, and one model of it taken all the way: a sample of what `make zoo` does."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

import zoo  # noqa: E402  (programs beside each other, no package)
from zoo_animal import UNIT, Animal  # noqa: E402
from zoo_inputs import MAKERS  # noqa: E402
from zoo_page import page  # noqa: E402
from zoo_result import Made, Result, allowed  # noqa: E402

FASHION = BENCHMARKS.parent / "models" / "fashion"


def kept(count: int, seed: int) -> dict[str, np.ndarray]:
    """Samples that the project has, those for calibration by the first seed."""
    with np.load(FASHION / ("calibration.npz" if seed == 1 else "evaluation.npz")) as data:
        return {name: data[name][:count] for name in data.files if name in {"inputs", "labels"}}


@pytest.mark.parametrize(
    ("ours", "peer", "verdict"),
    [
        (Made("skerry cpu", "m", 0.895), None, "built"),
        (Made("skerry cpu", "m", 0.88), None, "PASSED AND BROKEN"),
        (Made("skerry cpu", problem="refused"), Made("onnxruntime", "m", 0.895), "refused, possible"),
        (Made("skerry cpu", problem="refused"), Made("onnxruntime", "m", 0.5), "refused"),
    ],
)
def test_one_budget_judges_ours_and_peers(ours: Made, peer: Made | None, verdict: str):
    result = Result("m", "classification", "top1", value=0.9, ours=[ours], peers=[peer] if peer else [])
    assert result.verdict == verdict
    assert verdict.partition(",")[0] in page([result], {"m": Animal("m", "", "", "classification", "")})


def test_the_budget_is_a_point_or_two_hundredths_whichever_is_more():
    assert allowed(0.3) == 0.01
    assert allowed(0.9) == pytest.approx(0.018)
    error = Result("m", "sequence", "CER", "lower", 0.1)
    assert error.within(Made("x", value=0.11))
    assert not error.within(replace(Made("x"), value=0.12))


def test_a_model_of_the_zoo_is_built_and_judged_beside_the_bare_quantizer(tmp_path: Path, monkeypatch):
    monkeypatch.setitem(MAKERS, "kept", kept)
    monkeypatch.setattr(zoo, "OF_CLASSES", 120)
    monkeypatch.setattr(zoo.Run, "source", lambda _run: FASHION / "fashion-1.0.0.tflite")
    animal = Animal("fashion", "models", "fashion-1.0.0.tflite", "classification", "kept", preprocess=UNIT)
    result = zoo.visit(animal, tmp_path, again=False)
    assert (result.problem, result.verdict, result.metric) == ("", "built", "top1")
    (peer,) = result.peers
    assert (peer.tool, peer.problem) == ("quantizer", "")
    assert peer.value == pytest.approx(result.value, abs=0.05)
    assert result.right is not None
    assert result.right.ms is not None
    assert zoo.visit(animal, tmp_path, again=False) == result  # kept, not built again
