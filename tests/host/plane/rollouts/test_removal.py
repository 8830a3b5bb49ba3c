"""Taking a model off a device: in its desired state, done when the device reports it gone, failed where it stays."""

import pytest

from skerry_host.fleet.errors import FleetError
from skerry_host.plane.errors import UnknownError
from skerry_host.plane.registry.records import identities
from skerry_host.plane.registry.tables import OrderRow
from skerry_host.plane.rollouts import removal
from skerry_host.plane.rollouts.intake import order_removal, order_watch
from tests.kit.rollouts import Rig, two_releases


@pytest.fixture
def rig(tmp_path):
    made = Rig(tmp_path / "home")
    yield made
    made.registry.close()


def remove(rig, model="fashion"):
    with rig.registry.write() as session:
        order_removal(session, "dev-1", model, rig.now)
    rig.turn()


def gone(rig):
    """The device has accepted it."""
    rig.device.kept.generation = rig.twin.generation
    rig.device.kept.models.pop("fashion", None)
    rig.device.say()
    rig.turn()


def test_a_removed_model_is_in_the_desired_state_until_it_is_ordered_anew(rig):
    two_releases(rig)
    remove(rig)
    assert (rig.wanted, rig.twin.desired.removed, rig.order().state) == (None, ("fashion",), "sent")
    gone(rig)
    assert (rig.order().state, rig.order().detail) == ("done", "fashion is gone")
    rig.start("1.2.0")
    assert (rig.wanted, rig.twin.desired.removed) == ("fashion@1.2.0", ())


def test_what_is_under_way_or_waits_of_it_is_cancelled(rig):
    two_releases(rig)
    started = rig.start("1.2.0")
    remove(rig)
    rig.turn()
    rollout, deployment = rig.row(started)
    assert (deployment.outcome, deployment.reason) == ("cancelled", "the model was taken off the device")
    assert rollout.state == "failed"
    assert (rig.wanted, rig.twin.desired.removed) == (None, ("fashion",)), "closing it brought nothing back"


def test_an_agent_that_knows_no_removal_keeps_it_and_the_order_says_so(rig):
    model = two_releases(rig)
    remove(rig)
    rig.say(model)
    rig.turn()
    assert (rig.order().state, rig.order().detail) == ("failed", removal.TOO_OLD)


def test_a_device_that_does_not_answer_fails_it_in_a_day_and_gives_the_model_up_when_it_comes_back(rig):
    two_releases(rig)
    remove(rig)
    rig.now += removal.PATIENCE_S + 1
    rig.turn()
    assert (rig.order().state, rig.order().detail) == ("failed", "not accepted within 24 hours")
    assert rig.twin.desired.removed == ("fashion",)


def test_a_command_need_not_wait_for_it(rig):
    two_releases(rig)
    remove(rig)
    with rig.registry.write() as session:
        watch = order_watch(session, "dev-1", 60.0, rig.now)
    rig.turn()
    with rig.registry.read() as session:
        assert session.get_one(OrderRow, watch).state == "sent"


def test_a_model_that_the_device_never_had_is_the_users_mistake(rig):
    with rig.registry.write() as session, pytest.raises(UnknownError, match="has no model 'other'"):
        order_removal(session, "dev-1", "other", rig.now)


def test_a_device_that_is_not_heard_any_more_is_ordered_nothing(rig):
    """It was said to be under way, of a device that would never hear of it."""
    with rig.registry.write() as session:
        identities.revoke(session, "dev-1", "stolen", rig.now)
    with rig.registry.write() as session, pytest.raises(FleetError, match="dev-1 is revoked"):
        order_removal(session, "dev-1", "fashion", rig.now)
