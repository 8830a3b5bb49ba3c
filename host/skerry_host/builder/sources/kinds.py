"""Detects the format of a source by its name and first bytes. Reads nothing else of it, and trusts no name alone."""

from pathlib import Path
from typing import Literal

from skerry_host.builder.modelfile.tflite import IDENTIFIER
from skerry_host.builder.recipe.errors import ModelError

Kind = Literal["tflite", "onnx", "keras", "saved_model", "python"]

_SUFFIXES: dict[str, Kind] = {
    ".tflite": "tflite",
    ".onnx": "onnx",
    ".keras": "keras",
    ".h5": "keras",
    ".hdf5": "keras",
    ".py": "python",
}
_PYTORCH = {".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".bin"}
_HDF5, _ZIP = b"\x89HDF\r\n\x1a\n", b"PK\x03\x04"


def kind_of(path: Path) -> Kind:
    """The kind of a source file or folder; raises `ModelError` (no_model, not_tflite, pickle) when it is none."""
    if path.is_dir():
        if (path / "saved_model.pb").is_file():
            return "saved_model"
        raise ModelError(f"{path} is a folder without saved_model.pb", hint="name a model file", code="no_model")
    suffix = path.suffix.lower()
    head = _head(path)
    if head[4:8] == IDENTIFIER:
        return "tflite"
    if suffix in _PYTORCH:
        hint = "opening a pickle runs code: export the model with torch.onnx.export instead"
        raise ModelError(f"{path} is a PyTorch or pickle file", hint=hint, code="pickle")
    kind = _SUFFIXES.get(suffix, "tflite")
    if kind == "keras" and not head.startswith((_HDF5, _ZIP)):
        raise ModelError(f"{path} is neither a .keras archive nor HDF5", hint="save it again", code="damaged")
    return kind


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(8)
    except OSError as error:
        raise ModelError(f"cannot read the model {path}: {error.strerror}", code="no_model") from None
