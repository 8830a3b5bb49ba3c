"""Devices leave the fleet: what ends with them, and what is not blamed for it."""

import pytest

from skerry_host.fleet.errors import FleetError
from skerry_host.plane.broker.link import Incoming
from skerry_host.plane.enrolment import arriving, leaving
from skerry_host.plane.errors import UnknownError
from skerry_host.plane.ingest.ingest import Ingest
from skerry_host.plane.registry.records import devices, identities, rollouts, twins
from skerry_host.plane.registry.tables import DeploymentRow, RolloutRow
from skerry_host.plane.rollouts import intake
from tests.kit.device import DirectPort, FakeDevice
from tests.kit.enrolment import EnrolmentRig, edge


@pytest.fixture
def rig(tmp_path):
    made = EnrolmentRig(tmp_path / "home")
    with made.registry:
        yield made


def revoke(rig, device="dev-1"):
    with rig.registry.write() as session:
        return leaving.revoke(session, device, "stolen", rig.now)


def retire(rig, device="dev-1"):
    with rig.registry.write() as session:
        return leaving.retire(session, device, rig.now)


def add(rig, *names):
    with rig.registry.write() as session:
        for name in names:
            devices.add(session, edge(name), rig.now)


def deployment(rig, rollout, device):
    with rig.registry.read() as session:
        (row,) = [each for each in rollouts.deployments(session, rollout) if each.device == device]
        return row.outcome, row.reason


def test_a_revoked_device_is_offline_wants_nothing_and_is_not_heard(rig):
    rig.device.connect()
    started = rig.start("1.0.0")
    assert revoke(rig) == leaving.Left(deployments=1, orders=0)
    rig.device.connect()
    with rig.registry.read() as session:
        twin = twins.find(session, "dev-1")
        assert (twin.online, twin.desired, twin.envelope) == (False, None, None)
        assert twin.generation > 0
        assert twins.cleared(session, -1) == ["dev-1"]
    assert deployment(rig, started, "dev-1") == ("cancelled", "revoked")


@pytest.mark.parametrize("leave", [revoke, retire])
def test_a_device_that_leaves_does_not_count_against_the_wave(rig, leave):
    add(rig, "dev-2")
    started = rig.start("1.0.0", max_unsuccessful=0.0)
    leave(rig)
    with rig.registry.write() as session:
        row = session.get_one(
            DeploymentRow, next(each.id for each in rollouts.deployments(session, started) if each.device == "dev-2")
        )
        row.outcome = "succeeded"
    rig.turn()
    with rig.registry.read() as session:
        ended = session.get_one(RolloutRow, started)
        assert ended.state == "succeeded"
        assert "1 more ended for causes outside the release" in ended.reason


def test_an_order_to_a_device_that_leaves_ends(rig):
    with rig.registry.write() as session:
        intake.order_watch(session, "dev-1", 60.0, rig.now)
    assert revoke(rig).orders == 1


@pytest.mark.parametrize(("leave", "word"), [(revoke, "revoked"), (retire, "retired")])
def test_nothing_can_be_ordered_of_a_device_that_left(rig, leave, word):
    leave(rig)
    with rig.registry.write() as session:
        assert devices.members(session, "all") == []
        with pytest.raises(FleetError, match=f"device dev-1 is {word}"):
            intake.order_watch(session, "dev-1", 60.0, rig.now)


def test_a_retired_device_is_no_longer_of_the_fleet_and_its_history_stays(rig):
    started = rig.start("1.0.0")
    retire(rig)
    assert rig.of_fleet() == []
    with rig.registry.read() as session:
        assert devices.page(session, "", 10) == ([], None)
        assert [each.id for each in devices.retired(session)] == ["dev-1"]
        assert devices.find(session, "dev-1").board == "generic-x86"
    assert deployment(rig, started, "dev-1") == ("cancelled", "retired")


def test_the_id_of_a_retired_device_is_had_again_only_by_who_says_so(rig):
    retire(rig)
    with pytest.raises(UnknownError, match="--replace"):
        rig.claim_one("dev-1")
    claim = rig.claim_one("dev-1", replace=True)
    rig.ask(rig.board(), claim)
    assert rig.of_fleet() == ["dev-1"]


def test_leaving_twice_is_told(rig):
    revoke(rig)
    with pytest.raises(FleetError, match="is revoked already"):
        revoke(rig)
    retire(rig)
    with pytest.raises(FleetError, match="is retired already"):
        retire(rig)
    with pytest.raises(FleetError, match="is retired already"):
        revoke(rig)
    with pytest.raises(UnknownError):
        revoke(rig, "nobody")


def test_an_approval_for_a_device_that_is_revoked_since_is_void(rig):
    rig.claim_count(2)
    board = rig.board()
    rig.ask(board)
    rig.approve(board, "dev-1")
    revoke(rig)
    assert rig.approved() == []
    assert rig.ask(board).status == "pending"


def test_a_revoked_device_that_is_provisioned_again_is_heard_again(rig):
    revoke(rig)
    claim = rig.claim_one("dev-1", replace=True)
    rig.ask(rig.board(), claim)
    ingest = Ingest(rig.registry, rig.clock)
    device = FakeDevice("dev-1", DirectPort(lambda topic, raw: ingest.apply([Incoming(topic, raw)])))
    device.connect()
    with rig.registry.read() as session:
        assert twins.find(session, "dev-1").online


def test_a_record_is_renamed_until_its_board_has_come(rig):
    claim = rig.claim_records(edge_1="S1")
    with rig.registry.write() as session:
        arriving.rename(session, "edge-1", "edge-9", rig.now)
    assert rig.ask(rig.board("S1"), claim).device == "edge-9"
    with rig.registry.write() as session:
        with pytest.raises(FleetError, match="its id is in its certificate"):
            arriving.rename(session, "edge-9", "edge-1", rig.now)
        with pytest.raises(UnknownError, match="dev-1 is already enrolled"):
            arriving.rename(session, "edge-9", "dev-1", rig.now)


def test_a_claim_of_one_board_follows_the_record_that_is_renamed(rig):
    claim = rig.claim_one("edge-1")
    with rig.registry.write() as session:
        arriving.rename(session, "edge-1", "edge-9", rig.now)
    assert rig.ask(rig.board(), claim).device == "edge-9"


def test_denied_devices_are_what_ingest_and_broker_agree_on(rig):
    add(rig, "dev-2", "dev-3")
    revoke(rig, "dev-2")
    retire(rig, "dev-3")
    with rig.registry.read() as session:
        assert identities.denied(session) == {"dev-2", "dev-3"}
        assert devices.ids(session) == {"dev-1"}
        assert {"dev-2", "dev-3"} <= identities.revoked(session)
