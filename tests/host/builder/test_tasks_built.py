"""A recipe of every task is built from a small model whose weights are the answer, and judged by the task's figure."""

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest

from skerry_agent.processing import answer_for, dequantize
from skerry_host.builder.build import Build, BuildRequest, build
from skerry_host.builder.recipe.errors import BuildRefused, RecipeError
from skerry_host.builder.runtime.session import Session
from tests.kit.dense_models import dense_model
from tests.kit.recipes import NOW

SIDE, COUNT = 8, 200
PIXELS = SIDE * SIDE


@dataclass
class Case:
    """A task: the matrices and shapes of outputs, what is right, further lines of the recipe, and what to expect."""

    task: str
    outputs: list[tuple[np.ndarray, tuple[int, ...]]]
    truth: dict[str, np.ndarray]
    metric: str
    least: float
    recipe: str = ""
    figures: set[str] = field(default_factory=set)
    decoder: str = "decoded"


RNG = np.random.default_rng(7)
PICTURES = RNG.random((COUNT, SIDE, SIDE, 1)).astype(np.float32)
FLAT = PICTURES.reshape(COUNT, -1)
LEFT = np.tile(np.arange(SIDE) < SIDE // 2, (SIDE, 1)).reshape(-1) * 2.0 - 1
"""Positive where the left half is brighter."""
TOP = LEFT.reshape(SIDE, SIDE).T.reshape(-1)
SUMS = np.stack([FLAT @ LEFT, FLAT @ TOP], axis=1)
EACH_PIXEL = np.stack([np.eye(PIXELS), -np.eye(PIXELS)], axis=1).reshape(-1, PIXELS)
"""Two maps a pixel: its value and the negative of it; pixels have no mean here."""
CENTRED = PICTURES * 2 - 1


PLACES = np.array([(0.3, 0.4, 0.3, 0.2), (0.7, 0.6, 0.2, 0.3)])
"""Centre and size of two boxes in a picture of usual brightness; a brighter one has them farther and larger."""
BOXES = np.tile(2 * PLACES.reshape(-1, 1) / PIXELS, (1, PIXELS))
SCORES = np.stack([LEFT, -LEFT, TOP, -TOP]) / 4


def objects() -> np.ndarray:
    """Where `BOXES` puts them: sample, class, top, left, bottom, right."""
    rows = []
    for at, bright in enumerate(2 * FLAT.mean(axis=1)):
        for place, box in enumerate(PLACES):
            x, y, width, height = bright * box
            corners = np.clip([y - height / 2, x - width / 2, y + height / 2, x + width / 2], 0, 1)
            rows.append([at, int(SUMS[at, place] < 0), *corners])
    return np.array(rows)


CASES = {
    "classes": Case(
        "classification",
        [(np.stack([LEFT, -LEFT]), (2,))],
        {"labels": (SUMS[:, 0] < 0).astype(np.float32)},
        "top1",
        0.97,
        figures={"F1 (mean of classes)", "AUC"},
    ),
    "a single logit": Case(
        "classification",
        [(LEFT[None], (1,))],
        {"labels": (SUMS[:, 0] > 0).astype(np.int64)},
        "top1",
        0.97,
        '[postprocess]\nactivation = "sigmoid"\n[labels]\nnames = ["right", "left"]',
        {"AUC"},
        "classes",
    ),
    "one-hot beside a class that means nothing": Case(
        "classification",
        [(np.stack([0 * LEFT, LEFT, -LEFT]), (3,))],
        {"labels": np.eye(2)[(SUMS[:, 0] < 0).astype(int)]},
        "top1",
        0.97,
        "[postprocess]\nbackground = 0",
        {"AUC"},
        "classes",
    ),
    "several classes": Case(
        "multilabel",
        [(np.stack([LEFT, TOP]), (2,))],
        {"labels": (SUMS > 0).astype(np.uint8)},
        "F1",
        0.97,
        '[postprocess]\nactivation = "sigmoid"',
        {"average precision (mean of classes)", "AUC (mean of classes)"},
    ),
    "numbers": Case(
        "regression",
        [(np.stack([LEFT, TOP]), (2,))],
        {"targets": SUMS + RNG.normal(0, 2, SUMS.shape)},
        "MAE",
        2.0,
        '[postprocess]\nunit = "V"',
        {"RMSE", "R2"},
    ),
    "numbers that the float model knows exactly": Case(
        "regression", [(np.stack([LEFT, TOP]), (2,))], {"targets": SUMS}, "MAE", 0.1
    ),
    "boxes": Case(
        "detection",
        [(BOXES, (2, 4)), (SCORES, (2, 2))],
        {"boxes": objects()},
        "mAP@.5:.95",
        0.8,
        '[postprocess]\ndecoder = "yolo"\nactivation = "sigmoid"\nrows = "first"\nmin_score = 0.5',
        {"mAP@.5", "F1 at min_score", "recall at min_score"},
        "yolo",
    ),
    "masks": Case(
        "segmentation",
        [(EACH_PIXEL, (SIDE, SIDE, 2))],
        {"masks": (CENTRED[..., 0] < 0).astype(np.int64)},
        "mIoU",
        0.95,
        figures={"pixel accuracy"},
    ),
    "points": Case(
        "keypoints",
        [(np.stack([LEFT, TOP, -LEFT, -TOP]) / 8, (4,))],
        {"keypoints": np.stack([SUMS, -SUMS], axis=1)[..., ::-1] / 16 + 0.5},
        "PCK@.05",
        0.9,
        '[postprocess]\nunits = "signed"',
        {"mean distance"},
    ),
    "texts": Case(
        "sequence",
        [(np.stack([LEFT, 0 * LEFT, -LEFT, TOP, 0 * TOP, -TOP]), (2, 3))],
        {"texts": np.array(["ab"[int(a < 0)] + "ab"[int(b < 0)] for a, b in SUMS])},
        "CER",
        0.5,
        '[labels]\nnames = ["a", "b"]\n[postprocess]\nblank = 1',
        {"whole texts"},
    ),
    "events": Case(
        "events",
        [(np.stack([LEFT, TOP, -LEFT, -TOP]), (2, 2))],
        {"labels": np.stack([SUMS > 0, SUMS < 0], axis=1).astype(np.uint8)},
        "F1",
        0.97,
        '[postprocess]\nactivation = "sigmoid"',
    ),
}


def write(folder: Path, case: Case, *, labelled: bool = True) -> Path:
    """A recipe's folder with the model and the data."""
    matrices, shapes = zip(*case.outputs, strict=True)
    (folder / "model.tflite").write_bytes(dense_model((SIDE, SIDE, 1), matrices, shapes))
    pictures = CENTRED if case.task == "segmentation" else PICTURES
    truth = case.truth if labelled else {}
    for name, first, last in (("calibration", 0, COUNT // 2), ("evaluation", COUNT // 2, COUNT)):
        parts = {key: part_of(key, values, first, last) for key, values in truth.items()}
        np.savez(folder / f"{name}.npz", inputs=pictures[first:last], **parts)
    (folder / "recipe.toml").write_text(
        f'schema = 1\nname = "small"\ntask = "{case.task}"\nlicense = "CC0-1.0"\n[source]\nfile = "model.tflite"\n'
        '[data]\ncalibration = "calibration.npz"\nevaluation = "evaluation.npz"\nmin_calibration_samples = 10\n'
        'evaluate = "all"\n[budget]\nmax_accuracy_drop = 0.05\n[quantize]\nsearch = false\n' + case.recipe
    )
    return folder


def part_of(key: str, values: np.ndarray, first: int, last: int) -> np.ndarray:
    """The truth of some samples."""
    if key != "boxes":
        return values[first:last]
    mine = values[(values[:, 0] >= first) & (values[:, 0] < last)]
    return mine - [first, 0, 0, 0, 0, 0]


def built(folder: Path, case: Case, **how: bool) -> Build:
    return build(BuildRequest(write(folder, case, **how), "raspberry-pi-4", NOW, out=folder / "out", targets=("cpu",)))


@pytest.mark.parametrize("name", CASES)
def test_a_model_of_every_task_is_judged_by_what_it_is_for(name: str, tmp_path: Path):
    case = CASES[name]
    made = built(tmp_path, case)
    quality, bundle = made.record.quality, made.record.bundles[0]
    assert quality.metric == case.metric
    good = quality.int8_value <= case.least if quality.better == "lower" else quality.int8_value >= case.least
    assert good, quality
    assert case.figures <= {one.name for one in quality.figures}
    assert bundle.task == case.task
    assert bundle.postprocess.decoder == case.decoder
    assert bundle.drift is not None
    _answers(made, bundle)


OTHER = Case(
    "classification",
    [(np.stack([TOP, -TOP]), (2,)), (np.stack([LEFT, -LEFT]), (2,))],
    {"labels": (SUMS[:, 0] < 0).astype(np.int64)},
    "top1",
    0.97,
)
"""Two outputs of one form, of which the second is the answer."""


def test_a_build_that_only_guesses_names_the_output_that_does_not(tmp_path: Path):
    words = r"what guessing reaches .*; output = 1 in \[postprocess\] \(.+\) was tried and fits: .* has top1 100\.00%"
    with pytest.raises(BuildRefused, match=words):
        built(tmp_path, OTHER)
    fits = replace(OTHER, recipe="[postprocess]\noutput = 1")
    assert built(tmp_path, fits).record.quality.int8_value > OTHER.least


def test_an_output_that_has_the_classes_of_the_labels_but_guesses_too_is_named_as_that(tmp_path: Path):
    case = replace(OTHER, outputs=[(np.stack([TOP, -TOP, TOP]), (3,)), (np.stack([-TOP, TOP]), (2,))])
    words = r"output = 1 in \[postprocess\] \(.+\) has the 2 classes of the labels, but was tried and guesses as well"
    with pytest.raises(BuildRefused, match=words):
        built(tmp_path, case)


def test_labels_of_more_classes_than_the_first_output_has_are_said_to_fit_another(tmp_path: Path):
    case = replace(OTHER, outputs=[*OTHER.outputs[:1], (np.stack([LEFT, -LEFT, TOP]), (3,))])
    case = replace(case, truth={"labels": np.arange(COUNT) % 3})
    words = r"has 2 classes.*output = 1 in \[postprocess\] .* fits these labels \(not tried\)"
    with pytest.raises(RecipeError, match=words):
        built(tmp_path, case)


def _answers(made: Build, bundle) -> None:
    """The device's own code reads an answer from what the built model gives."""
    session = Session((made.path / bundle.model.name).read_bytes())
    specs = bundle.inputs[0]
    raw = np.clip(np.rint(PICTURES[:1] / specs.scale) + specs.zero_point, -128, 127).astype(np.int8)
    outputs = session.run([raw])
    assert [dequantize(one, spec).size for one, spec in zip(outputs, bundle.outputs, strict=True)]
    assert answer_for(bundle, outputs, (SIDE, SIDE)) is not None
