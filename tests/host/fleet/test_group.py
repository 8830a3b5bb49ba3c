"""Group selections: which devices they select, and what is refused."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry_host.fleet.device import Device, choose_target
from skerry_host.fleet.errors import FleetError, WhereError
from skerry_host.fleet.group import parse, select

FLEET = [
    Device("shelf-01", "raspberry-pi-4", frozenset({"lab"}), ("cpu",)),
    Device("shelf-02", "raspberry-pi-5", frozenset({"lab", "spare"}), ("cpu",)),
    Device("door-01", "coral-dev-board", frozenset(), ("edgetpu", "cpu")),
]
CASES = {
    "all": "door-01 shelf-01 shelf-02",
    "board=raspberry-pi-4": "shelf-01",
    "board!=raspberry-pi-4": "door-01 shelf-02",
    "id=shelf-*": "shelf-01 shelf-02",
    "id = shelf-0?": "shelf-01 shelf-02",
    "tag:lab": "shelf-01 shelf-02",
    "tag:lab and not tag:spare": "shelf-01",
    "not (tag:spare or id=door-01)": "shelf-01",
    "board=raspberry-pi-* and tag:lab or id=door-01": "door-01 shelf-01 shelf-02",
    "tag:spare or board=coral-dev-board and id=shelf-01": "shelf-02",
    "not not tag:spare": "shelf-02",
    "id=nobody": "",
}
REFUSED = {
    "": 0, "and": 0, "tag:": 0, "board": 5, "board=": 6, "board=(": 6, "tag:lab tag:x": 8, "(tag:lab": 8,
    "tag:lab)": 7, "board=a; drop": 7, "__import__('os')": 11, "size=3": 0, "tag:lab and": 11, "not": 3, "id=a%b": 4,
}  # fmt: skip


DEEP = ("not " * 240 + "tag:a", "(" * 450 + "tag:a" + ")" * 450, "not (" * 90 + "tag:a")
"""Within the length that is allowed."""


@pytest.mark.parametrize("where", DEEP)
def test_what_is_nested_too_deep_is_refused_in_one_line(where):
    with pytest.raises(WhereError, match="at most 100 levels"):
        parse(where)


@pytest.mark.parametrize(("where", "ids"), CASES.items())
def test_selects(where, ids):
    assert [d.id for d in select(parse(where), FLEET)] == ids.split()


@pytest.mark.parametrize(("where", "position"), REFUSED.items())
def test_refuses_with_the_place(where, position):
    with pytest.raises(WhereError) as caught:
        parse(where)
    assert caught.value.position == position
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)


@given(st.text(max_size=1500))
def test_any_text_parses_or_is_refused(text):
    with contextlib.suppress(WhereError):
        parse(text).matches(FLEET[0])


def test_deep_nesting_is_bounded():
    with pytest.raises(WhereError):
        parse("(" * 2000 + "all" + ")" * 2000)
    assert parse("(" * 100 + "all" + ")" * 100).matches(FLEET[0])


def test_target_by_the_devices_preference():
    assert choose_target(FLEET[2], ["cpu", "edgetpu"], "fashion@1.0.0") == "edgetpu"
    assert choose_target(FLEET[2], ["cpu"], "fashion@1.0.0") == "cpu"
    with pytest.raises(FleetError, match=r"shelf-01 .* runs cpu, release fashion@1\.0\.0 has onnx"):
        choose_target(FLEET[0], ["onnx"], "fashion@1.0.0")
