r"""Text from outside, made harmless for whoever reads it: a terminal, a page, a log. Pure; for the agent and the host.

Outside is whatever this program did not write itself: a runner's standard error, a server's answer, a device's words,
names of files on a stick, an error that quotes any of these. It may hold what a terminal takes for an order (ESC and
the other control characters of C0 and C1), what reverses the order of the text after it (bidirectional overrides), or
what nobody sees (zero width). Every such character becomes its own escape, such as `\x1b`, so that it is seen; line
ends and tabs become spaces. Escapes are for people: they are not meant to be turned back.
"""

import unicodedata

MOST_CHARS = 300

_REFUSED = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Unicode's categories of controls, formats (bidirectional and zero width), surrogates, line and paragraph ends."""

_SPACES = frozenset("\n\r\t\u2028\u2029")


def cleaned(text: str, most: int = MOST_CHARS) -> str:
    """`text` on one line with nothing in it that only a machine reads, cut if it is longer than `most`."""
    if len(text) > most:  # before escaping, which may make a character ten
        text = f"{text[: most - 3]}..."
    return visible(text)


def visible(text: str) -> str:
    """`text` on one line with nothing in it that only a machine reads; the very same one where there was nothing."""
    if text.isprintable():
        return text
    made = "".join(map(_seen, text))
    return text if made == text else made


def _seen(character: str) -> str:
    if character in _SPACES:
        return " "
    if unicodedata.category(character) not in _REFUSED:
        return character
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
