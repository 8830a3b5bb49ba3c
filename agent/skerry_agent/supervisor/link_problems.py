"""Why there is no connection to the broker, in one line with what to do: from an error, or the broker's answer. Pure.

Only what is seen on this side: a broker that ends a connection says nothing of the reason in MQTT 3.1.1. Addresses and
names of users may be in a line, passwords are not.
"""

import errno
import socket
import ssl

from msgspec import Struct


class LinkProblem(Struct, frozen=True):
    """A stable word for it, what happened, and what to do about it."""

    kind: str
    detail: str
    hint: str

    def __str__(self) -> str:
        return f"{self.detail}; {self.hint}"


HINTS = {
    "bad_password": "check user and password in broker.url of agent.toml, and the broker's list of users",
    "not_authorized": "check user and password in broker.url of agent.toml, and what the broker allows this user",
    "bad_client_id": "the broker must accept device.id of agent.toml as a client id",
    "bad_protocol": "the broker must speak MQTT 3.1.1",
    "broker_unavailable": "see the broker's own log; it is tried again",
    "untrusted_authority": "put the certificate of the authority that signed the broker's into broker.ca_file",
    "certificate_expired": "renew the broker's certificate; if that is good, this device's clock is wrong",
    "certificate_not_yet_valid": "set this device's clock; if that is right, the broker's certificate is dated ahead",
    "wrong_hostname": "use the name that is in the certificate in broker.url, or give the broker one for this name",
    "certificate_wanted": "the broker wants a certificate of this device, which the agent has none of: use a password",
    "no_tls": "that port does not speak TLS: write mqtt:// in broker.url, or the port of the TLS listener (8883)",
    "tls_failed": "check the TLS settings of the broker",
    "unresolvable": "check the name in broker.url and this device's DNS",
    "refused": "start the broker, or check host and port in broker.url; a firewall may refuse, too",
    "timeout": "check host and port in broker.url, and firewalls between",
    "unreachable": "check this device's network: address, gateway, cable or Wi-Fi",
    "closed": "it may want TLS, refuse this device's last will, or know another agent of the same id: see its own log",
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

_CERTIFICATE = {9: "certificate_not_yet_valid", 10: "certificate_expired", 62: "wrong_hostname", 64: "wrong_hostname"}
"""X509_V_ERR of OpenSSL that are no question of whom to trust."""

_UNREACHABLE = frozenset({errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EHOSTDOWN})


def problem(kind: str, detail: str) -> LinkProblem:
    """A problem with the table's hint."""
    return LinkProblem(kind, detail, HINTS[kind])


def of_answer(reason: str, user: str | None) -> LinkProblem:
    """The broker has answered that it refuses (CONNACK); `reason` as paho spells it."""
    kind = _CONNACK.get(reason, "broker_unavailable")
    whom = f" for user {user}" if user and kind in {"bad_password", "not_authorized"} else ""
    return problem(kind, f"the broker refuses the connection{whom}: {reason.lower()}")


def of_error(error: Exception) -> LinkProblem:
    """The connection could not be made, or broke with an error."""
    words = getattr(error, "strerror", None) or str(error)
    match error:
        case ssl.SSLError():
            kind, detail = _of_tls(error)
        case socket.gaierror():
            kind, detail = "unresolvable", f"the broker's name cannot be resolved: {words}"
        case ConnectionRefusedError():
            kind, detail = "refused", "nothing accepts connections at the broker's address"
        case TimeoutError():
            kind, detail = "timeout", "the broker's address does not answer"
        case OSError() if error.errno in _UNREACHABLE:
            kind, detail = "unreachable", f"the broker's network cannot be reached: {words}"
        case ConnectionResetError() | BrokenPipeError():
            kind, detail = "closed", "the broker has closed the connection"
        case _:
            kind, detail = "network", f"the connection broke: {words}"
    return problem(kind, detail)


def _of_tls(error: ssl.SSLError) -> tuple[str, str]:
    if isinstance(error, ssl.SSLCertVerificationError):
        kind = _CERTIFICATE.get(error.verify_code, "untrusted_authority")
        return kind, f"the broker's certificate is not accepted: {error.verify_message}"
    reason = (getattr(error, "reason", None) or str(error)).replace("_", " ").lower()
    if "certificate required" in reason or "handshake failure" in reason:
        return "certificate_wanted", f"the broker ends the TLS handshake: {reason}"
    if "wrong version number" in reason or "unexpected eof" in reason or "eof occurred" in reason:
        return "no_tls", f"the TLS handshake fails: {reason}"
    return "tls_failed", f"the TLS handshake fails: {reason}"
