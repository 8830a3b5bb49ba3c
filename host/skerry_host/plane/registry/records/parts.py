"""Cuts long lists for one query: databases limit the parameters of a statement, and memory what one may bring."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

T = TypeVar("T")
MOST = 500


def parts(values: Iterable[T], most: int = MOST) -> Iterator[list[T]]:
    """The values, a few at a time."""
    rest = iter(values)
    while part := list(islice(rest, most)):
        yield part
