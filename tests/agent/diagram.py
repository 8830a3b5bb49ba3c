"""Draws the update machine from its table, for docs/architecture.md; `python -m tests.agent.diagram` rewrites it."""

from pathlib import Path

from skerry_agent.machine import step
from skerry_agent.records import State
from tests.agent.test_machine import EVENTS, EXPECTED, record_in

DOCUMENT = Path(__file__).parents[2] / "docs" / "architecture.md"
BEGIN, END = "<!-- machine: begin -->\n", "<!-- machine: end -->\n"


def mermaid() -> str:
    """Every transition that leaves its state, events to the same state on one arrow."""
    arrows: dict[tuple[str, str], list[str]] = {}
    for state in State:
        for event in EVENTS:
            name = type(event).__name__
            if f"{state} {name}" in EXPECTED:
                after, _ = step(record_in(state), event)
                if after.state is not state:
                    arrows.setdefault((state, after.state), []).append(name)
    lines = [f"    {a} --> {b}: {', '.join(names)}" for (a, b), names in arrows.items()]
    return "\n".join(["```mermaid", "stateDiagram-v2", "    [*] --> idle", *lines, "```", ""])


def document_with_diagram(text: str) -> str:
    """The document with the diagram of today's table."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return before + BEGIN + mermaid() + END + after


if __name__ == "__main__":
    DOCUMENT.write_text(document_with_diagram(DOCUMENT.read_text()))
