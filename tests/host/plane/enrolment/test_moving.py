"""A device of the old way is offered an identity: what it is told, who is taken for it, and when the old way ends."""

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA

from skerry_agent.wire import codec
from skerry_agent.wire.enrolment import Offer, RenewalRequest, renewal_proof_bytes
from skerry_host.fleet.errors import FleetError
from skerry_host.identity.authority import Authority
from skerry_host.plane.enrolment import arriving, leaving, moving
from skerry_host.plane.enrolment.moving import Terms
from skerry_host.plane.enrolment.renewal import RenewalDesk
from skerry_host.plane.registry.records import devices, events, identities
from skerry_host.plane.registry.tables import TwinRow
from tests.kit.csr import csr_of, device_key
from tests.kit.enrolment import EnrolmentRig, edge

OLD, NONCE = "dev-1", "5" * 32


class MoveRig(EnrolmentRig):
    """With an offer to `dev-1`, unless a test takes another."""

    def offer(self, device=OLD, *, trusted=False):
        ca = Authority.open(self.home.identity, self.now).root_pem.decode()
        terms = Terms(Offer("mqtts://host.example:8883", "mqtts://host.example:8884", ca), 30.0, trusted)
        with self.registry.write() as session:
            moving.begin(session, device, terms, self.now)
        moving.sign_offers(self.registry, self.director, self.now)

    @property
    def renewals(self):
        return RenewalDesk(self.desk)

    def ask_to_move(self, board, device=OLD):
        answer = self.renewals.answer(device, RenewalRequest(NONCE, enrol=board.request()))
        return answer.enrol if answer is not None else None

    def renew(self, board, *, by=None):
        """The device comes over the new way and asks for its next key; whether it was given a certificate."""
        csr = csr_of(device_key())
        proof = (by or board.key).sign(renewal_proof_bytes(csr), ECDSA(hashes.SHA256()))
        return self.renewals.answer(OLD, RenewalRequest(NONCE, csr, proof)).certificate is not None

    @property
    def old_way(self):
        with self.registry.read() as session:
            return identities.old_way(session)


@pytest.fixture
def rig(tmp_path):
    made = MoveRig(tmp_path / "home")
    with made.registry:
        yield made


def test_the_offer_is_signed_into_what_is_desired_and_holds_no_secret(rig):
    rig.offer()
    desired = rig.desired(OLD)
    assert "PRIVATE" not in codec.encode(desired).decode()
    assert len(codec.encode(desired.offer)) < 2000
    assert (desired.offer.broker, desired.incarnation, desired.assignments) == ("mqtts://host.example:8883", None, ())
    rig.start("1.0.0")
    assert rig.desired(OLD).offer == desired.offer, "an order of meanwhile has it, too"


def test_whoever_asks_in_the_name_of_a_device_that_is_offered_nothing_gets_no_answer(rig):
    assert rig.ask_to_move(rig.board()) is None
    assert rig.waiting() == []


def test_whoever_asks_in_the_name_of_a_device_that_moves_waits_for_a_person_who_can_make_it_that_device_only(rig):
    rig.offer()
    mine, other = rig.board(), rig.board()
    assert [rig.ask_to_move(each).status for each in (mine, other, mine)] == ["pending"] * 3
    assert set(rig.waiting()) == {mine.code, other.code}
    with pytest.raises(FleetError, match=f"offered to {OLD} only"):
        rig.approve(mine, "edge-99")
    rig.approve(mine, OLD)
    assert [each.status for each in rig.approved()] == ["approved"]
    first, again = rig.ask_to_move(mine), rig.ask_to_move(mine)
    assert (first.status, first.device, first.certificate) == ("approved", OLD, again.certificate)
    assert rig.ask_to_move(other).code == "claim_used_up"
    assert rig.identity(OLD).key_sha256 == mine.sha256
    assert (rig.desired(OLD).offer, rig.desired(OLD).incarnation) == (None, mine.incarnation)


def test_where_the_network_is_trusted_the_first_key_is_the_devices_and_no_other(rig):
    rig.offer(trusted=True)
    assert [rig.ask_to_move(each).status for each in (rig.board(), rig.board())] == ["approved", "refused"]


