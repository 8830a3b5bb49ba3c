"""Who may use a model's inference API over TCP, as agent.toml says: the supervisor passes it to runners. Pure.

On a Unix socket the mode of the socket says who may, and nothing of this counts.
"""

import contextlib
import socket
from collections.abc import Iterator

from msgspec import Struct


class ApiAccess(Struct, frozen=True):
    """`names` are hosts beside loopback that a request may name; `addresses`: any address, too: none can be rebound.

    Without `check_host` all are taken. The files are those of the certificate, its key, and the token.
    """

    names: tuple[str, ...] = ()
    addresses: bool = False
    check_host: bool = True
    tls_cert: str | None = None
    tls_key: str | None = None
    token_file: str | None = None


class AccessSettings(Struct, frozen=True):
    """What a section of agent.toml says of it. `insecure` None: nothing, as in files from before it was asked."""

    host: str
    tls_cert: str | None = None
    tls_key: str | None = None
    token_file: str | None = None
    insecure: bool | None = None

    @property
    def is_open(self) -> bool:
        """Whether other machines can connect, of whom not all is asked that should be."""
        guarded = self.tls_cert and self.tls_key and self.token_file
        return not is_loopback(self.host) and not guarded

    @property
    def check_host(self) -> bool:
        """Not where a file from before the check opens the API to others: they may use any name, and go on to."""
        return not (self.is_open and self.insecure is None)

    def errors(self) -> Iterator[str]:
        """What cannot be meant so."""
        if bool(self.tls_cert) != bool(self.tls_key):
            yield "tls_cert and tls_key belong together: give both, or none"
        said = self.tls_cert or self.token_file or self.insecure is not None
        if self.is_open and said and not self.insecure:
            yield f"{OPEN}: give tls_cert, tls_key and token_file, or say insecure = true"

    def issue(self) -> str | None:
        """What is wrong with what is meant so."""
        if not self.is_open:
            return None
        if self.insecure:
            return f"{OPEN}, as insecure = true allows"
        return f"{OPEN}, and takes any Host: give tls_cert, tls_key and token_file, or say insecure = true"


OPEN = "other machines can use the inference API without TLS, or without a token"


_LOOPBACK_V4, _LOOPBACK_V6 = b"\x7f", bytes(15) + b"\x01"
_MAPPED = bytes(10) + b"\xff\xff"


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches what listens there."""
    if host.lower().rstrip(".") in {"localhost", "ip6-localhost"}:
        return True
    packed = as_address(host) or b""
    packed = packed.removeprefix(_MAPPED) if len(packed) > 4 else packed
    return packed == _LOOPBACK_V6 or (len(packed) == 4 and packed.startswith(_LOOPBACK_V4))


def as_address(host: str) -> bytes | None:
    """The address that a host is written as, packed; None for a name. Of `ipaddress` the supervisor has no need."""
    for family in (socket.AF_INET, socket.AF_INET6):
        with contextlib.suppress(OSError, ValueError):
            return socket.inet_pton(family, host.strip("[]"))
    return None
