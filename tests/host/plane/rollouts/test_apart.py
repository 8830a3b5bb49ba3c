"""What cannot be carried out for one rollout, order or device holds up no other, and the plane goes on."""

import pytest
from sqlalchemy import select, update
from sqlalchemy.exc import OperationalError

from skerry_host.fleet.device import Device
from skerry_host.fleet.policy import Policy
from skerry_host.plane.registry.database import open_registry
from skerry_host.plane.registry.records import devices, events, orders, rollouts, twins
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
    assert (rows["dev-2"].outcome, "cannot carry it out" in rows["dev-2"].reason) == ("failed", True)


def test_an_order_that_fails_holds_up_no_other(rig):
    with rig.registry.write() as session:
        for name in NAMES:
            order_watch(session, name, 60.0, rig.now)
    rig.damage(TwinRow, TwinRow.device == "dev-2", reported=b"{nonsense")
    rig.turn()
    with rig.registry.read() as session:
        assert {row.device: row.state for row in orders.open_orders(session)} == {
            "dev-1": "sent", "dev-2": "pending", "dev-3": "sent",
        }  # fmt: skip


def test_a_failing_one_is_tried_again_a_minute_later(rig):
    with rig.registry.write() as session:
        order_watch(session, "dev-1", 60.0, rig.now)
    rig.damage(TwinRow, TwinRow.device == "dev-1", reported=b"{nonsense")
    rig.turn()
    rig.damage(TwinRow, TwinRow.device == "dev-1", reported=None)
    rig.turn()
    assert rig.order_state() == "pending"
    rig.now += AGAIN_S + 1
    rig.turn()
    assert rig.order_state() == "sent"


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
