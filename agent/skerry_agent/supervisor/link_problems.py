"""Why there is no connection to the broker, in one line with what to do: from an error, or the broker's answer. Pure.

Only what is seen on this side: a broker that ends a connection says nothing of the reason in MQTT 3.1.1. Addresses and
names of users may be in a line, passwords are not.
"""

import errno
import socket
import ssl

from msgspec import Struct

from skerry_agent import tls
from skerry_agent.tls import Phase


class LinkProblem(Struct, frozen=True):
    """A stable word for it, what happened, and what to do about it."""

    kind: str
    detail: str
    hint: str

    def __str__(self) -> str:
        return f"{self.detail}; {self.hint}"


HINTS = {
    "bad_password": "check broker.credentials_file of agent.toml, and the broker's list of users",
    "not_authorized": "check broker.credentials_file of agent.toml, and what the broker allows this user",
    "bad_client_id": "the broker must accept device.id of agent.toml as a client id",
    "bad_protocol": "the broker must speak MQTT 3.1.1",
    "broker_unavailable": "see the broker's own log; it is tried again",
    "untrusted_authority": "put the certificate of the authority that signed the broker's into broker.ca_file",
    "certificate_expired": "renew the broker's certificate; if that is good, this device's clock is wrong",
    "certificate_not_yet_valid": "set this device's clock; if that is right, the broker's certificate is dated ahead",
    "wrong_hostname": "use the name that is in the certificate in broker.url, or give the broker one for this name",
    "certificate_wanted": "enrol this device, or give it broker.cert_file and broker.key_file",
    "certificate_refused": "the broker must trust the authority that signed this device's certificate: see its own log",
    "own_certificate_expired": "it is renewed over the enrolment listener; without one, give this device a new one",
    "own_certificate_revoked": "this device was taken off the fleet: ask whoever runs it, and enrol it anew",
    "closed_after_handshake": "most probably it wants a certificate, or another than this device's: see its own log",
    "no_tls": "that port hardly speaks TLS: write mqtt:// in broker.url, or the port of the TLS listener (8883)",
    "tls_wanted": "that port speaks TLS: write mqtts:// in broker.url",
    "unusable_authority": "check broker.ca_file of agent.toml; it is tried again",
    "unusable_certificate": "check broker.cert_file of agent.toml, or this device's identity; it is tried again",
    "unusable_key": "check broker.key_file of agent.toml, or this device's identity; it is tried again",
    "unusable_credentials": "write USER:PASSWORD into that file, on one line, with mode 0600; it is tried again",
    "tls_failed": "check the TLS settings of the broker",
    "unresolvable": "check the name in broker.url and this device's DNS",
    "refused": "start the broker, or check host and port in broker.url; a firewall may refuse, too",
    "timeout": "check host and port in broker.url, and firewalls between",
    "unreachable": "check this device's network: address, gateway, cable or Wi-Fi",
    "closed": "it may want TLS, refuse this device's last will, or know another agent of the same id: see its own log",
    "new_certificate": "it connects anew with that",
    "no_answers": "the network or the broker is stuck; it is connected anew",
    "lost_message": "the broker has lost a message or refuses it: see its own log; it is connected anew",
    "no_ping": "the network or the broker is stuck; it is connected anew",
    "malformed_packet": "what answers there may be no MQTT broker: check host and port in broker.url",
    "packet_too_large": "something publishes to this device's topics that is not Skerry",
    "network": "check this device's network",
}
"""What to do about each kind; the table of all kinds, too."""

_CONNACK = {
    "Unsupported protocol version": "bad_protocol",
    "Client identifier not valid": "bad_client_id",
    "Server unavailable": "broker_unavailable",
    "Bad user name or password": "bad_password",
    "Not authorized": "not_authorized",
}

_UNREACHABLE = frozenset({errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EHOSTDOWN})


def problem(kind: str, detail: str) -> LinkProblem:
    """A problem with the table's hint."""
    return LinkProblem(kind, detail, HINTS[kind])


def of_answer(reason: str, user: str | None) -> LinkProblem:
    """The broker has answered that it refuses (CONNACK); `reason` as paho spells it."""
    kind = _CONNACK.get(reason, "broker_unavailable")
    whom = f" for user {user}" if user and kind in {"bad_password", "not_authorized"} else ""
    return problem(kind, f"the broker refuses the connection{whom}: {reason.lower()}")


def of_error(error: Exception, now: float, phase: Phase | None = None) -> LinkProblem:
    """The connection could not be made, or broke with an error.

    `phase`: when, on a connection over TLS; None on one without. `now`: what this device's clock says.
    """
    if isinstance(error, UnusableError):
        return error.problem
    of_tls = tls.of_error(error, now, phase) if phase and isinstance(error, OSError) else None
    return problem(*(of_tls or _of_network(error)))


def _of_network(error: Exception) -> tuple[str, str]:
    words = getattr(error, "strerror", None) or str(error)
    match error:
        case socket.gaierror():
            return "unresolvable", f"the broker's name cannot be resolved: {words}"
        case ConnectionRefusedError():
            return "refused", "nothing accepts connections at the broker's address"
        case TimeoutError():
            return "timeout", "the broker's address does not answer"
        case OSError() if error.errno in _UNREACHABLE:
            return "unreachable", f"the broker's network cannot be reached: {words}"
        case ConnectionResetError() | BrokenPipeError() | ssl.SSLEOFError():
            return "closed", "the broker has closed the connection"
        case _:
            return "network", f"the connection broke: {words}"


class UnusableError(OSError):
    """What a connection needs cannot be used, so that none is tried now."""

    def __init__(self, why: LinkProblem) -> None:
        super().__init__(why.detail)
        self.problem = why
