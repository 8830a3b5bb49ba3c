"""Renewal on the host: who gets another certificate, who does not, and what a device that asks without end can do."""

import time
from dataclasses import dataclass, field

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from skerry_agent.wire import codec, topics
from skerry_agent.wire.enrolment import Attest, RenewalAnswer, RenewalRequest, renewal_proof_bytes
from skerry_agent.wire.envelope import ATTEST, Envelope, signing_bytes
from skerry_host.fleet.device import Device
from skerry_host.identity.authority import Authority
from skerry_host.identity.csr import key_sha256
from skerry_host.identity.decision import Keys
from skerry_host.plane.broker.link import Incoming
from skerry_host.plane.enrolment.certificates import Certificates
from skerry_host.plane.enrolment.desk import Desk
from skerry_host.plane.enrolment.renewal import MAX_WAITING, MOST_AT_ONCE, RenewalDesk, Renewals
from skerry_host.plane.registry.database import open_registry
from skerry_host.plane.registry.records import devices, identities
from skerry_host.plane.rollouts.director import Director
from skerry_host.release.sign import Ed25519Signer
from skerry_host.release.store import Store
from tests.kit.brokers import Mosquitto
from tests.kit.csr import csr_of, device_key
from tests.kit.device import BrokerPort
from tests.kit.home import make_home
from tests.kit.plane import served
from tests.kit.waiting import eventually

DAY_S = 86_400.0
NONCE = "0" * 32
DIRECTOR = Ed25519PrivateKey.from_private_bytes(bytes(32))


@dataclass
class Board:
    """A device with the key in use, which signs for the next one."""

    name: str
    key: object = field(default_factory=device_key)

    def ask(self, key, *, by=None, nonce=NONCE):
        csr = csr_of(key)
        proof = (by or self.key).sign(renewal_proof_bytes(csr), ECDSA(hashes.SHA256()))
        return RenewalRequest(nonce, csr, proof)


class Host:
    """The desk over a registry with one enrolled device, at a time that the test turns."""

    def __init__(self, folder, registry, now=1_800_000_000.0):
        self.now = now
        self.registry, self.identity = registry, folder / "identity"
        signer = Ed25519Signer(DIRECTOR)
        director = Director(signer, Store(folder / "store"), lambda: self.now)
        self.desk = RenewalDesk(Desk(registry, self.identity, director, lambda: self.now))
        self.renewals = Renewals(self.desk)

    def enrol(self, name):
        board = Board(name)
        with self.registry.write() as session:
            devices.add(session, Device(name, "generic-x86", targets=("cpu",)), self.now)
            known = key_sha256(board.key.public_key())
            identities.bind(session, name, Keys(known, "b" * 64, "1" * 32), self.now)
            Certificates(self.identity, self.now).device(session, name, known, csr_of(board.key))
        return board

    def certificates(self, name):
        with self.registry.read() as session:
            return identities.living_certificates(session, name, self.now, 1000)

    def current(self, name):
        with self.registry.read() as session:
            return identities.find(session, name).key_sha256


@pytest.fixture
def host(tmp_path):
    with open_registry(tmp_path / "r.sqlite") as registry:
        yield Host(tmp_path, registry)


@pytest.fixture
def board(host):
    made = host.enrol("edge-17")
    host.now += 60 * DAY_S
    return made


def test_a_device_renews_with_a_new_key_and_keeps_the_certificate_of_before(host, board):
    fresh = device_key()
    answer = host.desk.answer("edge-17", board.ask(fresh))
    leaf = x509.load_pem_x509_certificates(answer.certificate)[0]
    assert leaf.public_key() == fresh.public_key()
    assert leaf.subject.rfc4514_string() == "CN=edge-17"
    assert leaf.not_valid_after_utc.timestamp() == host.now + 90 * DAY_S
    assert host.current("edge-17") == key_sha256(fresh.public_key())
    assert len(host.certificates("edge-17")) == 2
    with host.registry.read() as session:
        assert identities.revoked_serials(session) == []


def test_who_asks_again_gets_the_same_certificate_and_no_second_one(host, board):
    """Its answer was lost, or it was killed before it had written it."""
    fresh = device_key()
    answers = [host.desk.answer("edge-17", board.ask(fresh)).certificate for _ in range(20)]
    assert len(set(answers)) == 1
    assert len(host.certificates("edge-17")) == 2


