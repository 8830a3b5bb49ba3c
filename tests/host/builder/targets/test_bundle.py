"""The files of a target's bundle: their names tell targets apart, and the bundle names each by its content."""

import pytest
from msgspec.structs import replace

from skerry_agent.processing import load_golden
from skerry_agent.wire import blobs
from skerry_agent.wire.targets import CPU, ONNX
from skerry_host.builder.build import Build
from skerry_host.builder.judge.golden import Recorded
from skerry_host.builder.recipe.recipe import Labels, Recipe, load_recipe
from skerry_host.builder.targets.bundle import Usual, part_of


@pytest.fixture
def model(built: Build) -> bytes:
    return (built.path / "model.tflite").read_bytes()


@pytest.fixture
def golden(built: Build) -> Recorded:
    return Recorded(load_golden((built.path / "golden.npz").read_bytes()), built.record.bundles[0].golden, 0)


@pytest.fixture
def plan(recipe) -> Recipe:
    return load_recipe(recipe).recipe


def test_a_bundle_names_its_files_by_content(built: Build, model: bytes, golden: Recorded, plan: Recipe):
    (bundle,) = built.record.bundles
    part = part_of(CPU, model, golden, plan, Usual(bundle.baseline, bundle.drift))
    assert part.bundle == bundle
    assert part.model == model
    assert {a.name: a.blob for a in part.bundle.artifacts} == {n: blobs.describe(d) for n, d in part.files.items()}


def test_another_target_than_cpu_puts_its_name_before(model: bytes, golden: Recorded, plan: Recipe):
    part = part_of(ONNX, model, golden, plan)
    assert sorted(part.files) == ["labels.txt", "onnx-golden.npz", "onnx-model.onnx"]


def test_without_labels_there_is_no_file_of_them(model: bytes, golden: Recorded, plan: Recipe):
    assert sorted(part_of(CPU, model, golden, replace(plan, labels=Labels())).files) == ["golden.npz", "model.tflite"]
