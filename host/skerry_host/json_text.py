"""JSON as text that means the same, and holds no character that misleads a terminal or a reader (`text`)."""

import re

import msgspec

_UNSEEN = re.compile(
    r"[\x7f-\x9f\xad\u0600-\u0605\u061c\u06dd\u070f\u08e2\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f"
    r"\ufeff\ufff9-\ufffb\U000110bd\U0001d173-\U0001d17a\U000e0001-\U000e007f]"
)
"""What JSON would leave as it is: it escapes only the controls of C0."""


def json_text(data: object, *, indent: int | None = 2) -> str:
    """Any value that msgspec encodes; on one line without an indent."""
    raw = msgspec.json.encode(data)
    text = (raw if indent is None else msgspec.json.format(raw, indent=indent)).decode()
    return _UNSEEN.sub(_escape, text)


def _escape(found: re.Match[str]) -> str:
    """As JSON spells a character: in UTF-16."""
    units = found.group().encode("utf-16-be")
    return "".join(f"\\u{units[i]:02x}{units[i + 1]:02x}" for i in range(0, len(units), 2))
