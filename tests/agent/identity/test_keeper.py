"""A device's identity from first boot to return, between a fake network and a host with a real authority."""

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from msgspec.structs import replace

from skerry_agent.identity.asking import PENDING_S
from skerry_agent.identity.decisions import renewal_due
from skerry_agent.identity.exchange import LOCAL_S, Tools
from skerry_agent.identity.keeper import TURN_S, IdentityKeeper, Setup
from skerry_agent.ports.jobs import AcceptIdentity, Refusal
from skerry_agent.state.identity import IdentityStore, incarnation_of, read_incarnation
from skerry_agent.trust.verification import KeyTrust
from skerry_agent.updater.perform import perform
from skerry_agent.wire import topics
from skerry_agent.wire.enrolment import code_of
from skerry_host.identity.csr import key_sha256
from tests.kit.fake_network import BoardClock, FakeNetwork
from tests.kit.fleet_host import FleetHost
from tests.kit.processes import FakeProcesses

DAY_S, YEAR_S = 86_400.0, 365 * 86_400.0
SERIAL, DEVICE = "10000000abcd", "edge-17"
WRONG_CLOCKS = {"1970": -1_800_000_000.0, "2038": 347_000_000.0, "right": 0.0}


class Owner:
    """The supervisor, as far as the keeper knows it."""

    def __init__(self):
        self.names, self.ups, self.messages, self.changes = [], 0, [], 0

    def named(self, device, incarnation):
        self.names.append((device, incarnation))

    def link_up(self):
        self.ups += 1

    def message(self, topic, payload):
        self.messages.append(topic)

    def identity_changed(self):
        self.changes += 1


class Board:
    """A board with a claim; `boot` starts its keeper, as often as it is started."""

    def __init__(self, folder, wrong_s=0.0, **host):
        self.clock = BoardClock(wrong_s)
        self.host = FleetHost(folder / "host", now=self.clock.right(), **host)
        self.network = FakeNetwork(self.host, self.clock)
        self.folder = self.host.provision(folder / "device")
        self.state = self.folder / "state"
        self.state.mkdir()
        incarnation_of(self.state)
        director = self.host.director
        self.trust = KeyTrust({"director": {director.keyid: director.public}})
        self.spoil = lambda _job: None
        self.boot()

    def boot(self):
        if hasattr(self, "keeper"):
            self.keeper.stop()
            for link in (*self.network.operations, *self.network.enrolments):
                link.stop()
            self.clock._timers.clear()
        self.owner = Owner()
        self.processes = FakeProcesses(lambda job: self.spoil(job) or perform(job, self.trust))
        setup = Setup(
            self.state,
            read_incarnation(self.state) or "",
            self.folder / "fleet-ca.pem",
            enrols=True,
            claim_file=self.folder / "claim.pem",
            key_file=self.folder / "claim.key",
            serial=SERIAL,
            board="pi",
        )
        self.keeper = IdentityKeeper(setup, Tools(self.clock, self.processes, self.network), self.owner, lambda a, b: b)
        self.keeper.start()

    @property
    def store(self):
        return IdentityStore(self.state)

    @property
    def link(self):
        return self.network.operations[-1]

    def until_up(self, seconds=120.0):
        """Turn until the supervisor may use the link."""
        before = self.owner.ups
        for _ in range(int(seconds)):
            self.clock.advance(1.0)
            if self.owner.ups > before:
                return
        pytest.fail(f"no link after {seconds} s: {self.keeper.status}, {self.keeper.issues}")


@pytest.fixture
def board(tmp_path):
    return Board(tmp_path, records={SERIAL: DEVICE})


def test_a_board_with_a_record_enrols_and_connects_with_its_own_certificate(board):
    assert board.keeper.status.state == "asking"
    board.until_up()
    status = board.keeper.status
    assert (status.state, status.device, board.keeper.issues) == ("enrolled", DEVICE, ())
    assert board.owner.names[-1] == (DEVICE, incarnation_of(board.state))
    assert board.link.credentials.client_id == DEVICE
    assert not (board.folder / "claim.pem").exists()
    assert not (board.folder / "claim.key").exists()
    assert all(link.stopped for link in board.network.enrolments)
    assert board.host.used == 1


