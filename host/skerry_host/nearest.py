"""What somebody may have meant by a word that is none of those known. Pure."""

from collections.abc import Iterable
from difflib import get_close_matches


def did_you_mean(word: str, known: Iterable[str], alike: float = 0.6) -> str:
    """`; did you mean X?`, empty where nothing known is near: `alike` by so much, from 0 to 1."""
    near = get_close_matches(word.lower(), list(known), n=1, cutoff=alike)
    return f"; did you mean {near[0]}?" if near else ""
