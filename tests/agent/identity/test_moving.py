"""A device of the old way takes its host's offer of an identity, over a link that it has, and only as it should."""

import pytest
from msgspec.structs import replace

from skerry_agent.config import load
from skerry_agent.identity.asking import Way
from skerry_agent.identity.decisions import renewal_due
from skerry_agent.identity.exchange import Tools
from skerry_agent.identity.moving import Moving
from skerry_agent.state import offered
from skerry_agent.state.authority import usable_authority
from skerry_agent.state.identity import MOVED, IdentityStore, incarnation_of
from skerry_agent.trust.verification import KeyTrust
from skerry_agent.updater.perform import perform
from skerry_agent.wire import codec, topics
from skerry_agent.wire.enrolment import EnrolmentAnswer, Offer, RenewalAnswer, RenewalRequest
from skerry_agent.wire.twin import Desired
from skerry_host.identity.csr import read_csr
from tests.kit.fake_network import BoardClock
from tests.kit.fleet_host import FleetHost
from tests.kit.link import FakeLink
from tests.kit.processes import FakeProcesses

DEVICE = "old-01"
TOML = '[device]\nid = "old-01"\n[broker]\nurl = "mqtt://10.0.0.1:1883"\n[board]\nname = "pi"\n'

ENROLS = TOML.replace(
    '"mqtt://10.0.0.1:1883"', '"mqtts://10.0.0.1:8883"\nca_file = "ca.pem"\n[enrolment]\nurl = "mqtts://b:1"'
)


class OldLink(FakeLink):
    """What the device publishes on its topic reaches the host, as it would over any broker."""

    def __init__(self, board):
        super().__init__()
        self.board = board

    def publish(self, topic, payload, *, retain=False):
        if topic == topics.renew(DEVICE):
            self.board.asked.append(codec.decode(payload, RenewalRequest))
        return super().publish(topic, payload, retain=retain)


class Board:
    """A device with a folder of the old way. `start` is a new process of its agent."""

    def __init__(self, folder):
        self.clock, self.asked, self.got = BoardClock(), [], 0
        self.host = FleetHost(folder / "host", now=self.clock.right())
        self.config = folder / "agent.toml"
        self.config.write_text(TOML)
        self.state = folder / "state"
        self.state.mkdir()
        self.desired = None
        self.start()

    @property
    def offer(self):
        return Offer("mqtts://host:8883", "mqtts://host:8884", self.host.authority.root_pem.decode())

    def start(self):
        director = self.host.director
        trust = KeyTrust({"director": {director.keyid: director.public}})
        processes = FakeProcesses(lambda job: perform(job, trust))
        ca = offered.authority(self.state)
        way = Way("move", self.state, incarnation_of(self.state), ca, ca, ca, "s", "pi", DEVICE, claim=MOVED)
        self.link = OldLink(self)
        self.moving = Moving(way, Tools(self.clock, processes, None), self.link, self._got)
        if self.desired is not None:
            self.moving.ordered(self.desired)

    def _got(self):
        self.got += 1

    def order(self, **more):
        self.desired = Desired(DEVICE, 1, 1.0, **more)
        self.moving.ordered(self.desired)

    def answer(self, **changes):
        """The host answers the newest question."""
        said = self.asked[-1]
        answer = self.host.answer("@claim-1", said.enrol)
        raw = codec.encode(replace(RenewalAnswer(said.nonce, enrol=answer), **changes))
        return self.moving.message(topics.renewal(DEVICE), raw)

    @property
    def stored(self):
        return IdentityStore(self.state).renewed()


@pytest.fixture
def board(tmp_path):
    return Board(tmp_path)


def test_a_device_that_is_offered_an_identity_shows_a_code_and_has_it_once_it_is_approved(board):
    assert board.moving.status is None
    board.order(offer=board.offer)
    assert board.answer()
    status = board.moving.status
    assert (status.state, board.got) == ("pending", 0)
    assert f"`skerry device approve {status.code} --as {DEVICE}`" in status.detail
    board.host.approved[status.code] = DEVICE
    board.clock.advance(5.0)
    board.answer()
    assert (board.got, board.stored.identity.device, board.stored.has_birth) == (1, DEVICE, True)
    assert board.stored.identity.incarnation == incarnation_of(board.state)


