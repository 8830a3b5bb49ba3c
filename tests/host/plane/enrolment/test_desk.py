"""A board asks for its identity: what it is given, what is kept of it, and that nothing is half done."""

import dataclasses

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from msgspec.structs import replace

from skerry_agent.wire import codec
from skerry_agent.wire.enrolment import Attest, EnrolmentAnswer
from skerry_agent.wire.envelope import Envelope
from skerry_agent.wire.errors import WireError
from skerry_host.identity.csr import read_csr
from skerry_host.identity.decision import MOST_RETURNS, RETURNS_WITHIN_S
from skerry_host.plane.enrolment import arriving, certificates, leaving
from skerry_host.plane.enrolment.desk import Desk, Request, read_request
from skerry_host.plane.registry.records import claims, devices, events, identities
from tests.kit.boards import Board
from tests.kit.csr import csr_of, device_key
from tests.kit.enrolment import DAY_S, EnrolmentRig


@pytest.fixture
def rig(tmp_path):
    made = EnrolmentRig(tmp_path / "home")
    with made.registry:
        yield made


def name_in(pem: bytes) -> str:
    leaf = x509.load_pem_x509_certificates(pem)[0]
    return leaf.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value


def test_a_board_becomes_the_record_of_its_serial_and_counts_once_however_often_it_asks(rig):
    rig.claim_records(edge_1="S1", edge_2="S2")
    board = rig.board("S2")
    first = rig.ask(board)
    assert (first.status, first.device, name_in(first.certificate)) == ("approved", "edge-2", "edge-2")
    assert name_in(first.birth_certificate) == "@birth-edge-2"
    again = [rig.ask(board) for _ in range(3)]
    assert {(each.certificate, each.birth_certificate) for each in again} == {
        (first.certificate, first.birth_certificate)
    }
    assert rig.used() == 1
    assert rig.identity("edge-2").key_sha256 == board.sha256


def test_a_serial_in_capitals_is_that_of_the_board(rig):
    """As the label on its box has it, where the device tree has small letters."""
    rig.claim_records(edge_1="10000000ABCD1234")
    assert rig.ask(rig.board("10000000abcd1234")).device == "edge-1"


def test_the_answer_tells_the_time_to_whoever_made_the_nonce(rig):
    rig.claim_one("edge-1")
    answer = rig.ask(rig.board(), nonce="7" * 32)
    attest = codec.decode(codec.decode(answer.attest, Envelope).payload, Attest)
    assert attest == Attest("edge-1", "7" * 32, rig.now)


@pytest.mark.parametrize("name", ["@plane", "../x", "dev-1", "edge-2", "#", "edge-1,CN=@plane"])
def test_a_csr_that_names_somebody_else_is_given_the_name_of_its_record_or_none(rig, name):
    """Case I3 of the threat table: the plane, a path, another device, a wildcard, a second name."""
    rig.claim_records(edge_1="S1")
    known, stranger = rig.board("S1"), rig.board("S9")
    assert name_in(rig.ask(known, name=name).certificate) == "edge-1"
    answer = rig.ask(stranger, name=name)
    assert (answer.status, answer.certificate, answer.device) == ("refused", None, None)


def test_a_board_that_nobody_knows_waits_with_the_code_that_it_shows_and_is_what_a_person_says(rig):
    rig.claim_count(3)
    board = rig.board("S7")
    assert rig.ask(board).status == "pending"
    assert rig.waiting() == [board.code]
    rig.approve(board, "shelf-7")
    (answer,) = rig.approved()
    assert (answer.status, answer.device) == ("approved", "shelf-7")
    assert rig.ask(board).certificate == answer.certificate
    assert (rig.waiting(), rig.approved(), rig.used()) == ([], [], 1)
    with rig.registry.read() as session:
        assert devices.find(session, "shelf-7").tags == {"lab"}


def test_a_denied_board_is_told_so_and_waits_no_more_until_it_is_approved_after_all(rig):
    rig.claim_count(3)
    board = rig.board()
    rig.ask(board)
    with rig.registry.write() as session:
        arriving.deny(session, board.code.lower().replace("-", ""), rig.now)
    assert rig.ask(board).code == "denied"
    rig.approve(board, "shelf-7")
    assert rig.ask(board).status == "approved"


