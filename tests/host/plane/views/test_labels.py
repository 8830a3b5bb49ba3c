"""The words for codes: every code that the agent can give as a reason has one, and unknown ones are still readable."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

from skerry_agent.wire.twin import Outcome, StateName
from skerry_host.fleet.rollout import RolloutState
from skerry_host.plane.views.labels import LABELS, because, event_label, label, transports

AGENT = Path(__file__).resolve().parents[4] / "agent" / "skerry_agent"
NODES = [node for path in AGENT.rglob("*.py") for node in ast.walk(ast.parse(path.read_text("utf-8")))]
FIELDS = {"reason", "code"}
"""The agent's names for a parameter, a field or a variable that holds such a code."""


def field_names(node: ast.AST) -> list[str]:
    """The positional parameters of a function, or the fields of a class."""
    if isinstance(node, ast.FunctionDef):
        return [a.arg for a in (*node.args.posonlyargs, *node.args.args) if a.arg not in {"self", "cls"}]
    if isinstance(node, ast.ClassDef):
        made = next((s for s in node.body if isinstance(s, ast.FunctionDef) and s.name == "__init__"), None)
        own = [s.target.id for s in node.body if isinstance(s, ast.AnnAssign) and isinstance(s.target, ast.Name)]
        return field_names(made) if made else own
    return []


def positions() -> dict[str, set[int]]:
    """Where each function and class of the agent takes a code."""
    found = defaultdict(set)
    for node in NODES:
        found[getattr(node, "name", "")] |= {i for i, name in enumerate(field_names(node)) if name in FIELDS}
    return found


def returned(name: str) -> Iterator[ast.AST]:
    """What the functions of a name return."""
    for node in NODES:
        if isinstance(node, ast.FunctionDef) and node.name == name:
            yield from (r.value for r in ast.walk(node) if isinstance(r, ast.Return) and r.value is not None)


def constants(name: str) -> Iterator[ast.AST]:
    """The values of the agent's constants of a name."""
    for node in NODES:
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == name for t in node.targets):
            yield node.value


def called(node: ast.Call) -> str:
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def values() -> Iterator[ast.AST]:
    """Every expression of the agent that becomes a reason or a code: arguments, defaults, assignments."""
    places = positions()
    for node in NODES:
        if isinstance(node, ast.Call):
            yield from (node.args[i] for i in places.get(called(node), ()) if i < len(node.args))
            yield from (keyword.value for keyword in node.keywords if keyword.arg in FIELDS)
        elif isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            heads = [t.elts[0] if isinstance(t, ast.Tuple) else t for t in targets]
            if any(isinstance(head, ast.Name) and head.id in FIELDS for head in heads):
                yield node.value


def codes_in(value: ast.AST) -> Iterator[str]:
    """The literals of such an expression: either branch, a constant, what a function returns."""
    match value:
        case ast.Constant(value=str(text)) if re.fullmatch(r"[a-z][a-z0-9_]*", text):
            yield text
        case ast.Name(id=name) | ast.Attribute(attr=name) if name.isupper():
            yield from (code for named in constants(name) for code in codes_in(named))
        case ast.IfExp():
            yield from (*codes_in(value.body), *codes_in(value.orelse))
        case ast.Tuple():
            yield from codes_in(value.elts[0])
        case ast.Call():
            for result in (r for r in returned(called(value)) if not isinstance(r, ast.Call)):
                yield from codes_in(result)


CODES = sorted({code for value in values() for code in codes_in(value)})


def test_the_codes_of_the_agent_are_found_wherever_they_are_given():
    known = {"stalled", "too_much_in_vain", "deadline", "withdrawn", "already_current", "ordered", "disk_full"}
    known |= {"crashed", "no_other_release", "bundle_unreadable", "latency_over_budget", "device_absent"}
    assert known <= set(CODES)


@pytest.mark.parametrize("code", CODES)
def test_every_code_of_the_agent_has_its_word(code):
    assert code in LABELS


def test_every_outcome_and_state_has_its_word():
    assert {*get_args(Outcome), *get_args(StateName), *get_args(RolloutState)} <= LABELS.keys()


def test_words_are_for_people():
    assert [word for word in LABELS.values() if "_" in word or not word.strip()] == []


TEXTS = {
    "too_much_in_vain": "transfer overrun",
    "flux_low": "flux low",
    "no report for 60 s": "no report for 60 s",
    "superseded by my_model@1.1.0": "superseded by my_model@1.1.0",
    "fashion@1.2.0: latency_over_budget": "fashion@1.2.0: latency over budget",
    "my_model is not served: hang: silent for 20 s": "my_model is not served: inference hung: silent for 20 s",
    "": "",
}


@pytest.mark.parametrize(("text", "shown"), TEXTS.items())
def test_a_code_becomes_its_word_and_other_text_stays(text, shown):
    assert label(text) == shown


def test_transports_reasons_and_events():
    assert transports("retained, asked") == "MQTT retained, MQTT on request"
    assert transports("") == ""
    assert because("stalled", "wrong_base: it is another") == "download stalled: wrong patch base: it is another"
    assert because("", "") == ""
    assert [event_label(kind) for kind in ("ordered", "rolled_back", "enrolled")] == [
        "command sent", "rolled back", "enrolled",
    ]  # fmt: skip
