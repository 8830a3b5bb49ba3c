"""The part of YAML that YOLO's data.yaml is written in: keys with a text, a list or a table of texts. Pure.

No anchors, no nesting beyond that, no types: every value is a text, or a list or table of texts.
"""

import re

Value = str | list[str] | dict[str, str]
_KEY = re.compile(r"^(\"[^\"]*\"|'[^']*'|[^\s:#][^:#]*?)\s*:(?:\s+(.*))?$")


def parse(text: str) -> dict[str, Value]:
    """The keys of the outermost table; lines that are none of this are left out."""
    found: dict[str, Value] = {}
    current = ""
    for raw in text.removeprefix("\ufeff").splitlines():
        line = _without_comment(raw)
        if not line.strip() or line.strip() in {"---", "..."}:
            continue
        if current and (line[0].isspace() or line.lstrip().startswith("- ")):
            _add(found, current, line.strip())
        elif match := _KEY.match(line.rstrip()):
            current, value = _text(match[1]), (match[2] or "").strip()
            found[current] = _value(value)
    return found


def _add(found: dict[str, Value], key: str, line: str) -> None:
    """One line of a block: an element of a list, an entry of a table, or the rest of a list that goes on."""
    known = found[key]
    if line.startswith("-"):
        values = known if isinstance(known, list) else []
        found[key] = [*values, _text(line[1:].strip())]
    elif isinstance(known, str) and known.startswith(("[", "{")):
        found[key] = _value(f"{known} {line}")
    elif match := _KEY.match(line):
        entries = known if isinstance(known, dict) else {}
        found[key] = {**entries, _text(match[1]): _text((match[2] or "").strip())}


def _value(text: str) -> Value:
    if text.startswith("[") and text.endswith("]"):
        return [_text(part) for part in _parts(text[1:-1])]
    if text.startswith("{") and text.endswith("}"):
        pairs = [part.partition(":") for part in _parts(text[1:-1])]
        return {_text(key.strip()): _text(value.strip()) for key, _colon, value in pairs}
    return text if text.startswith(("[", "{")) else _text(text)


def _parts(text: str) -> list[str]:
    found = re.findall(r"\s*((?:\"[^\"]*\"|'(?:[^']|'')*'|[^,\"'])+)\s*(?:,|$)", text)
    return [part.strip() for part in found if part.strip()]


def _text(text: str) -> str:
    if len(text) >= 2 and text[0] == text[-1] and text[0] in "\"'":
        return text[1:-1].replace("''", "'") if text[0] == "'" else text[1:-1]
    return text


def _without_comment(line: str) -> str:
    """Without what follows # where that is not in quotes."""
    quote = ""
    for at, letter in enumerate(line):
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "\"'" and (at == 0 or not line[at - 1].isalnum()):
            quote = letter
        elif letter == "#" and (at == 0 or line[at - 1].isspace()):
            return line[:at]
    return line
