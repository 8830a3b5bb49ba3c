"""The answer of `onnx_child`. A separate module, so that the host reads the answer without importing onnx."""

from msgspec import Struct


class Prepared(Struct, frozen=True):
    """What was found and done; `problem` says why the model cannot be used, empty if it can.

    `quantized`: it is int8 already, in the form of QDQ, and was left as it is. `files`: external data beside the model.
    """

    problem: str = ""
    hint: str = ""
    changes: tuple[str, ...] = ()
    inputs: dict[str, tuple[int, ...]] = {}
    quantized: bool = False
    files: tuple[str, ...] = ()
