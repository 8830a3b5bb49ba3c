"""Which operators a model file has, in which versions: of TFLite each operator's own, of ONNX that of the operator set.

Walks the file as the encoder does; loads and runs nothing. A file that is no model has none.
"""

from functools import cache

from skerry_host.patch.flatbuffer import root
from skerry_host.patch.parse_onnx import fields, text, varint
from skerry_host.patch.parse_tflite import is_tflite
from skerry_host.patch.tensors import LayoutError

CUSTOM = "CUSTOM"


def tflite_operators(data: bytes) -> dict[str, int]:
    """The newest version of each builtin operator that is used, by its name in TFLite's schema; no custom ones."""
    if not is_tflite(data):
        return {}
    found: dict[str, int] = {}
    try:
        for code in root(data).tables(1):
            name = _name(max(code.scalar(0, "b"), code.scalar(3, "i")))
            found[name] = max(found.get(name, 1), code.scalar(2, "i", 1))
    except LayoutError:
        return {}
    return {name: version for name, version in found.items() if name != CUSTOM}


def onnx_opset(data: bytes) -> int:
    """The version of ONNX's own operator set that the model is written for; 0 where that cannot be read."""
    try:
        for name, start, end in fields(data, 0, len(data)):
            if name == 8:  # opset_import
                given = {part: (at, stop) for part, at, stop in fields(data, start, end)}
                if text(data, *given.get(1, (0, 0))) in {"", "ai.onnx"} and 2 in given:
                    return varint(data, given[2][0])[0]
    except LayoutError:
        return 0
    return 0


@cache
def _names() -> dict[int, str]:
    from ai_edge_litert import schema_py_generated as schema  # noqa: PLC0415 - imports numpy

    return {code: name for name, code in vars(schema.BuiltinOperator).items() if not name.startswith("_")}


def _name(code: int) -> str:
    return _names().get(code, f"BUILTIN_{code}")
