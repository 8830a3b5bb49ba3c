"""What the running plane counts of itself, for `/metrics` and the page. Not kept across restarts."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Counters:
    """Messages and asked pieces since the start, by what became of them; bytes published; whether it is connected."""

    messages: dict[str, int]
    published_bytes: int
    connections: int
    connected: bool
    answers: dict[str, int] = field(default_factory=dict)
