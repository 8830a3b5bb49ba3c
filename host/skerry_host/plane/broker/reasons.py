"""Why the plane has no connection to the broker, in one line with what to do about it. Pure; for the plane's options.

The kinds of TLS are those of `skerry_agent.tls`, which the agent has hints of its own for. No password is in a line.
"""

import socket

from skerry_agent import tls
from skerry_agent.tls import Phase
from skerry_agent.wire.broker_url import BrokerUrl
from skerry_host.plane.errors import LinkError

HINTS = {
    "untrusted_authority": "give the certificate of the authority that signed the broker's with --broker-ca FILE",
    "certificate_expired": "renew the broker's certificate; if that is good, the clock here is wrong",
    "certificate_not_yet_valid": "set the clock here; if that is right, the broker's certificate is dated ahead",
    "wrong_hostname": "use the name that is in the certificate, or give the broker one for this name",
    "certificate_wanted": "give the plane's own with --broker-cert FILE and --broker-key FILE",
    "certificate_refused": "the broker must trust the authority that signed --broker-cert: see its own log",
    "own_certificate_expired": "renew the certificate of --broker-cert; if that is good, the broker's clock is wrong",
    "own_certificate_revoked": "give another with --broker-cert and --broker-key",
    "closed_after_handshake": "most probably it wants a certificate (--broker-cert, --broker-key), or not this one: "
    "see its own log",
    "no_tls": "that port hardly speaks TLS: write mqtt://, or the port of the TLS listener (8883)",
    "tls_wanted": "write mqtts://",
    "tls_failed": "check the TLS settings of the broker",
    "unusable_authority": "check --broker-ca",
    "unusable_certificate": "check --broker-cert",
    "unusable_key": "check --broker-key",
    "unresolvable": "check the name in --broker and this machine's DNS",
    "closed": "it may want TLS (mqtts://), or not be an MQTT broker: see its own log",
    "unreachable": "start it, or check --broker",
    "refused": "check --broker-credentials, and what the broker allows this user",
}
"""What to do about each kind; the table of all kinds, too."""

LASTING = tls.KINDS - {"no_tls", "closed_after_handshake", "tls_failed"}
"""Kinds that no second attempt mends: a broker that is just starting shows none of them."""


def problem(kind: str, url: BrokerUrl, detail: str) -> LinkError:
    """An error with the table's hint."""
    return LinkError(f"no connection to the broker at {url.place}: {detail}", hint=HINTS[kind], code=kind)


def of_error(error: OSError, url: BrokerUrl, now: float, phase: Phase) -> LinkError:
    """The connection could not be made, or broke with an error."""
    found = tls.of_error(error, now, phase) if url.tls else None
    return problem(found[0], url, found[1]) if found else _of_network(error, url)


def of_answer(reason: str, url: BrokerUrl) -> LinkError:
    """The broker has answered that it refuses (CONNACK)."""
    return LinkError(f"the broker at {url.place} refuses: {reason}", hint=HINTS["refused"], code="refused")


def silent(url: BrokerUrl) -> LinkError:
    """Nothing was answered, and nothing is known."""
    return LinkError(f"no broker answers at {url.place}", hint=HINTS["unreachable"], code="unreachable")


def _of_network(error: OSError, url: BrokerUrl) -> LinkError:
    match error:
        case socket.gaierror():
            return problem("unresolvable", url, f"its name cannot be resolved: {error.strerror}")
        case ConnectionRefusedError() | TimeoutError():
            return silent(url)
        case ConnectionResetError() | BrokenPipeError():
            return problem("closed", url, "the broker has closed the connection")
        case _:
            return problem("unreachable", url, error.strerror or str(error))
