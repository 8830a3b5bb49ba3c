"""Why there is no connection to the broker: each cause with a kind of its own and what to do about it."""

import errno
import socket
import ssl
from pathlib import Path

import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode

from skerry_agent.supervisor.link_problems import HINTS, of_answer, of_error


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
    "ends at once": (ssl.SSLEOFError(8, "EOF occurred in violation of protocol"), "no_tls"),
    "another alert": (tls_error("TLSV1_ALERT_INTERNAL_ERROR"), "tls_failed"),
    "no name": (socket.gaierror(-2, "Name or service not known"), "unresolvable"),
    "no DNS": (socket.gaierror(-3, "Temporary failure in name resolution"), "unresolvable"),
    "refused": (ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"), "refused"),
    "timeout": (TimeoutError("timed out"), "timeout"),
    "timeout of the kernel": (OSError(errno.ETIMEDOUT, "Connection timed out"), "timeout"),
    "no route": (OSError(errno.EHOSTUNREACH, "No route to host"), "unreachable"),
    "no network": (OSError(errno.ENETUNREACH, "Network is unreachable"), "unreachable"),
    "reset": (ConnectionResetError(errno.ECONNRESET, "reset"), "closed"),
    "another": (OSError(errno.EMFILE, "Too many open files"), "network"),
    "no error of the system": (UnicodeError("label too long"), "network"),
}


@pytest.mark.parametrize(("error", "kind"), ERRORS.values(), ids=ERRORS)
def test_an_error_is_told_with_what_to_do(error, kind):
    problem = of_error(error)
    assert (problem.kind, problem.hint) == (kind, HINTS[kind])
    assert "\n" not in str(problem)


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