def test_the_fifty_first_of_fifty_is_refused_though_it_knows_a_serial(rig):
    rig.claim_records(edge_1="S1")
    assert rig.ask(rig.board("S1")).status == "approved"
    late = rig.ask(rig.board("S1"))
    assert (late.status, late.code) == ("refused", "claim_used_up")
    assert "ask for another" in late.detail


def test_a_claim_that_expired_or_was_closed_gives_nothing(rig):
    rig.claim_records(edge_1="S1")
    with rig.registry.write() as session:
        arriving.claim_for_count(session, claims.Wanted("generic-x86", (), rig.now + 1, 3), rig.now)
        claims.close(session, 1, rig.now)
    assert rig.ask(rig.board("S1")).code == "claim_closed"
    rig.now += 2
    assert rig.ask(rig.board("S1"), 2).code == "claim_expired"
    assert rig.ask(rig.board("S1"), 3).code == "claim_unknown"
    assert rig.waiting() == []


ANOTHER_KEY = lambda _board: csr_of(device_key())  # noqa: E731 - one of the cases below, by name
BAD = {
    "no CSR": lambda board: b"no CSR at all",
    "another curve": lambda board: csr_of(device_key(ec.SECP384R1())),
    "of another key than the topic says": ANOTHER_KEY,
    "cut": lambda board: csr_of(board.key)[:-3],
    "signed by another key": lambda board: csr_of(board.key)[:-8] + csr_of(device_key())[-8:],
}


@pytest.mark.parametrize("make", BAD.values(), ids=BAD)
def test_what_is_no_proof_of_a_key_is_refused_in_one_line_and_nothing_is_kept(rig, make):
    rig.claim_one("edge-1")
    board = rig.board()
    said = board.request()
    wrong = [replace(said, csr=make(board))]
    if make is not ANOTHER_KEY:  # that of the birth certificate is another
        wrong.append(replace(said, birth_csr=make(board)))
    for request in wrong:
        sent = rig.desk.answer(Request("@claim-1", board.sha256[:16], request))
        answer = codec.decode(sent.payload, EnrolmentAnswer)
        assert (answer.status, answer.code, answer.detail.count("\n")) == ("refused", "csr", 0)
    assert rig.identity("edge-1") is None


def test_a_request_that_was_overheard_gets_no_birth_certificate_for_another_key(rig):
    rig.claim_one("edge-1")
    board = rig.board()
    rig.ask(board)
    thief = dataclasses.replace(board, birth=device_key())
    assert rig.ask(thief).code == "key_in_use"


def test_what_is_desired_is_signed_anew_for_the_state_folder_that_enrols(rig):
    rig.start("1.0.0")
    before = rig.desired("dev-1")
    assert before.incarnation is None
    claim = rig.claim_one("dev-1", replace=True)
    rig.now += 1
    rig.ask(rig.board(incarnation="a" * 32), claim)
    after = rig.desired("dev-1")
    assert after.incarnation == "a" * 32
    assert after.assignments == before.assignments
    assert after.generation > before.generation


def test_another_board_for_a_record_waits_unless_the_record_was_provisioned_again(rig):
    """The same image on a board that was made anew, or a thief who has read a serial."""
    rig.claim_records(edge_1="S1", edge_2="S2")
    first = rig.board("S1")
    rig.ask(first)
    second = rig.board("S1", incarnation="b" * 32)
    assert rig.ask(second).status == "pending"
    rig.approve(second, "edge-1", replace=True)
    assert [each.device for each in rig.approved()] == ["edge-1"]
    assert rig.ask(first).status != "approved"
    with rig.registry.read() as session:
        assert len(identities.revoked_serials(session)) == 2