def test_a_board_waits_before_it_first_connects_so_that_not_all_do_at_once(board):
    board.clock.advance(20.0)
    assert board.keeper.status.state == "enrolled"
    assert board.network.operations == []
    board.until_up(15.0)


def test_a_board_that_nobody_expects_shows_a_code_and_asks_until_a_person_approves_it(tmp_path):
    board = Board(tmp_path)
    board.clock.advance(5.0)
    status = board.keeper.status
    code = code_of(next(job.key_sha256 for job in [perform(board.processes.jobs[0], board.trust)]))
    assert (status.state, status.code) == ("pending", code)
    assert f"`skerry device approve {code} --as NAME`" in status.detail
    asked = len(board.host.asked)
    board.clock.advance(3600.0)
    assert 3600 / PENDING_S[2] - 1 <= len(board.host.asked) - asked <= 3600 / PENDING_S[2] + 12
    assert len({request.csr[-200:-80] for request in board.host.asked}) == 1
    board.host.approved[code] = DEVICE
    board.until_up()
    assert board.owner.names[-1][0] == DEVICE


def test_a_host_that_is_away_at_first_boot_is_asked_again_when_it_is_there(board):
    board.network.reachable = False
    board.clock.advance(3000.0)
    assert (board.keeper.status.state, board.host.asked) == ("asking", [])
    assert "unreachable" in board.keeper.status.detail
    board.network.reachable, board.network.answers = True, False
    board.clock.advance(3000.0)
    board.network.answers = True
    board.until_up(400.0)
    assert board.host.used == 1


def test_a_disk_that_is_full_at_the_first_start_keeps_no_board_from_enrolling_once_there_is_room(board):
    """The state folder could be given no name then: a request without one is no request, and got no answer."""
    (board.state / "incarnation").unlink()
    board.spoil = lambda _job: Refusal("failed", "disk", "No space left on device")
    board.boot()
    board.clock.advance(5.0)
    assert "No space left on device" in board.keeper.status.detail
    board.spoil = lambda _job: None
    board.until_up()
    assert board.owner.names[-1] == (DEVICE, read_incarnation(board.state))
    assert board.host.asked[-1].incarnation == read_incarnation(board.state)


def test_a_host_that_does_not_answer_at_a_broker_that_does_is_said(board):
    board.network.answers = False
    board.clock.advance(60.0)
    assert "the host does not answer" in board.keeper.status.detail
    board.network.answers = True
    board.until_up(400.0)
    assert board.keeper.status.detail == ""


def test_a_refusal_is_shown_with_what_to_do_and_tried_again_seldom(tmp_path):
    board = Board(tmp_path, records={SERIAL: DEVICE}, revoked={DEVICE})
    board.clock.advance(5.0)
    assert board.keeper.status.state == "refused"
    assert "revoked" in board.keeper.status.detail
    asked = len(board.host.asked)
    board.clock.advance(1800.0)
    assert len(board.host.asked) - asked < 6
    board.host.revoked.clear()
    board.until_up(3700.0)


@pytest.mark.parametrize("moment", range(14))
def test_a_board_that_is_started_anew_at_any_moment_of_its_enrolment_is_the_same_device(tmp_path, moment):
    """Case I4 of the threat table, at the steps of the conversation; tests/lab/identity.py has the system calls."""
    board = Board(tmp_path, records={SERIAL: DEVICE})
    board.clock.advance(0.05 * moment)
    board.boot()
    board.until_up()
    assert (board.keeper.status.device, board.host.used) == (DEVICE, 1)


# -- renewal -----------------------------------------------------------------------------------------------------------


def renewed(board):
    """Until the certificate is due and was renewed."""
    before = board.store.current().identity
    board.clock.now += renewal_due(before) - board.clock.right()
    board.clock.advance(2 * TURN_S + 10.0)
    return before