def test_a_device_that_has_lost_the_new_key_is_still_known_by_the_one_in_use(host, board):
    """It was killed while it wrote, and makes another key: the record names one that nobody has any more."""
    host.desk.answer("edge-17", board.ask(device_key()))
    host.now += 61
    assert host.desk.answer("edge-17", board.ask(device_key())).certificate


def test_the_same_key_is_certified_again_without_a_proof(host, board):
    """Its CSR has shown that the asker holds it."""
    answer = host.desk.answer("edge-17", RenewalRequest(NONCE, csr_of(board.key)))
    assert answer.certificate
    assert host.desk.answer("edge-17", RenewalRequest(NONCE, csr_of(board.key))).certificate == answer.certificate
    assert len(host.certificates("edge-17")) == 2


STRANGER = device_key()
FORGERIES = {
    "no proof": lambda board: RenewalRequest(NONCE, csr_of(STRANGER)),
    "by the new key itself": lambda board: board.ask(STRANGER, by=STRANGER),
    "by another device's key": lambda board: board.ask(STRANGER, by=device_key()),
    "of another CSR": lambda board: RenewalRequest(NONCE, csr_of(STRANGER), board.ask(device_key()).proof),
    "garbage": lambda board: RenewalRequest(NONCE, csr_of(STRANGER), b"\x30\x00"),
}


@pytest.mark.parametrize("how", FORGERIES)
def test_nobody_gets_a_certificate_for_a_key_that_the_device_has_not_signed_for(host, board, how):
    """Case 13 of the security cases, at a broker whose rules let others publish on a device's topic."""
    answer = host.desk.answer("edge-17", FORGERIES[how](board))
    assert (answer.certificate, answer.code) == (None, "proof")
    assert host.current("edge-17") == key_sha256(board.key.public_key())


def test_another_devices_key_makes_nobody_the_device(host, board):
    """Two devices of one fleet: each may renew itself only."""
    other = host.enrol("edge-18")
    answer = host.desk.answer("edge-17", RenewalRequest(NONCE, csr_of(other.key)))
    assert answer.code == "proof"


def test_no_two_devices_come_to_have_one_key(host, board):
    """Who holds two devices asks for the one with the key of the other: the registry takes a key once only."""
    other = host.enrol("edge-18")
    host.renewals.put(sent("edge-17", board.ask(other.key)))
    (answer,) = host.renewals.work()
    assert codec.decode(answer.payload, RenewalAnswer).code == "key_in_use"
    assert host.current("edge-17") != host.current("edge-18")


@pytest.mark.parametrize("end", ["revoke", "retire"])
def test_a_device_that_is_not_to_be_heard_gets_neither_a_certificate_nor_the_time(host, board, end):
    with host.registry.write() as session:
        extra = ("stolen",) if end == "revoke" else ()
        getattr(identities, end)(session, "edge-17", *extra, host.now)
    for asked in (board.ask(device_key()), RenewalRequest(NONCE)):
        answer = host.desk.answer("edge-17", asked)
        assert (answer.certificate, answer.attest, answer.code) == (None, None, "revoked")


def test_a_key_of_a_revoked_certificate_signs_for_no_other(host, board):
    """The board was lost, and its device enrolled again on another: the lost key is worth nothing."""
    with host.registry.write() as session:
        identities.bind(session, "edge-17", Keys("f" * 64, "b" * 64, "2" * 32), host.now)
    assert host.desk.answer("edge-17", board.ask(device_key())).code == "proof"
    assert host.desk.answer("edge-17", RenewalRequest(NONCE, csr_of(board.key))).code == "proof"


