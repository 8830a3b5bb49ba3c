"""What cannot be carried out for one rollout, order or device holds up no other, and the plane goes on."""

import pytest
from sqlalchemy import select, update
from sqlalchemy.exc import OperationalError

from skerry_agent.wire.names import MAX_COUNT
from skerry_host.fleet.device import Device
from skerry_host.fleet.policy import Policy
from skerry_host.plane.registry.database import open_registry
from skerry_host.plane.registry.records import alarms, devices, events, rollouts, twins
from skerry_host.plane.registry.tables import OrderRow, RolloutRow, TwinRow
from skerry_host.plane.rollouts.apart import AGAIN_S, Apart
from skerry_host.plane.rollouts.director import Director
from skerry_host.plane.rollouts.intake import RolloutRequest, order_watch, start_rollout
from skerry_host.plane.rollouts.loop import RolloutLoop
from skerry_host.plane.views.gather import device_views
from skerry_host.release import keys
from skerry_host.release.store import Store
from tests.kit.home import add_release, make_home, model_bytes

NAMES = ("dev-1", "dev-2", "dev-3")


class Rig:
    """A rollout loop over three devices."""

    def __init__(self, folder):
        self.home, self.now = make_home(folder), 1000.0
        add_release(self.home, "1.0.0", model_bytes("a", 3000))
        self.registry, self.store = open_registry(self.home.registry), Store(self.home.store)
        director = Director(keys.load(self.home.keys, "director"), self.store, lambda: self.now)
        self.loop = RolloutLoop(self.registry, director, lambda: self.now)
        with self.registry.write() as session:
            for name in NAMES:
                devices.add(session, Device(name, "generic-x86", targets=("cpu",)), 1.0)

    def start(self, *names):
        with self.registry.write() as session:
            chosen = [devices.find(session, name) for name in names]
            return start_rollout(
                session, RolloutRequest(self.store.release("fashion@1.0.0"), chosen, "some", Policy()), self.now
            )

    def damage(self, table, where, **values):
        with self.registry.write() as session:
            session.execute(update(table).where(where).values(**values))

    def turn(self, times=3):
        for _ in range(times):
            self.loop.tick()

    def order_state(self):
        with self.registry.read() as session:
            return session.scalars(select(OrderRow.state)).one()

    def deployments(self, rollout):
        with self.registry.read() as session:
            return {row.device: row for row in rollouts.deployments(session, rollout)}


@pytest.fixture
def rig(tmp_path):
    made = Rig(tmp_path / "home")
    yield made
    made.registry.close()


def test_a_rollout_that_cannot_be_read_does_not_end_the_tick(rig):
    broken, well = rig.start("dev-1"), rig.start("dev-2")
    rig.damage(RolloutRow, RolloutRow.id == broken, policy=b"{nonsense")
    rig.turn()
    assert rig.deployments(well)["dev-2"].sent is not None
    assert rig.deployments(broken)["dev-1"].sent is None


def test_a_device_whose_desired_state_is_damaged_holds_up_no_other_of_its_rollout(rig):
    rig.damage(TwinRow, TwinRow.device == "dev-2", desired=b"{nonsense")
    rollout = rig.start(*NAMES)
    rig.turn()
    rows = rig.deployments(rollout)
    assert [rows[name].sent is not None for name in NAMES] == [True, False, True]
    assert (rows["dev-2"].outcome, rows["dev-2"].reason) == ("failed", "plane_error")
    assert rows["dev-2"].detail.startswith("desired refused: not JSON")
    rig.turn()
    with rig.registry.read() as session:
        assert rollouts.find(session, rollout).state == "running", "the others go on"


def test_the_only_device_of_a_rollout_ends_as_failed_where_the_host_cannot_carry_it_out(rig):
    """It was once tried again each minute, for ever."""
    rig.damage(TwinRow, TwinRow.device == "dev-2", generation=MAX_COUNT)
    rollout = rig.start("dev-2")
    rig.turn()
    row = rig.deployments(rollout)["dev-2"]
    assert (row.outcome, row.reason) == ("failed", "plane_error")
    assert row.detail.startswith("device dev-2 can be given no generation above")
    with rig.registry.read() as session:
        assert rollouts.find(session, rollout).state == "failed"