def test_a_certificate_is_renewed_at_two_thirds_of_its_life_with_a_new_key(board):
    board.until_up()
    key = (board.state / "identity" / "device.key").read_bytes()
    board.clock.now += 50 * DAY_S
    board.clock.advance(2 * TURN_S)
    assert board.host.renewals == []
    before = renewed(board)
    after = board.store.current().identity
    assert after.not_after > before.not_after + 50 * DAY_S
    assert (board.state / "identity" / "device.key").read_bytes() != key
    assert board.store.renewed() is None
    assert (board.owner.ups, board.keeper.issues) == (2, ())


def test_devices_of_one_day_renew_on_different_days(tmp_path):
    board = Board(tmp_path, records={SERIAL: DEVICE})
    board.until_up()
    identity = board.store.current().identity
    days = {int(renewal_due(replace(identity, serial=f"{n:x}")) / DAY_S) for n in range(200)}
    life = identity.not_after - identity.not_before
    assert len(days) > 7
    assert all(0.6 * life < day * DAY_S + DAY_S - identity.not_before < 0.75 * life for day in days)


def test_the_old_certificate_stays_until_the_new_one_has_connected(board):
    board.until_up()
    before = board.store.current()
    board.network.reachable = True
    refused = []

    def refuse_new(job):
        if isinstance(job, AcceptIdentity):
            answer = perform(job, board.trust)
            board.network.refuses[answer.folder] = "certificate_refused"
            refused.append(answer.folder)
            return answer
        return None

    board.spoil = refuse_new
    renewed(board)
    assert refused
    assert board.store.current() == before
    board.clock.advance(60.0)
    assert board.link.connected
    assert board.link.credentials.cert_file.parent == before.folder
    board.spoil = lambda _job: None
    board.network.refuses.clear()
    assert len(refused) == 1
    board.clock.advance(3700.0)
    assert board.store.current() != before


def test_a_full_disk_at_renewal_keeps_the_old_certificate_says_so_and_tries_again(board):
    board.until_up()
    before = board.store.current()
    full = Refusal("failed", "disk", "No space left on device: state")
    board.spoil = lambda job: full if isinstance(job, AcceptIdentity) else None
    renewed(board)
    assert board.store.current() == before
    assert "No space left on device" in board.keeper.issues[0]
    board.spoil = lambda _job: None
    board.clock.advance(2 * LOCAL_S[2])
    assert board.store.current() != before
    assert board.keeper.issues == ()


def test_a_device_that_is_killed_between_two_certificates_connects_with_the_new_one(board):
    board.until_up()
    board.network.reachable = True
    board.spoil = lambda job: None
    before = board.store.current()
    stop = []

    def then_unreachable(job):
        if isinstance(job, AcceptIdentity):
            board.network.reachable = False
            stop.append(True)

    board.spoil = then_unreachable
    renewed(board)
    assert (board.store.current(), bool(board.store.renewed())) == (before, True)
    board.network.reachable = True
    board.boot()
    board.until_up()
    assert board.store.renewed() is None
    assert board.store.current() != before


# -- return ------------------------------------------------------------------------------------------------------------


def test_a_device_whose_certificate_expired_a_year_ago_comes_back_by_its_birth_certificate(board):
    """Case I5 of the threat table."""
    board.until_up()
    board.keeper.stop()
    board.link.stop()
    board.clock.now += YEAR_S + 90 * DAY_S
    board.network.server_dates = (board.clock.right() - DAY_S, board.clock.right() + YEAR_S)
    board.boot()
    board.until_up()
    assert (board.keeper.status.state, board.keeper.status.device) == ("enrolled", DEVICE)
    assert board.store.current().identity.not_after > board.clock.right()
    assert (board.host.used, board.owner.names[-1][0]) == (1, DEVICE)


def test_a_device_whose_waiting_key_the_host_has_replaced_makes_another_and_comes_back(board):
    """The answer to its request was lost, and somebody else has come back in its name since."""
    board.until_up()
    board.keeper.stop()
    board.link.stop()
    board.clock.now += YEAR_S + 90 * DAY_S
    board.network.server_dates = (board.clock.right() - DAY_S, board.clock.right() + YEAR_S)
    board.network.answers = False
    board.boot()
    board.clock.advance(60.0)
    board.host.replaced |= waiting_keys(board)
    board.network.answers = True
    board.until_up(1000.0)
    assert (board.keeper.status.state, board.keeper.status.device) == ("enrolled", DEVICE)