def test_an_approval_that_cannot_be_done_is_taken_back_and_told(rig):
    """Somebody else became the device between the approval and the plane's next tick."""
    rig.claim_records(edge_1="S1", edge_2="S2")
    stranger = rig.board("S9")
    rig.ask(stranger)
    rig.approve(stranger, "edge-1")
    assert rig.ask(rig.board("S1")).device == "edge-1"
    assert [each.status for each in rig.approved()] == ["pending"]
    assert rig.approved() == []
    with rig.registry.read() as session:
        assert "cannot be edge-1" in events.latest(session, 1)[0].text


def test_a_device_comes_back_by_its_birth_certificate_with_a_new_key_and_a_new_state_folder(rig):
    """Case I5 of the threat table, the host's side: its certificate expired long ago."""
    rig.claim_one("edge-1")
    board = rig.board()
    first = rig.ask(board)
    rig.now += 400 * DAY_S
    back = dataclasses.replace(board, key=device_key(), incarnation="c" * 32)
    answer = rig.return_as("edge-1", back)
    assert (answer.status, answer.device, answer.birth_certificate) == ("approved", "edge-1", None)
    assert rig.return_as("edge-1", back).certificate == answer.certificate
    assert rig.identity("edge-1").incarnation == "c" * 32
    assert rig.used() == 1
    assert name_in(first.birth_certificate) == "@birth-edge-1"


def test_nobody_comes_back_as_another_device_whatever_a_broker_says_of_who_asks(rig):
    """A broker whose rules are loose lets anybody publish as `@birth-edge-1`."""
    rig.claim_one("edge-1")
    board = rig.board()
    rig.ask(board)
    assert rig.return_as("edge-1", rig.board()).code == "no_proof"
    overheard = board.request(by_birth=True)
    for changed in ({"proof": None}, {"incarnation": "d" * 32}, {"csr": csr_of(device_key())}):
        said = replace(overheard, **changed)
        key = read_csr(said.csr).key_sha256[:16]
        answer = codec.decode(rig.desk.answer(Request("@birth-edge-1", key, said)).payload, EnrolmentAnswer)
        assert answer.code == "no_proof"
    assert rig.identity("edge-1").key_sha256 == board.sha256


def test_a_device_that_comes_back_with_the_key_that_it_has_is_given_a_certificate_that_lives(rig):
    rig.claim_one("edge-1")
    board = rig.board()
    first = rig.ask(board)
    rig.now += 400 * DAY_S
    answer = rig.return_as("edge-1", board)
    assert answer.status == "approved"
    assert answer.certificate != first.certificate


def test_a_device_that_comes_back_again_and_again_is_told_to_wait(rig):
    """Each return revokes certificates, and has the broker read its rules again: a thief could fill the list."""
    rig.claim_one("edge-1")
    board = rig.board()
    rig.ask(board)
    codes = [rig.return_as("edge-1", dataclasses.replace(board, key=device_key())).code for _ in range(30)]
    assert codes == [""] * (MOST_RETURNS - 1) + ["too_many_returns"] * (31 - MOST_RETURNS)
    rig.now += RETURNS_WITHIN_S + 1
    assert rig.return_as("edge-1", dataclasses.replace(board, key=device_key())).status == "approved"


def test_a_request_to_come_back_that_is_sent_again_later_brings_no_key_back(rig):
    """Where a broker lets others read and write it; the board has another key by then, and would be shut out."""
    rig.claim_one("edge-1")
    board = rig.board()
    rig.ask(board)
    once, later = (dataclasses.replace(board, key=device_key()) for _ in range(2))
    assert [rig.return_as("edge-1", each).code for each in (once, later, once)] == ["", "", "key_revoked"]
    assert rig.identity("edge-1").key_sha256 == later.sha256


def test_a_host_whose_clock_was_in_2038_for_an_hour_still_knows_its_devices_and_whom_it_revoked(rig):
    """By such a clock all certificates have expired: none may be forgotten that is in use, or was revoked."""
    rig.claim_one("edge-1")
    stolen, board = rig.board(), rig.board()
    rig.ask(stolen)
    rig.ask(board, rig.claim_one("edge-1", replace=True))
    with rig.registry.read() as session:
        revoked = identities.revoked_serials(session)
    assert revoked
    with rig.registry.write() as session:
        identities.prune_certificates(session, rig.now + 12 * 365 * DAY_S)
        assert identities.revoked_serials(session) == revoked
    assert rig.return_as("edge-1", dataclasses.replace(board, key=device_key())).status == "approved"


