"""What the running plane counts of itself, for `/metrics` and the page. Not kept across restarts."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Counters:
    """Messages since the start, by what became of them; bytes published; whether there is a connection."""

    messages: dict[str, int]
    published_bytes: int
    connections: int
    connected: bool
