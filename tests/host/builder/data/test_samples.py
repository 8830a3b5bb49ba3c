import io

import numpy as np
import pytest
from msgspec.structs import replace

from skerry_agent.wire.manifest import Postprocess, TensorSpec
from skerry_host.builder.data.meaning import class_count, name_issues
from skerry_host.builder.data.samples import Samples, load_data
from skerry_host.builder.recipe.errors import RecipeError
from skerry_host.builder.recipe.labels import Labels
from skerry_host.builder.recipe.recipe import Data, Recipe, SourcePlan, load_recipe

IMAGE = TensorSpec("image", "float32", (1, 28, 28, 1))
RANDOM = np.random.default_rng(7)


def npz(inputs, labels=None) -> bytes:
    stream = io.BytesIO()
    arrays = {"inputs": inputs} | ({} if labels is None else {"labels": labels})
    np.savez(stream, **arrays)
    return stream.getvalue()


def images(count: int, shape=(28, 28, 1)):
    return RANDOM.integers(0, 256, (count, *shape), dtype=np.uint8)


LABELS = np.arange(100) % 10
CASES = {
    "too few": (npz(images(20), LABELS[:20]), "20 samples, min_calibration_samples asks for 100"),
    "wrong shape": (npz(images(100, (32, 32, 3)), LABELS), "the model takes Nx28x28x1"),
    "no samples": (npz(images(0)), "holds no samples"),
    "other names": (npz(images(0)).replace(b"inputs", b"inputz"), "has no array inputs"),
    "too few labels": (npz(images(100), LABELS[:99]), "not 100 integers"),
    "label out of range": (npz(images(100), LABELS + 1), "labels run from 1 to 10, the model has 10 classes"),
    "NaN": (npz(np.full((100, 28, 28, 1), np.nan, np.float32), LABELS), "NaN"),
    "constant": (npz(np.full((100, 28, 28, 1), 7, np.uint8), LABELS), "every input value is 7"),
    "one number": (npz(np.array(3), np.array(3)), "inputs is one number"),
    "beyond float32": (npz(images(100) * 1e300, LABELS), "are beyond float32 after preprocessing"),
    "text": (npz(np.array(["a"] * 100), LABELS), "not a numeric one"),
    "pickle": (npz(np.array([{}] * 100, dtype=object), LABELS), "calibration.npz"),
    "not an npz": (b"PK\x03\x04 no", "calibration.npz"),
}


@pytest.mark.parametrize("case", CASES)
def test_unusable_samples_are_refused(make_recipe, case: str):
    content, expected = CASES[case]
    loaded = load_recipe(make_recipe(files={"calibration.npz": content}))
    with pytest.raises(RecipeError) as refused:
        load_data(loaded, [IMAGE], 10)
    assert refused.value.code == "data"
    assert expected in str(refused.value)


DECLARED = {
    "planes": ('layout = "nchw"', "preprocess.layout: the model takes 28x28x1, pixels, not planes"),
    "colours": ('color = "bgr"', "preprocess.color: the model takes 28x28x1, which has no colours to swap"),
}


@pytest.mark.parametrize("case", DECLARED)
def test_preprocessing_that_is_not_of_the_models_input(make_recipe, case: str):
    line, expected = DECLARED[case]
    with pytest.raises(RecipeError) as refused:
        load_data(load_recipe(make_recipe(("offset = 0.0", f"offset = 0.0\n{line}"))), [IMAGE], 10)
    assert refused.value.issues[0].startswith(expected)


def test_both_files_and_the_labels_are_reported_together(make_recipe):
    loaded = load_recipe(make_recipe(files={"calibration.npz": b"", "evaluation.npz": npz(images(5), LABELS[:5])}))
    with pytest.raises(RecipeError) as refused:
        load_data(loaded, [IMAGE], 9)
    assert len(refused.value.issues) == 3


def test_good_samples(recipe):
    data = load_data(load_recipe(recipe), [IMAGE], 10)
    assert (len(data.calibration), len(data.evaluation)) == (100, 300)


