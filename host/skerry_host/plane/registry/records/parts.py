"""Cuts long lists for one query: databases limit the parameters of a statement, and memory what one may bring."""

from collections.abc import Iterable, Iterator
from itertools import islice

MOST = 500


def parts(values: Iterable[str]) -> Iterator[list[str]]:
    """The values, at most `MOST` at a time."""
    rest = iter(values)
    while part := list(islice(rest, MOST)):
        yield part
