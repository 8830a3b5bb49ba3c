"""Requests for an identity: their limits, the code that people compare, and the names of those who are no device."""

import hashlib
import re

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry_agent.wire import codec, enrolment
from skerry_agent.wire.errors import WireError
from skerry_agent.wire.names import check_device_id, check_principal
from tests.kit.messages import MESSAGES


@given(st.binary())
def test_a_code_is_eight_letters_that_both_sides_make_of_the_same_key(key):
    sha256 = hashlib.sha256(key).hexdigest()
    assert re.fullmatch("[A-Z2-7]{4}-[A-Z2-7]{4}", enrolment.code_of(sha256))
    assert enrolment.code_of(sha256) == enrolment.code_of(sha256)


def test_the_code_of_a_key_never_changes():
    """It is printed on boards and read from consoles by people who compare it with the host's list."""
    assert enrolment.code_of("00" * 32) == "AAAA-AAAA"
    assert enrolment.code_of(hashlib.sha256(b"a key").hexdigest()) == "R6R2-VMX2"


@pytest.mark.parametrize("text", ["", "00", "g" * 64, "0" * 65])
def test_what_is_no_sha256_has_no_code(text):
    with pytest.raises(WireError):
        enrolment.code_of(text)


@pytest.mark.parametrize(
    "name", [enrolment.PLANE_NAME, enrolment.CANARY_NAME, enrolment.claim_name(7), enrolment.birth_name("edge-17")]
)
def test_no_device_can_bear_a_name_that_is_no_device(name):
    with pytest.raises(WireError):
        check_device_id(name)


def test_the_device_of_a_birth_certificate_is_in_its_name():
    assert enrolment.device_of_birth(enrolment.birth_name("edge-17")) == "edge-17"


@pytest.mark.parametrize("name", ["edge-17", "@claim-7", "@birth-", "@birth-../x", "@birth-@plane", "@plane"])
def test_any_other_name_is_no_birth_certificate(name):
    with pytest.raises(WireError):
        enrolment.device_of_birth(name)


@pytest.mark.parametrize("name", ["@plane", "@canary", "edge-17", "@claim-", "@claim-07", "@claim-1\n", "@birth-a/b"])
def test_only_claims_and_birth_certificates_may_ask_for_enrolment(name):
    with pytest.raises(WireError):
        check_principal(name)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("csr", ""),
        ("csr", "A" * 5468),
        ("csr", "not base64!"),
        ("nonce", "0" * 31),
        ("nonce", "Z" * 32),
        ("incarnation", "0" * 32 + "\n"),
        ("birth_csr", "A" * 5468),
        ("serial", "x" * 129),
        ("board", "x" * 65),
        ("agent", "x" * 65),
    ],
)
def test_a_request_over_its_limits_is_refused_and_its_field_named(field, value):
    good = msgspec.json.decode(codec.encode(MESSAGES["enrolment_request"]))
    with pytest.raises(WireError, match=field):
        codec.decode(msgspec.json.encode({**good, field: value}), enrolment.EnrolmentRequest)
