"""What the running plane counts, for `/metrics` and `/healthz`. Not kept across restarts."""

from dataclasses import dataclass, field

from skerry_host.plane.registry.telemetry.totals import ModelTotals


@dataclass(frozen=True, slots=True)
class Counters:
    """Messages and requested pieces since the start, by result; bytes published; whether it is connected.

    `waiting` messages have arrived and are not written yet. `started` and `ticked` are when it began, and when it last
    worked through the rollouts (seconds since 1970). `models` are by model and release.
    """

    messages: dict[str, int]
    published_bytes: int
    connections: int
    connected: bool
    answers: dict[str, int] = field(default_factory=dict)
    waiting: int = 0
    started: float = 0.0
    ticked: float = 0.0
    models: dict[tuple[str, str], ModelTotals] = field(default_factory=dict)
