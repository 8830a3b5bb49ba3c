"""Draws the update machine from its table into docs/architecture.md: `python -m tests.agent.machine.diagram`."""

from pathlib import Path

from msgspec.structs import replace

from skerry_agent.machine.records import State
from skerry_agent.machine.table import MAX_CRASHES, step
from tests.agent.machine.transitions import EVENTS, EXPECTED, record_in

DOCUMENT = Path(__file__).parents[3] / "docs" / "architecture.md"
BEGIN, END = "<!-- machine: begin -->\n", "<!-- machine: end -->\n"


def mermaid() -> str:
    """Every transition that leaves its state, of a healthy device and one whose current bundle has kept failing.

    Events to the same state are on one arrow.
    """
    arrows: dict[tuple[str, str], list[str]] = {}
    for state in State:
        for event in EVENTS:
            name = type(event).__name__
            if f"{state} {name}" in EXPECTED:
                for record in (record_in(state), replace(record_in(state), crashes=MAX_CRASHES - 1)):
                    after, _ = step(record, event)
                    if after.state is not state and name not in arrows.setdefault((state, after.state), []):
                        arrows[state, after.state].append(name)
    lines = [f"    {a} --> {b}: {', '.join(names)}" for (a, b), names in arrows.items()]
    return "\n".join(["```mermaid", "stateDiagram-v2", "    [*] --> idle", *lines, "```", ""])


def document_with_diagram(text: str) -> str:
    """The document with the diagram of today's table."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return before + BEGIN + mermaid() + END + after


if __name__ == "__main__":
    DOCUMENT.write_text(document_with_diagram(DOCUMENT.read_text()))
