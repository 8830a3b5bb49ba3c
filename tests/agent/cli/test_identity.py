"""What a person sees of a device's identity: in the status, and in what `doctor` says."""

import pytest
from msgspec.structs import replace

from skerry_agent.cli.doctor import _identity
from skerry_agent.cli.identity import has_identity, setup_of
from skerry_agent.cli.standalone import recorded_status
from skerry_agent.cli.status_lines import shown
from skerry_agent.config import load
from skerry_agent.identity.ports import IdentityStatus
from skerry_agent.supervisor.report import LocalStatus

ENROLS = """[device]
serial = "s-1"
[enrolment]
url = "mqtts://h:8884"
spread_s = 3.0
[broker]
url = "mqtts://h"
ca_file = "fleet-ca.pem"
[board]
name = "test"
"""
UNTIL = 1_803_758_713.0
STATUS = LocalStatus("unenrolled", connected=False, waiting_reports=0, models={}, http={}, pids={})
SAID = {
    "asking": (IdentityStatus("asking", code="KX3P-77QA"), "identity: asks to enrol as KX3P-77QA"),
    "pending": (IdentityStatus("pending", code="KX3P-77QA", detail="waits"), "identity: asks to enrol: waits"),
    "refused": (IdentityStatus("refused", code="KX3P-77QA", detail="no"), "the host refuses KX3P-77QA: no"),
    "enrolled": (
        IdentityStatus("enrolled", "edge-17", UNTIL),
        "identity: enrolled as edge-17, its certificate is valid until 2027-02-27",
    ),
    "returning": (
        IdentityStatus("returning", "edge-17", UNTIL, detail="it is tried"),
        "identity: enrolled as edge-17, asks for a new certificate: it is tried",
    ),
}


@pytest.mark.parametrize("state", SAID)
def test_the_status_and_the_doctor_say_who_the_device_is_to_the_host(state):
    identity, words = SAID[state]
    lines = shown(replace(STATUS, identity=identity, device=identity.device or "unenrolled"))
    assert words in lines[1]
    assert ("this device:" in lines[0]) == (not identity.device)
    (check,) = _identity(None, replace(STATUS, identity=identity), UNTIL - 86_400)
    assert (check.ok, check.detail in lines[1]) == (state == "enrolled", True)


@pytest.mark.parametrize(("state", "ok"), [("asking", True), ("pending", True), ("refused", False)])
def test_a_device_that_moves_is_well_while_it_waits_because_it_goes_on_the_old_way(state, ok):
    (check,) = _identity(None, replace(STATUS, connected=True, identity=SAID[state][0]), UNTIL - 86_400)
    assert check.ok == ok


def test_a_device_without_an_identity_says_nothing_of_one():
    assert _identity(None, STATUS, UNTIL) == []
    assert len(shown(STATUS)) == 1


def test_an_expired_certificate_is_seen_by_the_doctor():
    (check,) = _identity(None, replace(STATUS, identity=SAID["enrolled"][0]), UNTIL + 86_400)
    assert (check.ok, "it has expired" in check.detail) == (False, True)


def test_the_doctor_takes_no_certificate_for_expired_that_the_broker_has_just_taken():
    """On a board whose clock is ahead: the agent goes by the host's time."""
    status = replace(STATUS, identity=SAID["enrolled"][0], running=True, connected=True)
    (check,) = _identity(None, status, UNTIL + 86_400)
    assert (check.ok, "it has expired" in check.detail) == (True, False)


@pytest.mark.parametrize(
    ("given", "instead", "has"),
    [
        ("", "", True),
        ('[enrolment]\nurl = "mqtts://h:8884"\nspread_s = 3.0\n', '[device]\nid = "dev-1"\n', False),
        ('ca_file = "fleet-ca.pem"', 'ca_file = "fleet-ca.pem"\ncert_file = "c.pem"\nkey_file = "c.key"', False),
    ],
)
def test_only_a_device_that_asks_for_an_identity_or_has_one_keeps_one(tmp_path, given, instead, has):
    text = ENROLS.replace(given, instead, 1) if given else ENROLS
    (tmp_path / "agent.toml").write_text(text.replace('[device]\nserial = "s-1"\n', "", 1) if "dev-1" in text else text)
    config = load(tmp_path / "agent.toml")
    assert has_identity(config) == has
    if has:
        setup = setup_of(config)
        assert (setup.serial, setup.spread_s, setup.claim_file) == ("s-1", 3.0, tmp_path / "claim.pem")
        assert recorded_status(config).identity == IdentityStatus("none", detail="it is not enrolled yet")
