"""When rules count as in force, and what happens where a broker does not take them. Fakes behind the keeper's ports."""

import pytest

from skerry_host.plane.access.keeper import AGAIN_S, CONFIRM_S, EXPELLED_AT_ONCE, Keeper, State, read_state
from skerry_host.plane.broker.access import Access
from skerry_host.plane.broker.canary import Door
from skerry_host.plane.broker.connection import Connection
from skerry_host.plane.broker.rules import Rules

DOORS = [Door("operation", Connection.of("mqtt://h")), Door("enrolment", Connection.of("mqtt://h:1884"))]


class FakeSource:
    """A registry whose version is counted by hand."""

    def __init__(self):
        self.access, self.signed, self.flaw = Access(version=1), 0, ""

    def version(self):
        return self.access.version

    def rules(self, now):
        self.signed += 1
        return Rules(self.access, b"list", self.flaw)

    def stand_in(self, device, now):
        return device

    def revoke(self, name):
        self.access = Access(self.access.revoked | {name}, self.access.old_way, self.access.version + 1)


class FakeBroker:
    """Takes what is written when it is reloaded, unless it is `stubborn`, or `chokes` on a text and lets nobody in.

    The listeners in `away` let nobody in, whatever is written.
    """

    patience_s = 0.0

    def __init__(self):
        self.files, self.in_force, self.stubborn, self.away, self.chokes = {}, {}, False, (), b""
        self.old_way, self.expelled = [], []

    def content(self, rules):
        return rules.files()

    def write(self, content):
        self.files |= content

    def written(self):
        return dict(self.files)

    def reload(self, old_way):
        self.old_way.append(old_way)
        if not self.stubborn:
            self.in_force = dict(self.files)

    def expel(self, stand_in):
        self.expelled.append(stand_in)

    def attempt(self, door, label, patience_s):
        if door.name in self.away or (self.chokes and self.chokes in self.in_force[f"{door.name}.acl"]):
            return "unreachable"
        return "in_force" if label.encode() in self.in_force.get(f"{door.name}.acl", b"") else "not_in_force"


@pytest.fixture
def kept(tmp_path):
    source, broker = FakeSource(), FakeBroker()
    keeper = Keeper(source, broker, DOORS, broker.attempt, tmp_path / "access.json")
    keeper.look(0.0)
    return source, broker, keeper


def test_a_revocation_is_written_reloaded_and_tried_out(kept):
    source, broker, keeper = kept
    source.revoke("edge-17")
    keeper.look(1.0)
    assert keeper.state.holds
    assert b"user edge-17\ntopic deny #" in broker.in_force["operation.acl"]


def test_nothing_is_signed_or_reloaded_while_nothing_changes(kept):
    source, broker, keeper = kept
    for now in range(1, int(CONFIRM_S)):
        keeper.look(float(now))
    assert (source.signed, len(broker.old_way)) == (1, 1)


@pytest.mark.parametrize(
    ("fault", "value", "well", "word"),
    [("stubborn", True, False, "has not taken the rules"), ("chokes", b"edge-17", b"", "does not let")],
)
def test_rules_that_the_broker_does_not_take_are_taken_back_and_said_to_be_not_yet_in_force(
    kept, fault, value, well, word
):
    """A mosquitto that is started on rules that it cannot read would let nobody in."""
    source, broker, keeper = kept
    before = broker.written()
    setattr(broker, fault, value)
    source.revoke("edge-17")
    keeper.look(1.0)
    assert broker.written() == before
    assert not keeper.state.holds
    assert word in keeper.state.problem
    setattr(broker, fault, well)
    keeper.look(2.0)
    assert not keeper.state.holds, "not at once again: it may be what the broker chokes on"
    keeper.look(1.0 + AGAIN_S)
    assert keeper.state.holds
    assert b"edge-17" in broker.in_force["operation.acl"]


@pytest.mark.parametrize("away", [("enrolment",), ("operation",), ("operation", "enrolment")])
def test_who_makes_a_listener_unreachable_keeps_no_revocation_from_coming_into_force(kept, away):
    """Somebody without any certificate can take all connections of a listener; the files of before do not help then."""
    source, broker, keeper = kept
    broker.away = away
    source.revoke("edge-17")
    for now in (1.0, 1.0 + AGAIN_S, 1.0 + 2 * AGAIN_S):
        keeper.look(now)
        assert b"user edge-17\ntopic deny #" in broker.in_force["operation.acl"]
        assert b"user edge-17\ntopic deny #" in broker.in_force["enrolment.acl"]
        assert not keeper.state.holds
    broker.away = ()
    keeper.look(1.0 + 3 * AGAIN_S)
    assert keeper.state.holds


