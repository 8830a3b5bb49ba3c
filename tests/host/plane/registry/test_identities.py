"""Who is known by what, and who is not to be heard: what the broker's rules, orders and lists are made of."""

import pytest
from sqlalchemy import text

from skerry_agent.wire.enrolment import Offer
from skerry_host.fleet.device import Device
from skerry_host.identity.decision import Keys
from skerry_host.plane.errors import UnknownError
from skerry_host.plane.registry.database import open_registry
from skerry_host.plane.registry.records import claims, devices, identities, moves
from skerry_host.plane.registry.records.identities import Certificate
from tests.kit.identities import BIRTH, NEXT, fill, waiting_board


@pytest.fixture
def registry(tmp_path):
    with open_registry(tmp_path / "r.sqlite") as opened:
        with opened.write() as session:
            fill(session)
        yield opened


def test_a_device_is_known_by_its_identity_or_the_old_way_and_a_record_without_a_board_by_neither(registry):
    with registry.read() as session:
        assert identities.old_way(session) == {"old-1"}
        assert identities.incarnation(session, "new-1") == "0" * 32
        assert identities.incarnation(session, "old-1") is None


def test_what_a_revoked_device_could_come_by_is_denied_all_of_it(registry):
    with registry.write() as session:
        claims.add(session, claims.Wanted("generic-x86", (), 100.0, 1, "new-1"), 3.0)
        identities.add_certificate(session, Certificate("c2", "@claim-2", "claim", "", 90.0))
        identities.revoke(session, "new-1", "stolen", 5.0)
    with registry.read() as session:
        assert identities.revoked(session) == {"new-1", "@birth-new-1", "@claim-2"}
        assert identities.revoked_serials(session) == [("b1", 5.0), ("c2", 5.0), ("d1", 5.0)]
        assert identities.living_certificates(session, "new-1", 3.0, 9) == []


def test_a_device_of_the_old_way_that_is_revoked_or_retired_is_on_the_old_listener_no_longer(registry):
    for end in (lambda s: identities.revoke(s, "old-1", "x", 5.0), lambda s: identities.retire(s, "old-1", 5.0)):
        with registry.write() as session:
            end(session)
            assert identities.old_way(session) == frozenset()
            assert "old-1" in identities.denied(session)
            session.rollback()


@pytest.mark.parametrize("claim", [1, 99], ids=["its claim is there", "its claim is lost"])
def test_a_device_that_moves_can_be_revoked_and_is_offered_nothing_any_more(registry, claim):
    """Also where the move names a claim that a damaged registry does not have: nothing may hinder a revocation."""
    with registry.write() as session:
        moves.begin(session, "old-1", claim, Offer("mqtts://h", "mqtts://h", "ca"))
        identities.revoke(session, "old-1", "stolen", 5.0)
        assert moves.devices_by_claim(session) == {}
        assert "old-1" in identities.denied(session)
        assert (claims.find(session, "@claim-1").closed is not None) == (claim == 1)


def test_a_board_that_takes_a_record_over_ends_the_certificates_of_the_one_before(registry):
    with registry.write() as session:
        identities.bind(session, "new-1", Keys(NEXT, "d" * 64, "1" * 32), 6.0)
    with registry.read() as session:
        assert identities.revoked_serials(session) == [("b1", 6.0), ("d1", 6.0)]
        assert identities.incarnation(session, "new-1") == "1" * 32


def test_a_board_that_comes_back_by_its_birth_certificate_keeps_that(registry):
    with registry.write() as session:
        identities.bind(session, "new-1", Keys(NEXT, None, "1" * 32), 6.0)
    with registry.read() as session:
        assert identities.revoked_serials(session) == [("d1", 6.0)]
        assert identities.find(session, "new-1").birth_key_sha256 == BIRTH


def test_an_undone_revocation_lets_no_old_certificate_in_again(registry):
    with registry.write() as session:
        identities.revoke(session, "new-1", "lost", 5.0)
        identities.bind(session, "new-1", Keys(NEXT, "d" * 64, "1" * 32), 6.0)
    with registry.read() as session:
        assert identities.revoked(session) == frozenset()
        assert [serial for serial, _ in identities.revoked_serials(session)] == ["b1", "d1"]


