"""Gives tensors and operator codes of a `schema.ModelT` the names that the quantizer knows them by."""

from typing import Any

_OLD_CODE_LIMIT = 127
"""Codes up to 127 once stood in an int8 field, `deprecated_builtin_code`; old files fill that one only (schema.fbs)."""


def unique_names(model: Any) -> str | None:
    """Give tensors names of their own, in UTF-8: the quantizer knows activations by name and refuses two of one."""
    seen: set[bytes] = set()
    changed = 0
    for index, tensor in enumerate(model.subgraphs[0].tensors):
        name = bytes(tensor.name or b"").decode("utf-8", "replace").encode()
        while name in seen or not name:
            name = (name or b"tensor") + b"_%d" % index
        changed += name != tensor.name
        tensor.name = name
        seen.add(name)
    return f"{changed} tensors renamed" if changed else None


def builtin_codes(model: Any) -> str | None:
    """Fill `builtin_code` from the old field: the quantizer reads the new one only and would emit a broken model."""
    old = [c for c in model.operatorCodes if c.builtinCode == 0 and 0 < c.deprecatedBuiltinCode <= _OLD_CODE_LIMIT]
    for code in old:
        code.builtinCode = code.deprecatedBuiltinCode
    return f"{len(old)} operator codes of the old schema" if old else None
