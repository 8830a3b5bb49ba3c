"""The answer of `onnx_child`. A separate module, so that the host reads the answer without importing onnx."""

from pathlib import Path

from msgspec import Struct


class Prepared(Struct, frozen=True):
    """What was found and done; `problem` says why the model cannot be used, empty if it can.

    `quantized`: it is int8 already, in the form of QDQ, and was left as it is. `files`: external data beside the model.
    `lowered`: it was written as TFLite, whose inputs and outputs have their axes in `orders`, by name. If it was not,
    `unknown` says why, and a copy with plain names is there for onnx2tf.
    """

    problem: str = ""
    hint: str = ""
    changes: tuple[str, ...] = ()
    inputs: dict[str, tuple[int, ...]] = {}
    quantized: bool = False
    files: tuple[str, ...] = ()
    lowered: bool = False
    unknown: str = ""
    orders: dict[str, tuple[int, ...]] = {}


def plain(prepared: Path) -> Path:
    """Where the copy of a prepared file is whose names TensorFlow takes."""
    return prepared.with_stem(f"{prepared.stem}_plain")