def test_a_device_cannot_have_a_thousand_certificates_made(host, board):
    codes = []
    for _ in range(1000 // 4):
        codes.append(host.desk.answer("edge-17", board.ask(device_key())).code)
        host.now += 4
    assert set(codes) == {"", "too_soon", "too_many"}
    assert codes.count("") == 10
    host.now += DAY_S
    assert host.desk.answer("edge-17", board.ask(device_key())).code == ""


def test_a_host_whose_clock_was_ahead_gives_certificates_that_are_valid_once_it_is_right(host, board):
    """Its clock said 2038 for an hour: what it gave then is not valid for years, and is not given again."""
    fresh, right = device_key(), host.now
    host.now = 2_150_000_000.0
    host.desk.answer("edge-17", board.ask(fresh))
    host.now = right
    for key in (fresh, board.key):
        leaf = x509.load_pem_x509_certificates(host.desk.answer("edge-17", board.ask(key)).certificate)[0]
        assert leaf.not_valid_before_utc.timestamp() <= right < leaf.not_valid_after_utc.timestamp()
        again = host.desk.answer("edge-17", board.ask(key)).certificate
        assert x509.load_pem_x509_certificates(again)[0] == leaf
        host.now += 61


def test_the_time_is_attested_for_the_nonce_that_was_sent(host, board):
    """Case U9: a board without a clock believes no other answer."""
    answer = host.desk.answer("edge-17", RenewalRequest("ab" * 16))
    signed = codec.decode(answer.attest, Envelope)
    DIRECTOR.public_key().verify(signed.signatures[0].sig, signing_bytes(ATTEST, signed.payload))
    assert signed.payload_type == ATTEST
    assert codec.decode(signed.payload, Attest) == Attest("edge-17", "ab" * 16, host.now)
    assert answer.certificate is None


def test_a_device_that_never_enrolled_is_not_renewed(host):
    """A record alone, or no record: neither is answered."""
    with host.registry.write() as session:
        devices.add(session, Device("old-1", "generic-x86", targets=("cpu",)), host.now)
    for name in ("old-1", "nobody"):
        assert host.desk.answer(name, Board(name).ask(device_key())) is None
        assert host.desk.answer(name, RenewalRequest(NONCE)) is None


def sent(name, request):
    return Incoming(topics.renew(name), codec.encode(request) if isinstance(request, RenewalRequest) else request)


def test_requests_that_come_faster_than_they_are_answered_are_one_of_each_device(host, board):
    fresh = device_key()
    for _ in range(1000):
        host.renewals.put(sent("edge-17", board.ask(fresh)))
    (answer,) = host.renewals.work()
    assert answer.topic == topics.renewal("edge-17")
    assert not answer.retain
    assert codec.decode(answer.payload, RenewalAnswer).certificate
    assert host.renewals.work() == []


def test_garbage_and_crowds_are_bounded_and_hold_up_nobody(host, board):
    for payload in (b"", b"{", b"[]", b'{"nonce": 1}', bytes(300_000), b'{"nonce":"' + b"z" * 32 + b'"}'):
        host.renewals.put(sent("edge-17", payload))
    assert host.renewals.counts["malformed"] == 6
    host.renewals.put(sent("edge-17", board.ask(device_key())))
    for i in range(MAX_WAITING + 10):
        host.renewals.put(sent(f"nobody-{i}", RenewalRequest(NONCE)))
    assert host.renewals.counts["dropped"] == 11
    assert len(host.renewals.work()) == 1
    assert MOST_AT_ONCE < MAX_WAITING


def test_an_authority_that_cannot_be_read_is_said_and_the_plane_goes_on(host, board):
    Authority.open(host.identity, host.now)
    (host.identity / "issuing" / "1.key").chmod(0o644)
    host.renewals.put(sent("edge-17", board.ask(device_key())))
    assert host.renewals.work() == []
    assert host.renewals.counts["failed"] == 1
    assert host.current("edge-17") == key_sha256(board.key.public_key())


@pytest.mark.system
def test_a_plane_renews_over_a_real_broker(tmp_path):
    """The way through: the topic is subscribed to, the answer comes back on the device's own."""
    home = make_home(tmp_path / "home")
    heard = []
    with Mosquitto(tmp_path / "broker") as broker, open_registry(home.registry) as registry:
        board = Host(home.root, registry, time.time()).enrol("edge-17")
        device = BrokerPort(f"mqtt://127.0.0.1:{broker.port}")
        device.open(
            lambda: ("will", b""), lambda: device.subscribe(topics.renewal("edge-17")), lambda *it: heard.append(it)
        )
        try:
            with served(home, registry, broker.port):
                ask = codec.encode(RenewalRequest(NONCE, csr_of(board.key)))
                eventually(lambda: device.publish(topics.renew("edge-17"), ask, retain=False) or heard, "an answer")
        finally:
            device.cut()
    answer = codec.decode(heard[0][1], RenewalAnswer)
    assert heard[0][0] == topics.renewal("edge-17")
    assert answer.nonce == NONCE
    assert answer.certificate