def waiting_keys(board):
    key = load_pem_private_key((board.store.request("birth") / "device.key").read_bytes(), None)
    return {key_sha256(key.public_key())}


def test_a_revoked_device_does_not_come_back_and_says_why(board):
    board.until_up()
    board.host.revoked.add(DEVICE)
    board.boot()
    board.clock.advance(600.0)
    status = board.keeper.status
    assert (status.state, status.device, board.owner.ups) == ("refused", DEVICE, 0)
    assert "revoked" in status.detail


@pytest.mark.parametrize("name", ["device.key", "device.pem"])
def test_a_damaged_key_or_certificate_is_replaced_by_way_of_the_birth_certificate(board, name):
    board.until_up()
    (board.state / "identity" / name).write_bytes(b"rotten")
    board.network.refuses.clear()
    kind = "unusable_key" if name == "device.key" else "unusable_certificate"
    serial = board.store.current().identity.serial
    board.network.refuses[serial] = kind
    board.boot()
    board.until_up()
    assert board.keeper.status.device == DEVICE
    assert board.store.current().identity.serial != serial


def test_a_broker_that_is_away_is_no_reason_to_ask_for_another_certificate(board):
    board.until_up()
    board.network.reachable = False
    board.boot()
    board.clock.advance(3600.0)
    assert (len(board.network.enrolments), board.keeper.status.state) == (1, "enrolled")


# -- the time ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("clock", WRONG_CLOCKS)
def test_whatever_the_clock_says_a_board_enrols_connects_and_renews(tmp_path, clock):
    """Case U9 of the threat table: the clock of a board without a battery."""
    wrong_s = WRONG_CLOCKS[clock]
    board = Board(tmp_path, wrong_s, records={SERIAL: DEVICE})
    board.until_up()
    assert abs(board.clock.wall() - board.clock.right()) < 300.0
    assert board.link.credentials.check_time == (wrong_s == 0.0)
    renewed(board)
    assert len([request for request in board.host.renewals if request.csr is not None]) == 1
    assert board.keeper.issues == ()


@pytest.mark.parametrize("clock", ["1970", "2038"])
def test_nothing_is_sent_before_the_hosts_time_where_the_clock_is_wrong(tmp_path, clock):
    board = Board(tmp_path, WRONG_CLOCKS[clock], records={SERIAL: DEVICE})
    board.until_up()
    board.host.attests = False
    board.boot()
    board.clock.advance(600.0)
    assert (board.owner.ups, board.link.connected) == (0, True)
    assert {topic for topic, _ in board.link.published} == {topics.renew(DEVICE)}
    board.host.attests = True
    board.until_up()


def test_the_time_of_somebody_else_is_not_believed(tmp_path):
    board = Board(tmp_path, WRONG_CLOCKS["1970"], records={SERIAL: DEVICE})
    board.until_up()
    board.trust._keys.clear()
    board.boot()
    board.clock.advance(600.0)
    assert board.owner.ups == 0


def test_an_old_answer_about_the_time_is_not_believed_again(tmp_path):
    board = Board(tmp_path, WRONG_CLOCKS["1970"], records={SERIAL: DEVICE})
    board.until_up()
    replayed = board.host.attest(DEVICE, "0" * 32)
    board.host.attest = lambda _device, _nonce: replayed
    board.boot()
    board.clock.advance(600.0)
    assert board.owner.ups == 0


def test_a_broker_whose_certificate_has_expired_by_the_hosts_time_is_not_used(tmp_path):
    board = Board(tmp_path, WRONG_CLOCKS["1970"], records={SERIAL: DEVICE})
    board.until_up()
    board.network.server_dates = (board.clock.right() - 900 * DAY_S, board.clock.right() - 2 * DAY_S)
    board.boot()
    board.clock.advance(120.0)
    assert board.owner.ups == 0
    assert "not valid now, by the host's own time" in board.keeper.issues[0]


