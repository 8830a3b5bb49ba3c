"""The diagram in the documentation is drawn from today's table."""

from tests.agent.machine.diagram import DOCUMENT, document_with_diagram


def test_the_documented_machine_is_the_real_one():
    text = DOCUMENT.read_text()
    assert text == document_with_diagram(text), "run `python -m tests.agent.machine.diagram`"
