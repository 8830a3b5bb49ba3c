"""Data files are looked at even where the model cannot be: a newcomer hears of both in one round."""

import io

import numpy as np
import pytest

from skerry_host.builder.data.alone import require_readable
from skerry_host.builder.recipe.errors import RecipeError
from skerry_host.builder.recipe.recipe import load_recipe


def npz(**arrays) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


X = np.zeros((120, 4), np.float32)
CASES = {
    "no archive": (b"PK\3\4 no", "is not a .npz file"),
    "other names": (npz(x=X, y=X), "has no array inputs, it has x, y"),
    "NaN": (npz(inputs=X * np.nan), "inputs hold NaN or infinity"),
    "words": (npz(inputs=np.array(["a"])), "not a numeric one"),
    "nothing": (npz(inputs=X[:0]), "holds no samples"),
    "one number": (npz(inputs=np.array(3)), "is one number"),
    "labels for others": (npz(inputs=X, labels=np.zeros(7, int)), "7 labels for 120 samples"),
    "fewer than the recipe wants": (npz(inputs=X[:3]), "3 samples, min_calibration_samples asks for 100"),
}


@pytest.mark.parametrize(("content", "words"), CASES.values(), ids=CASES.keys())
def test_what_no_model_could_take_is_named_without_one(make_recipe, content: bytes, words: str):
    loaded = load_recipe(make_recipe(files={"calibration.npz": content}))
    with pytest.raises(RecipeError) as refused:
        require_readable(loaded)
    (issue,) = refused.value.issues
    assert words in issue
    assert issue.count("calibration.npz") == 1 or "is not" in issue


def test_sound_files_are_no_problem(make_recipe):
    require_readable(load_recipe(make_recipe()))
