"""A small copy of the fashion recipe (few samples, so that a build takes a second), and one real build of it."""

import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from skerry_host.builder.build import Build, BuildRequest, build

REPOSITORY = Path(__file__).resolve().parents[2]
FASHION = REPOSITORY / "models" / "fashion"
REAL = Path(os.environ.get("SKERRY_REAL_MODELS") or REPOSITORY.parent / "shared" / "models")
needs_real = pytest.mark.skipif(not REAL.is_dir(), reason="no real models: set SKERRY_REAL_MODELS")
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)

MakeRecipe = Callable[..., Path]


@pytest.fixture(scope="session")
def make_recipe(tmp_path_factory: pytest.TempPathFactory) -> MakeRecipe:
    """Make a folder with a changed recipe: pairs of (old text, new text), and files by name that replace or add."""

    def make(*edits: tuple[str, str], files: dict[str, bytes | None] | None = None) -> Path:
        folder = tmp_path_factory.mktemp("recipe")
        text = (FASHION / "recipe.toml").read_text("utf-8")
        for old, new in (("min_calibration_samples = 500", "min_calibration_samples = 100"), *edits):
            assert old in text, old
            text = text.replace(old, new)
        (folder / "recipe.toml").write_text(text, "utf-8")
        for name, count in (("calibration.npz", 100), ("evaluation.npz", 300)):
            arrays = np.load(FASHION / name)
            np.savez(folder / name, inputs=arrays["inputs"][:count], labels=arrays["labels"][:count])
        for version in ("1.0.0", "1.1.0"):
            (folder / f"fashion-{version}.tflite").symlink_to(FASHION / f"fashion-{version}.tflite")
        for name, content in (files or {}).items():
            (folder / name).unlink(missing_ok=True)
            if content is not None:
                (folder / name).write_bytes(content)
        return folder

    return make


@pytest.fixture(scope="session")
def recipe(make_recipe: MakeRecipe) -> Path:
    return make_recipe()


@pytest.fixture(scope="session")
def built(recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Build:
    return build(BuildRequest(recipe, "raspberry-pi-4", NOW, "1.0.0", tmp_path_factory.mktemp("out") / "build"))


@pytest.fixture(scope="session")
def float_model() -> bytes:
    return (FASHION / "fashion-1.0.0.tflite").read_bytes()
