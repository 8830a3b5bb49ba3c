"""What a board gets that asks for an identity: every case as a row, and what must hold whatever is asked."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry_host.identity.decision import (
    MAX_WAITING,
    MOST_RETURNS,
    REFUSED,
    Again,
    Asked,
    ByHand,
    ClaimFacts,
    Enrol,
    Holder,
    Keys,
    Past,
    Refuse,
    Wait,
    decide,
    decide_return,
)

KEYS, OTHER = Keys("a", "b", "0"), Keys("x", "y", "1")
CLAIM = ClaimFacts(expires=100.0, count=2, used=1)
SINGLE = replace(CLAIM, device="edge-1")
FREE, TAKEN = Holder("edge-1"), Holder("edge-1", OTHER)
MINE = Holder("edge-1", KEYS)
GONE = replace(TAKEN, denied=True)

CASES = {
    "a serial that a record waits for": (Asked(KEYS, CLAIM, record=FREE), Enrol("edge-1")),
    "a claim of one board": (Asked(KEYS, SINGLE, record=FREE), Enrol("edge-1")),
    "a board that nobody knows": (Asked(KEYS, CLAIM), Wait()),
    "a board that a person approved": (Asked(KEYS, CLAIM, record=FREE, by_hand=ByHand(approved=True)), Enrol("edge-1")),
    "a board that a person denied": (Asked(KEYS, CLAIM, record=FREE, by_hand=ByHand(denied=True)), Refuse("denied")),
    "the same key again": (Asked(KEYS, CLAIM, MINE), Again("edge-1")),
    "the same key, of a claim that is used up since": (Asked(KEYS, replace(CLAIM, used=2), MINE), Again("edge-1")),
    "the same key with another birth key: a request that was overheard": (
        Asked(replace(KEYS, birth_key_sha256="z"), CLAIM, MINE),
        Refuse("key_in_use"),
    ),
    "the same key with another state folder": (
        Asked(replace(KEYS, incarnation="2"), CLAIM, MINE),
        Refuse("key_in_use"),
    ),
    "the same key, revoked since": (Asked(KEYS, CLAIM, replace(MINE, denied=True)), Refuse("revoked")),
    "a claim that is not there": (Asked(KEYS, None, record=FREE), Refuse("claim_unknown")),
    "a claim that was closed": (Asked(KEYS, replace(CLAIM, closed=True), record=FREE), Refuse("claim_closed")),
    "a claim that has expired": (Asked(KEYS, replace(CLAIM, expires=10.0), record=FREE), Refuse("claim_expired")),
    "one board more than the claim is for": (Asked(KEYS, replace(CLAIM, used=2), record=FREE), Refuse("claim_used_up")),
    "a record that has a board: a thief who knows a serial": (Asked(KEYS, CLAIM, record=TAKEN), Wait()),
    "approved for a record that has a board, without --replace": (
        Asked(KEYS, CLAIM, record=TAKEN, by_hand=ByHand(approved=True)),
        Wait(),
    ),
    "approved with --replace": (
        Asked(KEYS, CLAIM, record=TAKEN, by_hand=ByHand(approved=True, replace=True)),
        Enrol("edge-1"),
    ),
    "provisioned again": (Asked(KEYS, SINGLE, record=TAKEN), Enrol("edge-1")),
    "provisioned again after it was revoked": (Asked(KEYS, SINGLE, record=GONE), Enrol("edge-1")),
    "a revoked record by its serial": (Asked(KEYS, CLAIM, record=GONE), Wait()),
    "too many wait": (Asked(KEYS, CLAIM, waiting=MAX_WAITING), Refuse("too_many_waiting")),
    "too many wait, but this one is known": (Asked(KEYS, CLAIM, record=FREE, waiting=MAX_WAITING), Enrol("edge-1")),
}


@pytest.mark.parametrize(("asked", "decision"), CASES.values(), ids=CASES)
def test_what_a_claim_gets(asked, decision):
    assert decide(asked, 50.0) == decision


RETURNS = {
    "a new key": (TAKEN, None, KEYS, Enrol("edge-1")),
    "the key that it has": (MINE, MINE, replace(KEYS, birth_key_sha256=None), Again("edge-1")),
    "revoked": (GONE, None, KEYS, Refuse("revoked")),
    "a record without an identity": (FREE, None, KEYS, Refuse("no_identity")),
    "no record": (None, None, KEYS, Refuse("no_identity")),
    "the key of another device": (TAKEN, Holder("edge-2", KEYS), KEYS, Refuse("key_in_use")),
}


@pytest.mark.parametrize(("device", "owner", "keys", "decision"), RETURNS.values(), ids=RETURNS)
def test_what_a_birth_certificate_gets(device, owner, keys, decision):
    assert decide_return(device, owner, keys, proven=True) == decision


def test_without_the_birth_keys_signature_nobody_comes_back():
    assert decide_return(TAKEN, None, KEYS, proven=False) == Refuse("no_proof")


def test_a_key_that_was_replaced_does_not_come_back_and_nobody_comes_back_without_end():
    """A request of before can be sent again where a broker's rules are loose, and a birth key can be in other hands."""
    assert decide_return(TAKEN, None, KEYS, proven=True, past=Past(key_revoked=True)) == Refuse("key_revoked")
    assert decide_return(TAKEN, None, KEYS, proven=True, past=Past(lately=MOST_RETURNS)) == Refuse("too_many_returns")
    assert decide_return(MINE, MINE, KEYS, proven=True, past=Past(lately=MOST_RETURNS)) == Again("edge-1")


def test_every_refusal_says_what_is_to_be_done():
    refusals = {case[-1].code for case in (*CASES.values(), *RETURNS.values()) if isinstance(case[-1], Refuse)}
    assert refusals | {"no_proof", "key_revoked", "too_many_returns"} == set(REFUSED)
    assert all(Refuse(code).detail for code in refusals)


keys = st.builds(Keys, st.sampled_from("ab"), st.sampled_from(["c", "d", None]), st.sampled_from("01"))
holders = st.none() | st.builds(Holder, st.sampled_from(["dev-1", "dev-2"]), st.none() | keys, st.booleans())
claims = st.builds(
    ClaimFacts, st.sampled_from([10.0, 99.0]), st.integers(1, 3), st.integers(0, 3), st.booleans(), st.none()
)
hands = st.builds(ByHand, st.booleans(), st.booleans(), st.booleans())


@given(st.builds(Asked, keys, claims | st.none(), holders, holders, hands, st.integers(0, 600)))
def test_a_stolen_claim_gets_only_pending_unless_it_names_a_board_that_is_awaited(asked):
    """Case I2 of the threat table: whatever else is asked for, nobody gets an identity that another has, or more than
    the claim is for."""
    decision = decide(asked, 50.0)
    if isinstance(decision, Enrol):
        assert asked.claim.used < asked.claim.count
        assert not asked.claim.closed
        assert asked.record.device == decision.device
        assert (asked.record.keys is None and not asked.record.denied) or asked.by_hand.replace
    if isinstance(decision, Again):
        assert asked.owner.keys.incarnation == asked.keys.incarnation
        assert not asked.owner.denied
