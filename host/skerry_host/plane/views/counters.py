"""What the running plane counts, for `/metrics` and `/healthz`. Not kept across restarts."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Counters:
    """Messages and requested pieces since the start, by result; bytes published; whether it is connected.

    `waiting` messages have arrived and are not written yet.
    """

    messages: dict[str, int]
    published_bytes: int
    connections: int
    connected: bool
    answers: dict[str, int] = field(default_factory=dict)
    waiting: int = 0
