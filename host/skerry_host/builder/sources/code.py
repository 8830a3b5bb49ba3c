"""Finds code in a source model that would run when the model is opened. Reads names; loads no model.

A .keras archive is searched by its config, HDF5 and SavedModel files by the names of what they hold.
"""

import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from skerry_host.builder.recipe.errors import ModelError

_CONFIG = "config.json"
MAX_CONFIG_BYTES = 64 * 1024**2
_KERAS = ("keras", "tf_keras", "builtins")
_QAT = "tensorflow_model_optimization"
"""The package for quantization-aware training."""
_FOREIGN = {"__lambda__": "a lambda", "Lambda": "a Lambda layer"}
_LAMBDA = re.compile(rb'"class_name"\s*:\s*"Lambda"')
_FILE_OPS = (b"ReadFile", b"WriteFile", b"MatchingFiles", b"EagerPyFunc", b"PyFunc", b"LoadLibrary")


def in_keras(path: Path) -> list[str]:
    """What in a .keras archive or HDF5 file runs code. Raises `ModelError` (damaged)."""
    if is_archive(path):
        return sorted(set(_foreign(_config(path))))
    return ["a Lambda layer"] if _LAMBDA.search(path.read_bytes()) else []


def is_archive(path: Path) -> bool:
    """Whether a file is a .keras archive by its first bytes, as Keras has it: an archive may also hang on HDF5."""
    with path.open("rb") as file:
        return file.read(4) == b"PK\x03\x04"


def quantization_aware(path: Path) -> bool:
    """Whether layers are wrapped for quantization-aware training; a Python file, whether it names the package."""
    if is_archive(path):
        return _QAT in json.dumps(_config(path))
    data = path.read_bytes()
    return any(word in data for word in (b"QuantizeWrapper", b"QuantizeLayer", _QAT.encode()))


def in_saved_model(folder: Path) -> list[str]:
    """Which operators of a SavedModel touch files or run Python."""
    data = (folder / "saved_model.pb").read_bytes()
    return [f"operator {name.decode()}" for name in _FILE_OPS if _op(name) in data]


def _op(name: bytes) -> bytes:
    """How NodeDef.op (field 2, a string) stands in a protocol buffer."""
    return b"\x12" + bytes([len(name)]) + name


def _config(path: Path) -> Any:
    try:
        with zipfile.ZipFile(path) as archive:
            size = archive.getinfo(_CONFIG).file_size
            with archive.open(_CONFIG) as file:  # `archive.read` unpacks all before it looks at the size
                text = file.read(min(size, MAX_CONFIG_BYTES))
        config = json.loads(text) if size <= MAX_CONFIG_BYTES else None
    except Exception as error:  # noqa: BLE001 - zipfile and json raise what their parts raise, MemoryError too
        line = f"{type(error).__name__}: {error}"
        raise ModelError(f"{path} is not a .keras archive: {line}", hint="save it again", code="damaged") from None
    if size > MAX_CONFIG_BYTES:
        raise ModelError(f"{path} has an implausibly large {_CONFIG}", code="damaged")
    return config


def _foreign(config: Any) -> Iterator[str]:
    """Lambdas, and objects of modules that are not Keras's own, however deep."""
    left = [config]
    while left:
        part = left.pop()
        if isinstance(part, dict):
            yield from _foreign_class(part)
        left += part if isinstance(part, list) else part.values() if isinstance(part, dict) else ()


def _foreign_class(config: dict[str, Any]) -> Iterator[str]:
    name, module = config.get("class_name"), config.get("module")
    if isinstance(name, str) and name in _FOREIGN:
        yield _FOREIGN[name]
    if isinstance(module, str) and module.partition(".")[0] not in _KERAS:
        yield f"{name} of module {module}"
