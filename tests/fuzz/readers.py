"""The table of readers: what reads bytes from outside, seeds for it, and the errors in which it may refuse them.

`open` makes the function that reads one mutant in the process that will do so; it returns, or raises one of `refuses`.
Whatever else it raises is a bug. The seeds are made here, from the same code that writes such files.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tests.fuzz import api, arrays, backups, data, messages, models, requests, sources, texts

Read = Callable[[bytes], object]


@dataclass(frozen=True)
class Reader:
    """`slow` readers cost so much that `make test` takes a smaller sample of them."""

    name: str
    seeds: Callable[[], Sequence[bytes]]
    open: Callable[[], Read]
    refuses: tuple[type[Exception], ...] = ()
    tokens: Sequence[bytes] = field(default=())
    slow: bool = False


READERS = tuple(
    Reader(*row)
    for module in (arrays, sources, data, api, models, texts, messages, requests, backups)
    for row in module.READERS
)
BY_NAME = {reader.name: reader for reader in READERS}
