"""Why there is no connection to the broker: each cause with a kind of its own and what to do about it."""

import errno
import socket
import ssl
from pathlib import Path

import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode

from skerry_agent.supervisor.link_problems import HINTS, of_answer, of_error
from skerry_agent.tls import KINDS

NOW = 1_800_000_000.0


def certificate_error(code):
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_code, error.verify_message = code, "as OpenSSL says"
    return error


def tls_error(reason):
    error = ssl.SSLError(1, reason)
    error.reason = reason
    return error


ERRORS = {
    "expired": (certificate_error(10), "certificate_expired"),
    "not yet": (certificate_error(9), "certificate_not_yet_valid"),
    "hostname": (certificate_error(62), "wrong_hostname"),
    "address": (certificate_error(64), "wrong_hostname"),
    "self-signed": (certificate_error(18), "untrusted_authority"),
    "in a chain": (certificate_error(19), "untrusted_authority"),
    "unknown issuer": (certificate_error(20), "untrusted_authority"),
    "wants a certificate": (tls_error("TLSV13_ALERT_CERTIFICATE_REQUIRED"), "certificate_wanted"),
    "handshake": (tls_error("SSLV3_ALERT_HANDSHAKE_FAILURE"), "certificate_wanted"),
    "plain": (tls_error("WRONG_VERSION_NUMBER"), "no_tls"),
    "refused by TLS": (tls_error("TLSV1_ALERT_UNKNOWN_CA"), "certificate_refused"),
    "not a client's": (tls_error("SSLV3_ALERT_UNSUPPORTED_CERTIFICATE"), "certificate_refused"),
    "own expired": (tls_error("SSLV3_ALERT_CERTIFICATE_EXPIRED"), "own_certificate_expired"),
    "revoked": (tls_error("SSLV3_ALERT_CERTIFICATE_REVOKED"), "own_certificate_revoked"),
    "ends at once": (ssl.SSLEOFError(8, "EOF occurred in violation of protocol"), "no_tls"),
    "another alert": (tls_error("TLSV1_ALERT_INTERNAL_ERROR"), "tls_failed"),
    "no name": (socket.gaierror(-2, "Name or service not known"), "unresolvable"),
    "no DNS": (socket.gaierror(-3, "Temporary failure in name resolution"), "unresolvable"),
    "refused": (ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"), "refused"),
    "timeout": (TimeoutError("timed out"), "timeout"),
    "timeout of the kernel": (OSError(errno.ETIMEDOUT, "Connection timed out"), "timeout"),
    "no route": (OSError(errno.EHOSTUNREACH, "No route to host"), "unreachable"),
    "no network": (OSError(errno.ENETUNREACH, "Network is unreachable"), "unreachable"),
    "reset": (ConnectionResetError(errno.ECONNRESET, "reset"), "no_tls"),
    "another": (OSError(errno.EMFILE, "Too many open files"), "network"),
    "no error of the system": (UnicodeError("label too long"), "network"),
}


@pytest.mark.parametrize(("error", "kind"), ERRORS.values(), ids=ERRORS)
def test_an_error_is_told_with_what_to_do(error, kind):
    problem = of_error(error, NOW, "handshake")
    assert (problem.kind, problem.hint) == (kind, HINTS[kind])
    assert "\n" not in str(problem)


CLOSED = [ConnectionResetError(errno.ECONNRESET, "reset"), BrokenPipeError(), ssl.SSLEOFError(8, "EOF occurred")]


@pytest.mark.parametrize("error", CLOSED, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize(
    ("phase", "kind"),
    [(None, "closed"), ("handshake", "no_tls"), ("greeting", "closed_after_handshake"), ("session", "closed")],
)
def test_a_broker_that_just_closes_is_told_by_when_it_does(error, phase, kind):
    """In TLS 1.3 a broker looks at our certificate last, so a handshake that seems done may end so."""
    assert of_error(error, NOW, phase).kind == kind


@pytest.mark.parametrize(
    ("now", "code", "said"), [(0.0, 9, "1970-01-01 00:00 UTC"), (2**31 - 1.0, 10, "2038-01-19 03:14 UTC")]
)
def test_dates_that_do_not_fit_are_told_with_what_the_clock_says(now, code, said):
    """A device whose battery is empty takes every good certificate for one that is not valid yet."""
    assert f"by the clock here, which says {said}" in of_error(certificate_error(code), now, "handshake").detail


def test_every_kind_of_tls_has_a_hint_of_the_device():
    assert sorted(KINDS - set(HINTS)) == []


def test_every_kind_is_in_the_document():
    document = (Path(__file__).resolve().parents[3] / "docs" / "agent-log.md").read_text()
    assert [kind for kind in HINTS if f"`{kind}`" not in document] == []


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (0x84, "bad_protocol"),
        (0x85, "bad_client_id"),
        (0x88, "broker_unavailable"),
        (0x86, "bad_password"),
        (0x87, "not_authorized"),
    ],
)
def test_a_refusal_of_the_broker_is_told_with_what_to_do(code, kind):
    """As paho spells the return codes of MQTT 3.1.1."""
    problem = of_answer(str(ReasonCode(PacketTypes.CONNACK, identifier=code)), "ann")
    assert (problem.kind, problem.hint) == (kind, HINTS[kind])
    assert ("for user ann" in problem.detail) == (kind in {"bad_password", "not_authorized"})
