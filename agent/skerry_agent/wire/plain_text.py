"""Text from outside, made harmless where it comes in: one line, nothing that a terminal obeys, bounded. Pure.

Outside is whatever the agent did not write itself: a runner's standard error, a server's answer, names of files on a
stick, an error that quotes any of these. Escapes are for people: they are not meant to be turned back.
"""

MOST_CHARS = 300


def cleaned(text: str, most: int = MOST_CHARS) -> str:
    """`text` with everything escaped that does not print (controls, line ends, marks of direction), and cut."""
    if len(text) > most:  # before escaping, which may make a character ten
        text = f"{text[: most - 3]}..."
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else _escaped(char) for char in text)


def _escaped(char: str) -> str:
    return " " if char in "\t\n\r" else char.encode("unicode_escape", "surrogatepass").decode("ascii")