def test_an_order_that_fails_holds_up_no_other_and_says_why(rig):
    with rig.registry.write() as session:
        for name in NAMES:
            order_watch(session, name, 60.0, rig.now)
    rig.damage(OrderRow, OrderRow.device == "dev-2", seconds=1e9)
    rig.turn()
    with rig.registry.read() as session:
        rows = {row.device: row for row in session.scalars(select(OrderRow))}
    assert {name: row.state for name, row in rows.items()} == {"dev-1": "sent", "dev-2": "failed", "dev-3": "sent"}
    assert rows["dev-2"].detail.startswith("plane_error: command refused: seconds")


def test_an_order_whose_record_is_damaged_does_not_keep_its_device_from_the_next(rig):
    with rig.registry.write() as session:
        first = order_watch(session, "dev-1", 60.0, rig.now)
        order_watch(session, "dev-1", 60.0, rig.now + 1)
    rig.turn()
    rig.damage(OrderRow, OrderRow.id == first, state="answered", answered=rig.now, kind="rollback", before=b"{")
    rig.turn()
    with rig.registry.read() as session:
        states = session.execute(select(OrderRow.state, OrderRow.detail).order_by(OrderRow.created)).all()
    assert (states[0].state, states[0].detail[:12], states[1].state) == ("failed", "plane_error:", "sent")


def test_a_rollout_that_fails_is_tried_again_a_minute_later(rig):
    tried, apart = [], Apart(lambda: rig.now)

    def fails():
        tried.append(rig.now)
        raise ValueError("a bug")

    for _ in range(3):
        with rig.registry.write() as session:
            apart.work(session, "rollout x", fails)
    rig.now += AGAIN_S + 1
    with rig.registry.write() as session:
        apart.work(session, "rollout x", fails)
    assert tried == [1000.0, rig.now]


def test_one_damaged_twin_hides_no_other_device(rig):
    rig.damage(TwinRow, TwinRow.device == "dev-2", reported=b"\x00")
    with rig.registry.read() as session:
        assert [view.id for view in device_views(session, devices.all_devices(session))] == list(NAMES)
        assert [twin.device for twin in twins.each(session, NAMES)] == list(NAMES)


def test_what_concerns_all_is_passed_on(rig):
    apart = Apart(lambda: rig.now)

    def locked():
        raise OperationalError("INSERT", {}, Exception("database is locked"))

    with rig.registry.write() as session, pytest.raises(OperationalError):
        apart.work(session, "rollout x", locked)
    assert not apart.holds("rollout x")


def test_nothing_of_what_failed_is_left(rig):
    apart = Apart(lambda: rig.now)

    def half(session):
        events.add(session, events.Event(1.0, "x", "half", "done"))
        raise ValueError("a bug")

    with rig.registry.write() as session:
        assert not apart.work(session, "rollout x", lambda: half(session))
    with rig.registry.read() as session:
        assert "half" not in {event.subject for event in events.latest(session)}


def cloned(rig, name, *, end=False):
    with rig.registry.write() as session:
        if end:
            alarms.end(session, name, rig.now)
        else:
            alarms.sound(session, alarms.Alarm(name, alarms.CLONED, rig.now, rig.now, "two devices"))


def test_nothing_is_begun_on_a_device_whose_id_another_one_bears_until_that_has_ended(rig):
    """Case I8 of the threat table: each order went to whichever of the two was connected."""
    cloned(rig, "dev-2")
    rollout = rig.start(*NAMES)
    rig.turn()
    assert [rig.deployments(rollout)[name].sent is not None for name in NAMES] == [True, False, True]
    assert not rig.loop.tick(), "nothing is due: it does not turn in vain"
    cloned(rig, "dev-2", end=True)
    rig.turn()
    assert rig.deployments(rollout)["dev-2"].sent is not None


def test_an_alarm_begins_and_ends_without_flapping(rig):
    """It is one event, however often it is confirmed, and ends once when its cause was not seen for a while."""
    for _ in range(20):
        cloned(rig, "dev-1")
        rig.now += 30
    with rig.registry.write() as session:
        assert not alarms.are_over(session, rig.now)
        assert alarms.are_over(session, rig.now + alarms.QUIET_S)
        alarms.end_quiet(session, rig.now + alarms.QUIET_S)
        assert alarms.every(session) == []
        assert [each.kind for each in events.latest(session)][:2] == ["alarm_ended", "cloned"]