def test_certificates_of_long_ago_are_forgotten(rig):
    with rig.registry.write() as session:
        for number in range(100):
            made = identities.Certificate(f"{number:x}", "edge-1", "device", "k", rig.now + number * DAY_S)
            identities.add_certificate(session, made)
        session.flush()
        identities.prune_certificates(session, rig.now + 50 * DAY_S)
        left = identities.living_certificates(session, "edge-1", 0.0, 1000)
        assert sorted(each.not_after for each in left) == [rig.now + number * DAY_S for number in range(50, 100)]
        identities.prune_certificates(session, rig.now + 1000 * DAY_S)
        assert len(identities.living_certificates(session, "edge-1", 0.0, 1000)) == identities.KEPT


def test_a_revoked_device_comes_back_by_nothing_but_a_claim_made_since(rig):
    rig.claim_one("edge-1")
    board = rig.board()
    rig.ask(board)
    with rig.registry.write() as session:
        leaving.revoke(session, "edge-1", "stolen", rig.now)
    assert rig.ask(board).code == "claim_closed"
    assert rig.return_as("edge-1", board).code == "revoked"
    assert rig.return_as("edge-1", rig.board()).code == "revoked"
    claim = rig.claim_one("edge-1", replace=True)
    assert rig.ask(board, claim).code == "revoked"
    assert rig.ask(rig.board(), claim).device == "edge-1"
    assert not rig.identity("edge-1").is_denied


def test_only_the_newest_folder_of_a_device_counts(rig):
    first = rig.claim_one("edge-1")
    second = rig.claim_one("edge-1", replace=True)
    assert rig.ask(rig.board(), first).code == "claim_closed"
    assert rig.ask(rig.board(), second).device == "edge-1"


def test_a_device_of_the_old_way_stays_until_its_board_has_enrolled(rig):
    claim = rig.claim_one("dev-1", replace=True)
    with rig.registry.read() as session:
        assert identities.old_way(session) == {"dev-1"}
    rig.ask(rig.board(), claim)
    with rig.registry.read() as session:
        assert identities.old_way(session) == frozenset()


class KilledError(Exception):
    """The plane ends here."""


STEPS = {
    "before anything": (Desk, "_decide"),
    "before the board is bound": (identities, "bind"),
    "before the request is forgotten": (claims, "forget"),
    "before the certificate is noted": (identities, "add_certificate"),
    "before the certificate is made": (certificates.Certificates, "device"),
}


@pytest.mark.parametrize("step", STEPS)
def test_a_plane_that_is_killed_at_any_step_has_done_all_or_nothing(rig, step, monkeypatch):
    """Case I4 of the threat table, the host's side: the same id afterwards, and no second count."""
    rig.claim_records(edge_1="S1", edge_2="S2")
    board = rig.board("S1")

    def killed(*_args, **_kwargs):
        raise KilledError

    with monkeypatch.context() as patched:
        patched.setattr(*STEPS[step], killed)
        try:
            rig.ask(board)
        except KilledError:
            assert (rig.used(), rig.identity("edge-1")) == (0, None)
    answer = rig.ask(board)
    assert (answer.device, rig.used(), rig.identity("edge-1").key_sha256) == ("edge-1", 1, board.sha256)


def test_a_request_is_read_with_clean_texts_or_not_at_all():
    board = Board("nowhere", "S\x1b[2J\u202e1")
    topic = f"skerry/v1/enroll/@claim-1/{board.sha256[:16]}/csr"
    request = read_request(topic, codec.encode(board.request()))
    assert request.said.serial.isprintable()
    for wrong in (topic.replace("@claim-1", "@plane"), topic.replace("/csr", "/csr/x"), "skerry/v1/d/x/state"):
        with pytest.raises(WireError):
            read_request(wrong, codec.encode(board.request()))
    with pytest.raises(WireError):
        read_request(topic, b"\xff{")