CHANGES = {
    "a new device": lambda s: devices.add(s, Device("dev-9", "generic-x86"), 1.0),
    "a record that waits for a board": lambda s: claims.set_claim(s, "old-1", 1),
    "a revoked device": lambda s: identities.revoke(s, "new-1", "", 5.0),
    "a retired device": lambda s: identities.retire(s, "old-1", 5.0),
    "a closed claim": lambda s: claims.close(s, 1, 5.0),
    "an enrolled board": lambda s: identities.bind(s, "wait-1", Keys(NEXT, None, "1" * 32), 5.0),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_the_version_changes_with_whatever_a_broker_must_know(registry, change):
    with registry.read() as session:
        before = identities.version(session)
    with registry.write() as session:
        change(session)
    with registry.read() as session:
        assert identities.version(session) != before


def test_a_serial_names_a_board_only_in_its_own_claim_and_only_where_it_is_one(registry):
    with registry.write() as session:
        assert claims.record_with_serial(session, 1, "serial-new-1") == "new-1"
        assert claims.record_with_serial(session, 2, "serial-new-1") is None
        assert claims.record_with_serial(session, 1, "") is None
        claims.set_claim(session, "old-1", 1, "serial-new-1")
        assert claims.record_with_serial(session, 1, "serial-new-1") is None


def test_boards_that_wait_are_counted_found_and_forgotten(registry):
    with registry.write() as session:
        claims.wait(session, waiting_board())
        later = waiting_board()
        later.last = later.first = 8.0
        claims.wait(session, later)
    with registry.write() as session:
        assert [(row.first, row.last) for row in claims.waiting(session)] == [(1.0, 8.0)]
        assert claims.waiting_count(session, "@claim-1") == 1
        assert claims.by_code(session, "AAAA-AAAA").key_sha256 == "b" * 64
        with pytest.raises(UnknownError, match="no board waits with the code BBBB-BBBB"):
            claims.by_code(session, "BBBB-BBBB")
        assert claims.forget_silent(session, 8.0) == 0
        assert claims.forget_silent(session, 9.0) == 1


def test_two_boards_with_one_code_are_not_told_apart_by_it(registry):
    """40 bits can be forged in weeks: whoever approves must not take the thief's board for the own one."""
    with registry.write() as session:
        claims.wait(session, waiting_board())
        claims.wait(session, waiting_board("d" * 64))
        with pytest.raises(UnknownError, match="several boards wait"):
            claims.by_code(session, "AAAA-AAAA")


@pytest.mark.parametrize("name", ["", "no_such", "a\ntopic readwrite #", "../x", "@plane"])
def test_a_row_whose_name_is_none_keeps_no_other_out_of_the_brokers_rules(registry, name):
    """Case T2 of the threat table: one such row, and nobody could be revoked any more."""
    with registry.write() as session:
        identities.revoke(session, "new-1", "stolen", 3.0)
        claims.close(session, 1, 3.0)
        session.execute(text("PRAGMA defer_foreign_keys=on"))
        session.execute(text("INSERT INTO identities (device, revoked, reason) VALUES (:name, 1, '')"), {"name": name})
        assert identities.revoked(session) == {"new-1", "@birth-new-1", "@claim-1"}
        assert name not in identities.members(session) | identities.old_way(session)
        session.rollback()


def test_a_claim_that_is_closed_is_refused_by_its_certificate_so_that_its_boards_learn_why(registry):
    """By access rules alone they were dropped without a word, and asked for ever."""
    with registry.write() as session:
        identities.add_certificate(session, Certificate("c7", "@claim-1", "claim", "", 90.0))
        assert "c7" not in dict(identities.revoked_serials(session))
        before = identities.version(session)
        claims.close(session, 1, 7.0)
        assert dict(identities.revoked_serials(session))["c7"] == 7.0
        assert identities.version(session) != before