def test_the_old_way_stays_open_until_the_device_itself_has_come_with_its_identity(rig):
    """A broker cannot tell who says so on the old way; only the device can sign for its next key."""
    rig.offer(trusted=True)
    board = rig.board()
    rig.ask_to_move(board)
    assert rig.old_way == {OLD}
    assert not rig.renew(board, by=device_key())
    assert rig.renewals.answer(OLD, RenewalRequest(NONCE)).attest is not None
    assert rig.renewals.answer(OLD, RenewalRequest(NONCE, csr_of(board.key))).certificate is not None
    assert rig.old_way == {OLD}
    assert rig.renew(board), "and at once, though its first certificate is new"
    assert rig.old_way == frozenset()
    assert not rig.renew(board), "that was for once"


def test_what_is_cancelled_gives_nobody_an_identity_and_goes_out_of_what_is_desired(rig):
    rig.offer()
    board = rig.board()
    rig.ask_to_move(board)
    with rig.registry.write() as session:
        moving.cancel(session, OLD, rig.now)
    with pytest.raises(FleetError, match="claim"):
        rig.approve(board, OLD)
    moving.sign_offers(rig.registry, rig.director, rig.now)
    assert (rig.desired(OLD).offer, rig.ask_to_move(board), rig.old_way) == (None, None, {OLD})
    with rig.registry.write() as session, pytest.raises(FleetError, match="offered no identity"):
        moving.cancel(session, OLD, rig.now)


def test_a_device_that_is_revoked_or_provisioned_anew_is_offered_nothing_any_more(rig):
    rig.offer()
    board = rig.board()
    rig.ask_to_move(board)
    with rig.registry.write() as session:
        leaving.revoke(session, OLD, "stolen", rig.now)
    assert (rig.ask_to_move(board), rig.old_way) == (None, frozenset())
    with pytest.raises(FleetError):
        rig.approve(board, OLD, replace=True)
    with rig.registry.write() as session, pytest.raises(FleetError, match="revoked"):
        moving.begin(session, OLD, Terms(Offer("mqtts://h", "mqtts://h", "ca"), 1.0), rig.now)


def test_a_claim_of_its_own_takes_the_place_of_the_offer(rig):
    rig.offer()
    with rig.registry.read() as session:
        device = arriving.devices.find(session, OLD)
    with rig.registry.write() as session:
        claim = arriving.claim_for_one(session, device, 7.0, rig.now, replace=True)
    assert rig.ask_to_move(rig.board()) is None
    moving.sign_offers(rig.registry, rig.director, rig.now)
    assert rig.desired(OLD).offer is None
    assert rig.ask(rig.board(), claim.number).device == OLD
    assert rig.old_way == frozenset()


@pytest.mark.parametrize("device", ["edge-1", "edge-2"])
def test_only_a_device_of_the_old_way_is_offered_one(rig, device):
    """One that has enrolled, and one whose board has not come."""
    rig.claim_records(edge_1="S1", edge_2="S2")
    rig.ask(rig.board("S1"))
    with pytest.raises(FleetError, match="does not come the old way"):
        rig.offer(device)


def test_a_fleet_that_has_moved_leaves_no_name_in_the_brokers_rules(rig):
    """There is no certificate of what a device is moved by, so nobody has to be kept out by it."""
    rig.offer(trusted=True)
    board = rig.board()
    rig.ask_to_move(board)
    with rig.registry.read() as session:
        assert identities.members(session) == {OLD, f"@birth-{OLD}"}
    rig.renew(board)
    with rig.registry.read() as session:
        assert identities.revoked(session) == frozenset()


def test_a_device_whose_desired_state_is_damaged_holds_up_no_other(rig):
    """It is offered nothing, which is an event: nothing may be signed that leaves out what is not known."""
    with rig.registry.write() as session:
        devices.add(session, edge("dev-2"), 1.0)
        session.get_one(TwinRow, OLD).desired = b"{"
    rig.offer()
    rig.offer("dev-2")
    assert rig.desired("dev-2").offer is not None
    assert rig.ask_to_move(rig.board()) is None
    with rig.registry.read() as session:
        assert any("cannot be offered" in each.text for each in events.latest(session, 3))
