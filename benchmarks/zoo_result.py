"""What the zoo finds out about one model, and the budget that decides whether it works. Runs nothing."""

from dataclasses import dataclass, field

POINT, RELATIVE = 0.01, 0.02
CONVERSION = "conversion"
"""In place of a figure, of architectures with made-up weights."""


@dataclass
class Made:
    """What one tool made of a model: a file and its figure, or why not."""

    tool: str
    file: str = ""
    value: float | None = None
    bytes: int = 0
    ms: float | None = None
    mapped: str = ""
    problem: str = ""
    seconds: float = 0.0


def allowed(value: float) -> float:
    """By how much a figure may be worse than the float model's: of a build and of a peer alike."""
    return max(POINT, RELATIVE * abs(value))


@dataclass
class Result:
    """A model's float figure and what each tool made of it. `target` is ours that was taken."""

    name: str
    task: str
    metric: str = ""
    better: str = "higher"
    value: float | None = None
    float_bytes: int = 0
    float_ms: float | None = None
    ours: list[Made] = field(default_factory=list)
    peers: list[Made] = field(default_factory=list)
    problem: str = ""

    def within(self, made: Made) -> bool:
        """Whether a figure keeps to the budget."""
        if made.value is None or self.value is None:
            return False
        loss = self.value - made.value if self.better == "higher" else made.value - self.value
        return loss <= allowed(self.value) + 1e-9

    @property
    def right(self) -> Made | None:
        """The first of ours that passed and keeps to the budget."""
        return next((m for m in self.ours if not m.problem and self.within(m)), None)

    @property
    def broken(self) -> list[Made]:
        """Those of ours that passed and do not keep to the budget."""
        return [m for m in self.ours if not m.problem and not self.within(m)]

    @property
    def verdict(self) -> str:
        """One word or two for the table."""
        if self.metric == CONVERSION:
            return "not converted" if self.problem else "converted"
        if self.broken:
            return "PASSED AND BROKEN"
        if self.right:
            return "built"
        return "refused, possible" if any(self.within(peer) for peer in self.peers) else "refused"