def test_while_another_listener_is_unreachable_a_revoked_device_is_not_heard_for_a_moment(kept):
    source, broker, keeper = kept
    broker.away = ("enrolment",)
    source.revoke("edge-17")
    seen, reload = [], broker.reload

    def reloading(old_way):
        reload(old_way)
        seen.append(broker.in_force["operation.acl"])

    broker.reload = reloading
    keeper.look(1.0)
    assert seen
    assert all(b"user edge-17\ntopic deny #" in each for each in seen)


def test_a_revoked_device_is_expelled_once_and_again_after_it_had_come_back(kept):
    source, broker, keeper = kept
    source.revoke("edge-17")
    source.revoke("@claim-1")
    for now in range(1, 6):
        keeper.look(float(now))
    assert broker.expelled == ["edge-17"]
    source.access = Access(frozenset(), version=7)
    keeper.look(6.0)
    source.revoke("edge-17")
    for now in range(7, 10):
        keeper.look(float(now))
    assert broker.expelled == ["edge-17", "edge-17"]


def test_a_revocation_never_waits_for_all_those_of_before_to_be_expelled(kept):
    """A plane that starts does not know who of the revoked still has a session."""
    source, broker, keeper = kept
    source.access = Access(frozenset(f"edge-{number}" for number in range(100)), version=7)
    keeper.look(1.0)
    keeper.look(2.0)
    assert len(broker.expelled) == EXPELLED_AT_ONCE
    source.revoke("late-1")
    keeper.look(3.0)
    assert b"user late-1\ntopic deny #" in broker.in_force["operation.acl"]


def test_rules_without_a_new_list_are_in_force_and_it_is_said_what_is_wrong(kept):
    source, _, keeper = kept
    source.flaw = "the key can be read by others"
    source.revoke("edge-17")
    keeper.look(1.0)
    assert keeper.state.in_force == source.access.label
    assert (keeper.state.problem, keeper.state.holds) == (source.flaw, False)
    source.flaw = ""
    keeper.look(1.0 + AGAIN_S)
    assert keeper.state.holds


def test_a_clock_that_is_set_back_keeps_no_rules_waiting(kept):
    source, broker, keeper = kept
    broker.away = ("operation", "enrolment")
    source.revoke("edge-17")
    keeper.look(1_000_000.0)
    broker.away = ()
    keeper.look(500_000.0)
    assert keeper.state.holds


def test_a_broker_that_forgets_its_rules_is_noticed(kept):
    """Somebody else may have put other files in their place: `broker status` says so within half a minute."""
    _, broker, keeper = kept
    broker.in_force = {}
    keeper.look(CONFIRM_S + 1)
    assert not keeper.state.holds
    keeper.look(CONFIRM_S + 1 + AGAIN_S)
    assert keeper.state.holds


def test_since_when_rules_are_in_force_does_not_move_with_each_look(kept, tmp_path):
    _, _, keeper = kept
    since = keeper.state.since
    keeper.look(CONFIRM_S + 1)
    assert keeper.state.since == since
    assert read_state(tmp_path / "access.json") == keeper.state


@pytest.mark.parametrize("content", [b"", b"{", b'{"wanted": 3}', b"[]"])
def test_a_damaged_note_is_none(tmp_path, content):
    (tmp_path / "n").write_bytes(content)
    assert read_state(tmp_path / "n") is None


def test_a_label_names_what_the_rules_say_and_not_only_their_version():
    """Another release of Skerry, or a registry from a backup, may have other rules under the same number."""
    each = (Access(version=7), Access(frozenset({"a"}), version=7), Access(old_way=frozenset({"b"}), version=7))
    assert len({access.label for access in each}) == 3


def test_a_state_with_a_problem_does_not_hold():
    assert State("1-a", "1-a").holds
    assert not State("1-a", "1-a", problem="x").holds
    assert not State("2-b", "1-a").holds