def test_a_clock_that_stands_at_the_last_shutdown_takes_a_server_certificate_of_since_then(board):
    """Boards without a battery clock take up where they stopped: half a year ago, say."""
    board.until_up()
    board.clock.now += 30 * DAY_S
    board.clock.wrong_s = -29 * DAY_S
    board.network.server_dates = (board.clock.right() - DAY_S, board.clock.right() + YEAR_S)
    board.boot()
    board.until_up()
    assert abs(board.clock.wall() - board.clock.right()) < 300.0


def test_a_clock_that_is_set_later_is_gone_by_again(tmp_path):
    board = Board(tmp_path, WRONG_CLOCKS["1970"], records={SERIAL: DEVICE})
    board.until_up()
    board.clock.wrong_s = 0.0
    assert board.clock.wall() == board.clock.right()
    board.network.reachable = False
    board.link.renew()
    board.clock.advance(3 * TURN_S)
    board.network.reachable = True
    board.until_up()
    assert board.link.credentials.check_time


# -- another claim -----------------------------------------------------------------------------------------------------


def test_a_new_claim_beside_an_identity_makes_another_of_it(board, tmp_path):
    """Provisioned again, for instance by another host record: the claim that lies there has not been used."""
    board.until_up()
    board.host.records[SERIAL] = "edge-18"
    board.host.owners.clear()
    board.host.provision(board.folder)
    board.boot()
    board.until_up()
    board.clock.advance(60.0)
    assert board.owner.names[-1][0] == "edge-18"
    assert board.keeper.status.device == "edge-18"
    assert not (board.folder / "claim.pem").exists()


def test_a_used_claim_that_cannot_be_removed_is_not_used_again(board):
    claim = (board.folder / "claim.pem").read_bytes()
    board.until_up()
    (board.folder / "claim.pem").write_bytes(claim)
    asked = len(board.host.asked)
    board.boot()
    board.until_up()
    assert len(board.host.asked) == asked


def test_a_claim_that_is_of_no_use_beside_an_identity_stops_neither_it_nor_its_renewal(board, tmp_path):
    board.until_up()
    FleetHost(tmp_path / "foreign").provision(tmp_path / "image")
    for name in ("claim.pem", "claim.key"):
        (board.folder / name).write_bytes((tmp_path / "image" / name).read_bytes())
    board.boot()
    board.until_up()
    assert board.keeper.status.state == "enrolled"
    assert "another authority signed it" in board.keeper.status.detail
    before = renewed(board)
    assert board.store.current().identity.serial != before.serial


def test_a_service_that_has_no_claim_any_more_has_an_empty_file_in_its_place(board):
    board.until_up()
    (board.folder / "claim.pem").write_text("\n")
    (board.folder / "claim.key").write_text("\n")
    board.boot()
    board.until_up()
    assert (board.keeper.status.state, board.keeper.status.detail) == ("enrolled", "")


def test_a_device_without_claim_and_identity_says_what_it_needs(board):
    (board.folder / "claim.pem").unlink()
    (board.folder / "claim.key").unlink()
    board.boot()
    assert board.keeper.status.state == "none"
    assert "claim.pem does not exist" in board.keeper.issues[0]


def test_a_disk_that_refuses_the_link_keeps_no_device_from_its_host(board):
    """The identity is there, and is used; the next start notes it, and the claim was counted once."""
    (board.state / ".identity.tmp").mkdir()
    board.until_up()
    assert board.keeper.status.device == DEVICE
    assert "could not be noted" in board.keeper.issues[0]
    (board.state / ".identity.tmp").rmdir()
    board.boot()
    board.until_up()
    assert (board.store.current().identity.device, board.keeper.issues, board.host.used) == (DEVICE, (), 1)
    assert not (board.folder / "claim.pem").exists()


# -- a running agent sees what is put there, and finds a way back ------------------------------------------------------


def test_a_claim_that_is_put_there_while_the_agent_runs_is_used_without_a_restart(board):
    files = {name: (board.folder / name).read_bytes() for name in ("claim.pem", "claim.key")}
    for name in files:
        (board.folder / name).unlink()
    board.boot()
    board.clock.advance(60.0)
    assert (board.keeper.status.state, board.owner.changes > 0) == ("none", True)
    (board.folder / "claim.pem").write_bytes(files["claim.pem"])  # copied one after the other
    board.clock.advance(2 * TURN_S)
    assert "claim.key" in board.keeper.status.detail
    (board.folder / "claim.key").write_bytes(files["claim.key"])
    (board.folder / "claim.key").chmod(0o600)
    board.until_up()
    assert (board.keeper.status.device, board.keeper.issues) == (DEVICE, ())