def test_samples_without_labels_are_compared_with_the_float_model(make_recipe):
    loaded = load_recipe(make_recipe(files={"evaluation.npz": npz(images(50))}))
    samples = load_data(loaded, [IMAGE], 10).evaluation
    assert samples.truth is None
    judged = samples.compared_with([np.zeros((50, 10))])
    assert judged.every(10).reference[0].shape == (5, 10)


@pytest.mark.parametrize("period", [2, 3, 4, 5, 10])
def test_some_of_the_samples_are_of_every_kind_also_where_kinds_come_in_turn(period: int):
    """Every eighth of samples whose ten classes come in turn is of five of them only."""
    samples = Samples.of(np.arange(500))
    taken = np.array([int(raw[0]) for raw in samples.spread(64)])
    assert 60 <= len(set(taken)) == len(taken) <= 64
    assert taken.min() < 10
    assert taken.max() >= 490
    assert np.bincount(taken % period, minlength=period).min() > 0.5 * 64 / period
    assert samples.spread(500) is samples


def detector(**postprocess) -> Recipe:
    data = Data("c.npz", "e.npz")
    return Recipe(1, "m", "detection", "MIT", SourcePlan("m.tflite"), data, postprocess=Postprocess(**postprocess))


@pytest.mark.parametrize(
    ("postprocess", "classes"), [({}, 3), ({"boxes": 1, "scores": 0}, 4), ({"classes": 0}, 0), ({"scores": 5}, 0)]
)
def test_how_many_classes_a_detector_has_is_read_from_its_scores(postprocess, classes):
    outputs = [TensorSpec("boxes", "float32", (1, 7, 4)), TensorSpec("scores", "float32", (1, 7, 3))]
    assert class_count(detector(**postprocess), outputs) == classes


def test_labels_of_another_number_than_a_detectors_classes_are_refused(make_recipe):
    loaded = load_recipe(make_recipe(('task = "classification"', 'task = "detection"')))
    with pytest.raises(RecipeError, match=r"labels: the classes of samples .* whose truth is in 'boxes'"):
        load_data(loaded, [IMAGE], 0)
    for path in (loaded.calibration, loaded.evaluation):
        inputs = np.load(path)["inputs"]
        np.savez(path, inputs=inputs)
    with pytest.raises(RecipeError, match="10 names, the model has 3 classes"):
        load_data(loaded, [IMAGE], 3)
    assert load_data(loaded, [IMAGE], 0).calibration


SHAPES = {
    "planes": ((20, 3, 32, 48), (1, 32, 48, 3), "are planes"),
    "a single sample": ((32, 48, 3), (1, 32, 48, 3), "a single sample"),
    "flat": ((20, 4608), (1, 32, 48, 3), "are flat"),
    "another order": ((20, 48, 32, 3), (1, 32, 48, 3), "the axes are in another order"),
    "another size": ((20, 32, 32, 3), (1, 32, 48, 3), "the model takes Nx32x48x3"),
}


@pytest.mark.parametrize(("shape", "wanted", "words"), SHAPES.values(), ids=SHAPES.keys())
def test_a_shape_that_does_not_fit_is_explained_where_that_is_plain(make_recipe, shape, wanted, words):
    content = npz(RANDOM.integers(0, 256, shape, dtype=np.uint8), np.arange(shape[0]) % 10)
    loaded = load_recipe(make_recipe(files={"calibration.npz": content}))
    with pytest.raises(RecipeError) as refused:
        load_data(loaded, [TensorSpec("image", "float32", wanted)], 10)
    assert words in refused.value.issues[0]


@pytest.mark.parametrize(
    ("task", "names", "classes", "issues"),
    [
        ("multilabel", 3, 4, ["labels.names: 3 names, the model has 4 classes"]),
        ("classification", 3, 4, ["labels.names: 3 names, the model has 4 classes"]),
        ("detection", 1, 1, []),
        ("detection", 2, 1, ["labels.names: 2 names, the model has 1 classes"]),
        ("detection", 2, 0, []),
        ("regression", 2, 1, []),
    ],
)
def test_names_are_as_many_as_classes_whatever_form_the_data_have(task, names, classes, issues):
    plan = replace(detector(), task=task, labels=Labels(tuple(map(str, range(names)))))
    assert name_issues(plan, plan.labels.names, classes) == issues
