"""Detects the format of a source by its name and first bytes. Reads nothing else of it, and trusts no name alone."""

from pathlib import Path
from typing import Literal

from skerry_host.builder.modelfile.tflite import IDENTIFIER
from skerry_host.builder.recipe.errors import ModelError
from skerry_host.builder.sources.foreign_files import HEAD_BYTES, foreign, foreign_folder

Kind = Literal["tflite", "onnx", "keras", "saved_model", "python"]

_SUFFIXES: dict[str, Kind] = {
    ".tflite": "tflite",
    ".onnx": "onnx",
    ".keras": "keras",
    ".h5": "keras",
    ".hdf5": "keras",
    ".py": "python",
}
_HDF5, _ZIP = b"\x89HDF\r\n\x1a\n", b"PK\x03\x04"


def kind_of(path: Path) -> Kind:
    """The kind of a source file or folder; raises `ModelError` (no_model, foreign, pickle, damaged) when it is none."""
    if path.is_dir():
        return _folder(path)
    head = _head(path)
    if head[4:8] == IDENTIFIER:
        return "tflite"
    other = foreign(path, head)
    if other is not None:
        code = "pickle" if "pickle" in other.what else "foreign"
        raise ModelError(f"{path} is {other.what}", hint=other.hint, code=code)
    kind = _SUFFIXES.get(path.suffix.lower(), "tflite")
    if kind == "keras" and not head.startswith((_HDF5, _ZIP)):
        raise ModelError(f"{path} is neither a .keras archive nor HDF5", hint="save it again", code="damaged")
    return kind


def _folder(path: Path) -> Kind:
    if (path / "saved_model.pb").is_file():
        return "saved_model"
    other = foreign_folder(path)
    if other is not None:
        raise ModelError(f"{path} is {other.what}", hint=other.hint, code="foreign")
    models = sorted(inner.name for inner in path.iterdir() if inner.suffix.lower() in _SUFFIXES)
    hint = f"name a model file, perhaps {path.name}/{models[0]}" if models else "name a model file"
    raise ModelError(f"{path} is a folder without saved_model.pb", hint=hint, code="no_model")


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(HEAD_BYTES)
    except OSError as error:
        raise ModelError(f"cannot read the model {path}: {error.strerror}", code="no_model") from None
