"""The calibration linter on data that people really bring."""

import tracemalloc

import numpy as np
import pytest

from skerry_host.builder.data.lint import LINTED_BYTES, affordable, lint, moments, neighbours, require
from skerry_host.builder.data.samples import DataSet, Samples
from skerry_host.builder.recipe.errors import RecipeError

RANDOM = np.random.default_rng(3)


def pictures(count: int, seed: int = 0, dtype=np.uint8):
    """Smooth, like photographs: waves of random direction and brightness."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0:28, 0:28] / 28
    waves = [np.sin(6 * (x * a + y * b) + c) for a, b, c in random.uniform(-1, 1, (count, 3)) * 3]
    return ((np.stack(waves) * 0.5 + 0.5) * 255)[..., None].astype(dtype)


def samples(inputs, labels=None) -> Samples:
    return Samples.of(inputs, truth=np.arange(len(inputs)) % 10 if labels is None else labels)


def data(calibration: Samples | None = None, evaluation: Samples | None = None) -> DataSet:
    return DataSet(calibration or samples(pictures(200)), evaluation or samples(pictures(300, 1)))


NOISE = RANDOM.integers(0, 256, (200, 28, 28, 1), dtype=np.uint8)
EMPTY = pictures(200)
EMPTY[:120] = 255
CASES = {
    "good": (data(), {}),
    "noise where there should be pictures": (data(samples(NOISE)), {"noise": "refusal"}),
    "noise on both sides": (data(samples(NOISE), samples(NOISE[::-1] // 2)), {"noise": "warning", "far": "warning"}),
    "mostly blank": (data(samples(EMPTY)), {"constant": "refusal", "repeated": "warning", "far": "warning"}),
    "repeated": (data(samples(np.repeat(pictures(50), 4, axis=0))), {"repeated": "warning"}),
    "scaled differently": (
        data(samples(pictures(200, dtype=np.float32) / 255)),
        {"far": "refusal", "kinds": "warning"},
    ),
    "darker": (data(samples(pictures(200) // 2)), {"far": "warning"}),
    "one class": (data(samples(pictures(200), np.zeros(200, int))), {"classes": "refusal"}),
    "two classes missing": (data(samples(pictures(200), np.arange(200) % 8)), {"classes": "warning"}),
    "the same files": (data(samples(pictures(200)), samples(pictures(200))), {"overlap": "refusal"}),
    "a few shared": (
        data(samples(pictures(200)), samples(np.concatenate([pictures(20), pictures(280, 1)]))),
        {"overlap": "warning"},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_findings(case: str):
    """Pain tensorflow#49927: samples that are few, or unlike what devices see, cost accuracy."""
    found, expected = CASES[case]
    assert {finding.code: finding.level for finding in lint(found) if finding.code != "few"} == expected


def test_fewer_samples_than_usual_are_a_warning_with_its_price():
    """500 were a wall: nobody with 120 pictures could try Skerry at all."""
    (few,) = lint(data(samples(pictures(120)), samples(pictures(80, 1))))
    assert few.level == "warning"
    assert "in about 1 of 121 new samples an activation exceeds all that was measured" in few.text
    assert "80 evaluation samples: a share of right answers is known to +- 11 points" in few.text


def test_enough_samples_have_no_price():
    assert lint(data(samples(pictures(500)), samples(pictures(100, 1)))) == []


def test_refusals_stop_and_name_the_recipe_and_the_remedy():
    """Pain edgetpu#322: calibrated with random noise."""
    with pytest.raises(RecipeError, match="data of recipe fashion: the calibration samples look like noise") as refused:
        require(data(samples(NOISE, np.zeros(200, int))), "fashion")
    assert len(refused.value.issues) == 2
    assert "real samples" in refused.value.hint


def test_warnings_do_not_stop():
    (warning,) = require(data(samples(pictures(40))), "fashion")
    assert warning.startswith("40 calibration samples")


def test_many_classes_need_not_all_be_calibrated_with():
    labels = np.arange(300) % 1000
    found = lint(data(evaluation=samples(pictures(300, 1), labels)))
    assert [(finding.code, finding.level) for finding in found if finding.code != "few"] == [("classes", "warning")]


def test_neighbours():
    assert neighbours(samples(pictures(20))) > 0.9
    assert abs(neighbours(samples(NOISE))) < 0.05
    assert neighbours(samples(np.ones((5, 28, 28, 1)))) is None
    assert neighbours(samples(RANDOM.normal(size=(5, 3)))) is None
    assert neighbours(samples(np.cumsum(RANDOM.normal(size=(20, 500)), axis=1))) > 0.9


def test_moments_are_those_of_all_values_and_take_no_copy_of_them():
    images = np.random.default_rng(0).integers(0, 200, (40, 128, 128, 3), np.uint8)
    images[:20] //= 3
    tracemalloc.start()
    mean, spread = moments(Samples.of(images), 0)
    _now, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (mean, spread) == pytest.approx((images.mean(), images.std()))
    assert peak < images.nbytes


def test_columns_of_a_table_are_no_neighbours():
    numbers = samples(RANDOM.normal(0, 1, (200, 64)).astype(np.float32))
    assert [one.code for one in lint(DataSet(numbers, numbers)) if one.code == "noise"] == ["noise"]
    assert [one.code for one in lint(DataSet(numbers, numbers, ordered=False)) if one.code == "noise"] == []


class Photographs:
    """Samples of 36 MB each, of which none takes memory."""

    def __len__(self):
        return 5000

    def __getitem__(self, index):
        return (np.broadcast_to(np.uint8(index % 256), (3000, 4000, 3)),)


def test_of_large_photographs_only_some_are_looked_at():
    some = affordable(Samples(Photographs()))
    assert (len(some) - 1) * 36_000_000 <= LINTED_BYTES
    assert len(some) > 20
    assert some.inputs[1][0][0, 0, 0] == some.inputs.places[1] % 256
