"""What `onnx_child` answers. Apart from it, so that the host reads the answer without importing onnx."""

from msgspec import Struct


class Prepared(Struct, frozen=True):
    """What was found and done; `problem` says why the model cannot be used, empty if it can."""

    problem: str = ""
    hint: str = ""
    changes: tuple[str, ...] = ()
    inputs: dict[str, tuple[int, ...]] = {}
