"""At which address the broker that the host starts is opened to other machines, and the password of the old way in.

Devices with identities need no password. Those of before come to the old listener, which is not encrypted: on loopback
it asks for nothing, elsewhere for the one that provisioning wrote into each agent.toml at the time.
"""

import base64
import hashlib
import ipaddress
import os
import secrets
import socket
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from skerry_agent.wire import broker_url
from skerry_agent.wire.errors import WireError
from skerry_host.files import write_atomic
from skerry_host.plane.errors import AddressError

AUTO = "auto"
USER = "skerry"
ITERATIONS = 101
"""As mosquitto_passwd has it; the password is random, so that nobody guesses it from its hash."""
ELSEWHERE = ("192.0.2.1", 9)
"""TEST-NET-1 (RFC 5737): asking which address would be used towards it sends nothing."""


@dataclass(frozen=True, slots=True)
class Opening:
    """An address of this machine beside loopback, and the password that the old listener asks for there."""

    address: str
    password: str = field(repr=False)


def opening(folder: Path, listen: str) -> Opening:
    """The opening at `listen`, or for `auto` at the address towards the default route; its password is in `folder`.

    Raises `AddressError` where this machine cannot be reached at it.
    """
    address = own_address(listen)
    file = folder / "password"
    if not file.exists():
        folder.mkdir(parents=True, exist_ok=True)
        write_atomic(file, secrets.token_urlsafe(24).encode(), mode=0o600)
    return Opening(address, file.read_text(encoding="ascii").strip())


def own_address(listen: str) -> str:
    """An IPv4 address of this machine that others can call; raises `AddressError` where `listen` names none."""
    found = outward_address() if listen == AUTO else listen
    example = outward_address() or "192.168.1.20"
    hint = f"give the address of this machine that devices call, for instance {example}"
    if found is None:
        raise AddressError("this machine has no address towards a network", hint=hint)
    try:
        parsed = ipaddress.IPv4Address(found)
    except ValueError:
        raise AddressError(f"--listen {found!r} is no IPv4 address", hint=hint) from None
    if parsed.is_unspecified or parsed.is_loopback:
        raise AddressError(f"--listen {found}: devices on other machines cannot call that", hint=hint)
    if not _is_own(found):
        raise AddressError(f"--listen {found}: this machine has no such address", hint=hint)
    return found


def outward_address() -> str | None:
    """The address of this machine towards its default route."""
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as probe:
        try:
            probe.connect(ELSEWHERE)
        except OSError:
            return None
        address = str(probe.getsockname()[0])
    return None if address.startswith(("127.", "0.")) else address


def only_this_machine(url: str) -> bool:
    """Whether an address of a broker leads back to whoever calls it."""
    try:
        host = broker_url.parse(url).host
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except (WireError, ValueError):
        return False


def write_password_file(folder: Path, opened: Opening) -> Path:
    """The file that holds the password's hash, as mosquitto reads it."""
    salt = os.urandom(12)
    digest = hashlib.pbkdf2_hmac("sha512", opened.password.encode(), salt, ITERATIONS)
    words = [base64.b64encode(part).decode() for part in (salt, digest)]
    file = folder / "passwords"
    write_atomic(file, f"{USER}:$7${ITERATIONS}${words[0]}${words[1]}\n".encode(), mode=0o600)
    return file


def _is_own(address: str) -> bool:
    with closing(socket.socket()) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
    return True
