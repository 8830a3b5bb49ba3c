"""How a line of the log looks: a sentence, then fields as key=value, all on one line and of bounded length. Pure."""

from collections.abc import Mapping

from skerry_agent.wire.plain_text import cleaned

MOST_LINE_CHARS = 1000
_BARE = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.:/@+%,>[]")


def rendered(sentence: str, fields: Mapping[str, object]) -> str:
    """The line, without its time or level."""
    parts = [cleaned(sentence), *(f"{key}={_value(value)}" for key, value in fields.items() if value is not None)]
    return cleaned(" ".join(parts), MOST_LINE_CHARS)


def _value(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    text = cleaned(str(value))
    return text if text and _BARE.issuperset(text) else '"{}"'.format(text.replace("\\", "\\\\").replace('"', '\\"'))
