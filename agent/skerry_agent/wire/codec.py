"""JSON in and out, typed by msgspec, and TOML in; a refused message reports *all* of its issues at once.

Unknown fields are ignored, never refused, so that old agents understand newer hosts. Does not know any message.
"""

from math import isfinite
from typing import Annotated, Any, TypeVar, get_args, get_origin

import msgspec

from skerry_agent.wire.errors import WireError

T = TypeVar("T")

MAX_MESSAGE_BYTES = 256 * 1024
"""The largest JSON message of this protocol; larger ones are refused before parsing, which bounds memory."""

_ENCODER = msgspec.json.Encoder()


def encode(message: object) -> bytes:
    """Encode a struct as compact JSON; `bytes` fields become base64 text."""
    return _ENCODER.encode(message)


def decode(raw: bytes | str, kind: type[T], most: int = MAX_MESSAGE_BYTES) -> T:
    """Decode and validate one message.

    Raises `WireError` with every issue found: a size over `most` bytes, text that is not JSON,
    and each field that is missing, of another type or out of range.
    """
    name = getattr(kind, "__name__", str(kind)).lower()
    if len(raw) > most:
        raise WireError(name, [f"{len(raw)} bytes are over the limit of {most}"])
    try:
        return msgspec.json.decode(raw, type=kind)
    except msgspec.ValidationError as first:
        issues = [str(first)]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise WireError(name, [f"not JSON: {error}"]) from None
    raise WireError(name, _issues_of_text(raw, kind) or issues)


def parse_toml(raw: bytes) -> dict[str, Any]:
    """The table of a TOML file; raises `WireError` with what is wrong with it."""
    import tomllib  # noqa: PLC0415 - runners read none

    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise WireError("toml", ["it is in UTF-16: save it as UTF-8"])
    try:
        return tomllib.loads(raw.decode("utf-8-sig"))  # Windows editors write a mark before the first letter
    except (ValueError, RecursionError) as error:  # also a number of 5,000 digits, and 1,000 brackets
        raise WireError("toml", [f"not TOML: {' '.join(str(error).split())}"]) from None


def convert(value: object, kind: type[T]) -> T:
    """Validate plain data (for instance parsed TOML) against a struct; raises `WireError` like `decode`.

    A number that is not finite is an issue, too: JSON has none, but TOML has.
    """
    name, issues = kind.__name__.lower(), _issues(value, kind, "")
    if issues:
        raise WireError(name, issues)
    try:
        return msgspec.convert(value, kind)
    except (msgspec.ValidationError, ValueError) as first:
        raise WireError(name, [str(first)]) from None


def _issues_of_text(raw: bytes | str, kind: type) -> list[str]:
    try:
        return _issues(msgspec.json.decode(raw), kind, "")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return []  # the typed decoder stopped before it came this far


def _issues(value: Any, kind: Any, path: str) -> list[str]:
    """Every issue of `value` as a `kind`, deepest path first found; empty when it is valid."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return _issues_of_struct(value, kind, path)
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return _issues(value, arguments[0], path) or _issue_of_leaf(value, kind, path)
    if origin in {list, tuple} and arguments and isinstance(value, list):
        return [issue for i, item in enumerate(value) for issue in _issues(item, arguments[0], f"{path}[{i}]")]
    if origin is dict and isinstance(value, dict):
        return [issue for key, item in value.items() for issue in _issues(item, arguments[1], f"{path}.{key}")]
    return _issue_of_leaf(value, kind, path)


def _issues_of_struct(value: Any, kind: type[msgspec.Struct], path: str) -> list[str]:
    if not isinstance(value, dict):
        return [f"{path or 'message'}: expected an object"]
    found: list[str] = []
    for field in msgspec.structs.fields(kind):
        where = f"{path}.{field.encode_name}" if path else field.encode_name
        if field.encode_name in value:
            found += _issues(value[field.encode_name], field.type, where)
        elif field.required:
            found.append(f"{where}: missing")
    return found or _issue_of_leaf(value, kind, path)


def _issue_of_leaf(value: Any, kind: Any, path: str) -> list[str]:
    if isinstance(value, float) and not isfinite(value):
        return [f"{path or 'message'}: must be finite"]
    try:
        msgspec.convert(value, kind)
    except (msgspec.ValidationError, ValueError) as error:  # also a number too long to be shown
        return [f"{path or 'message'}: {error}"]
    return []