def test_a_revoked_device_that_is_given_a_new_claim_comes_back_without_a_restart(board):
    board.until_up()
    board.host.revoked.add(DEVICE)
    board.boot()
    board.clock.advance(600.0)
    assert board.keeper.status.state == "refused"
    board.host.revoked.clear()
    board.host.owners.clear()
    board.host.provision(board.folder)
    board.clock.advance(60.0)
    assert (board.keeper.status.state, board.host.used, board.link.connected) == ("enrolled", 2, True)
    assert not (board.folder / "claim.pem").exists()


def test_another_claim_in_the_place_of_one_that_has_expired_is_used_without_a_restart(tmp_path):
    board = Board(tmp_path, records={SERIAL: DEVICE})
    board.network.reachable = False
    board.clock.advance(20.0)
    board.clock.now += 8 * DAY_S
    board.network.reachable = True
    board.clock.advance(60.0)
    assert (board.keeper.status.state, "has expired" in board.keeper.status.detail) == ("refused", True)
    board.host.now = board.clock.right()
    board.host.provision(board.folder)
    board.until_up()
    assert board.keeper.status.device == DEVICE


def test_a_claim_that_has_expired_does_not_keep_a_device_from_coming_back_by_its_birth_certificate(board):
    """Provisioned again and then left in a drawer for a year: both its certificate and the new claim are over."""
    board.until_up()
    board.keeper.stop()
    board.link.stop()
    board.host.now = board.clock.right()
    board.host.provision(board.folder)
    board.clock.now += YEAR_S
    board.network.server_dates = (board.clock.right() - DAY_S, board.clock.right() + YEAR_S)
    board.boot()
    board.until_up(300.0)
    board.clock.advance(120.0)
    assert (board.keeper.status.state, board.keeper.status.device) == ("enrolled", DEVICE)
    assert board.store.current().identity.not_after > board.clock.right()
    assert board.link.connected


def test_a_device_that_has_no_way_back_says_that_it_needs_a_claim(board):
    board.until_up()
    folder = board.store.current().folder
    (folder / "birth.pem").unlink()
    board.network.refuses[board.store.current().identity.serial] = "unusable_key"
    board.boot()
    board.clock.advance(60.0)
    assert any("skerry device provision" in issue for issue in board.keeper.issues)


@pytest.mark.parametrize("damage", ["birth.pem gone", "birth.key gone", "birth.key a folder"])
def test_a_birth_certificate_that_is_lost_does_not_keep_a_certificate_from_being_renewed(board, damage):
    board.until_up()
    folder = board.store.current().folder
    name, _, how = damage.partition(" ")
    (folder / name).unlink()
    if how == "a folder":
        (folder / name).mkdir()
    before = renewed(board)
    assert board.store.current().identity.serial != before.serial


@pytest.mark.parametrize("wrong_days", [-20, -2, 5])
def test_a_clock_that_is_days_off_within_the_certificates_life_does_not_keep_it_from_being_renewed(board, wrong_days):
    """No battery and no network time: the clock took up at the last shutdown, and nothing looks wrong by it."""
    board.until_up()
    board.clock.wrong_s = wrong_days * DAY_S
    before = renewed(board)
    board.clock.now += max(0, -wrong_days) * DAY_S
    board.clock.advance(2 * TURN_S + 60.0)
    assert board.store.current().identity.serial != before.serial
    assert board.keeper.issues == ()


def test_what_hinders_a_renewal_is_shown_as_soon_as_it_is_known(board):
    board.until_up()
    full = Refusal("failed", "disk", "No space left on device: state")
    board.spoil = lambda job: full if isinstance(job, AcceptIdentity) else None
    changes = board.owner.changes
    renewed(board)
    assert "No space left" in board.keeper.issues[0]
    assert board.owner.changes > changes