def test_by_the_identity_that_it_has_its_configuration_is_another_and_its_file_the_same(board):
    before = load(board.config)
    assert (before.before, before.enrolment) == (None, None)
    board.order(offer=board.offer)
    assert load(board.config) == before, "an offer alone changes nothing"
    board.answer()
    board.host.approved[board.moving.status.code] = DEVICE
    board.clock.advance(5.0)
    board.answer()
    now = load(board.config)
    assert (now.broker.url, now.before.url) == ("mqtts://host:8883", "mqtt://10.0.0.1:1883")
    assert now.broker_ca.read_text() == board.offer.ca
    assert now.enrolment.url == "mqtts://host:8884"
    board.config.write_text(ENROLS)
    assert load(board.config).broker.url == "mqtts://10.0.0.1:8883", "a folder that enrols counts for itself"


def test_started_anew_it_asks_with_the_same_keys_also_when_the_host_has_said_yes_meanwhile(board):
    board.order(offer=board.offer)
    board.answer()
    code = board.moving.status.code
    board.start()
    assert len({read_csr(each.enrol.csr).key_sha256 for each in board.asked}) == 1
    board.host.approved[code] = DEVICE
    board.order(incarnation=incarnation_of(board.state))
    board.start()
    board.answer()
    assert (board.got, board.stored.identity.device) == (1, DEVICE)


def test_an_offer_that_is_taken_back_is_asked_for_no_more(board):
    board.order(offer=board.offer)
    board.order()
    assert board.moving.status is None
    asked = len(board.asked)
    board.clock.advance(600.0)
    assert len(board.asked) == asked


@pytest.mark.parametrize(
    "changes",
    [{"nonce": "9" * 32}, {"enrol": None}, {"enrol": EnrolmentAnswer("approved", DEVICE, b"rubbish")}],
    ids=["another nonce", "no answer to this", "no certificate"],
)
def test_an_answer_that_is_none_gives_no_identity_and_it_asks_on(board, changes):
    board.order(offer=board.offer)
    board.answer(**changes)
    asked = len(board.asked)
    board.clock.advance(60.0)
    assert (board.stored, board.got, board.moving.status.state) == (None, 0, "asking")
    assert len(board.asked) > asked


def test_an_identity_of_another_device_or_another_fleet_is_not_taken(board, tmp_path):
    board.order(offer=board.offer)
    said = board.asked[-1]
    board.host.records["s"] = "edge-99"
    board.answer()
    board.clock.advance(60.0)
    foreign = FleetHost(tmp_path / "foreign", now=board.clock.right(), records={"s": DEVICE})
    board.answer(enrol=foreign.answer("@claim-1", said.enrol))
    assert (board.stored, board.got) == (None, 0)


@pytest.mark.parametrize("url", ["mqtts://host:0", "mqtts://host:99999", "mqtts://[::1"])
def test_an_offer_of_a_place_that_cannot_be_called_is_not_kept_and_named(board, url):
    board.order(offer=replace(board.offer, broker=url))
    assert offered.kept(board.state) is None
    assert "offer of an identity could not be kept" in board.moving.issue
    assert board.asked == []


def test_without_a_connection_it_waits_and_asks_when_there_is_one(board):
    board.link.connected = False
    board.order(offer=board.offer)
    board.clock.advance(60.0)
    assert board.asked == []
    board.link.connected = True
    board.clock.advance(300.0)
    assert board.asked


def test_an_identity_that_came_over_the_old_way_is_renewed_as_soon_as_it_has_connected(board):
    board.order(offer=board.offer)
    board.host.records["s"] = DEVICE
    board.answer()
    assert renewal_due(board.stored.identity) < board.clock.wall()
    assert renewal_due(replace(board.stored.identity, claim="")) > board.clock.wall()


@pytest.mark.parametrize("spoil", [lambda path: path.write_bytes(b"rubbish"), lambda path: path.unlink()])
@pytest.mark.parametrize("name", offered.RECORDS)
def test_a_device_that_has_moved_is_not_lost_by_one_damaged_file(board, name, spoil):
    board.order(offer=board.offer)
    board.host.records["s"] = DEVICE
    board.answer()
    spoil(board.state / offered.FOLDER / name)
    assert load(board.config).broker.url == "mqtts://host:8883"


def test_an_authority_that_is_damaged_after_the_move_has_a_copy(board):
    board.order(offer=board.offer)
    board.host.records["s"] = DEVICE
    board.answer()
    config = load(board.config)
    usable_authority(config.broker_ca, board.state)
    config.broker_ca.write_bytes(b"rubbish")
    used, issue = usable_authority(config.broker_ca, board.state)
    assert used.read_text() == board.offer.ca
    assert issue is not None
