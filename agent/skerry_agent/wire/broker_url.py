"""The address of a broker, `mqtt(s)://[USER[:PASSWORD]@]HOST[:PORT]`: the one parser, for the agent and the host. Pure.

User and password are percent-decoded, because a password may hold what ends one in a URL. What is said of an address
that is none, and what an address shows of itself, never has the user or the password in it.
"""

import ipaddress
import re
from typing import Literal
from urllib.parse import SplitResult, unquote, urlsplit

from msgspec import Struct

from skerry_agent.wire.errors import WireError

PORTS = {"mqtt": 1883, "mqtts": 8883}
"""The schemes, each with the port that is meant where none is said."""

MAX_CHARS = 2048
FORM = "write mqtt://HOST:1883 or mqtts://HOST:8883"
_ENCODED = "in a user or password, %40 stands for @, %2F for /, %3A for :, %23 for #, %3F for ? and %25 for %"
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*\Z", re.IGNORECASE)
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")


class BrokerUrl(Struct, frozen=True):
    """A parsed address. Its text is the one without user and password."""

    scheme: Literal["mqtt", "mqtts"]
    host: str
    port: int
    username: str | None = None
    password: str | None = None

    @property
    def tls(self) -> bool:
        """Whether the connection is encrypted."""
        return self.scheme == "mqtts"

    @property
    def place(self) -> str:
        """`HOST:PORT`, an IPv6 address in brackets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.place}"

    def __repr__(self) -> str:
        return f"BrokerUrl({self!s})"


def parse(url: str) -> BrokerUrl:
    """The parts of an address; raises `WireError` (`broker_url`) that names what is wrong and shows the form."""
    if issue := _issue_of_text(url):
        raise _refused(url, issue)
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:  # its words may quote a part of the password
        raise _refused(url, _unparsed(url)) from None
    if issue := _issue_of_parts(parts, port):
        raise _refused(url, issue)
    host = _host(parts.hostname or "", bracketed="[" in parts.netloc.rpartition("@")[2])
    if host is None:
        raise _refused(url, "its host is not a name or an address")
    username, password = _decoded(url, parts.username), _decoded(url, parts.password)
    if password and not username:
        raise _refused(url, "it has a password without a user")
    scheme: Literal["mqtt", "mqtts"] = "mqtts" if parts.scheme == "mqtts" else "mqtt"
    return BrokerUrl(scheme, host, port or PORTS[scheme], username or None, password if username else None)


def without_password(url: str) -> str:
    """What may be shown of an address, also where it is none: the scheme, and what is behind user and password."""
    scheme, separator, rest = url.partition("://")
    if not separator:
        return url.rpartition("@")[2]
    shown = rest.rpartition("@")[2]
    return f"{scheme}://{shown}" if _SCHEME.match(scheme) else shown


def parse_credentials(text: str) -> tuple[str, str]:
    """(user, password) of a file's `USER:PASSWORD`, as they are; raises `WireError` (`broker_credentials`)."""
    user, colon, password = text.removesuffix("\n").removesuffix("\r").partition(":")
    if user and colon and password and user.isprintable() and not set(password) & set("\0\r\n"):
        return user, password
    raise WireError("broker credentials", ["one line is needed: USER:PASSWORD"], code="broker_credentials")


def has_password(url: str) -> bool:
    """Whether an address names a user or a password, also where it is none that can be used."""
    return "@" in url


def _refused(url: str, issue: str) -> WireError:
    """Without what is between a colon and the end where that is no port: it may be a password that lacks its host."""
    shown = re.sub(r":(?![0-9]{1,5}/?$|//)[^\]]*$", ":...", without_password(url))
    return WireError(f"broker address {shown[:80]!r}", [issue], hint=FORM, code="broker_url")


def _unparsed(url: str) -> str:
    return "its host or port does not parse; " + (
        _ENCODED if has_password(url) else "an IPv6 address needs brackets: [::1]"
    )


def _issue_of_text(url: str) -> str | None:
    if len(url) > MAX_CHARS:
        return f"it is longer than {MAX_CHARS} characters"
    if not url.isprintable() or " " in url:
        return "it has a space or a control character in it"
    return None


def _issue_of_parts(parts: SplitResult, port: int | None) -> str | None:
    if parts.scheme not in PORTS:
        return "its scheme is neither mqtt nor mqtts"
    if not parts.hostname:
        return "it names no host"
    if port == 0:
        return "its port is 0"
    if parts.path not in {"", "/"} or parts.query or parts.fragment:
        return f"it goes on behind host and port; {_ENCODED}"
    return None


def _host(written: str, *, bracketed: bool) -> str | None:
    """A name, an IPv4 or an IPv6 address (which may have a zone, `%25eth0` in a URL); None where it is neither."""
    host = unquote(written) if bracketed else written
    try:
        if bracketed:
            return str(ipaddress.IPv6Address(host))
        host.encode("idna")
    except ValueError:
        return None
    return host if re.fullmatch(r"[\w.-]+", host) else None


def _decoded(url: str, part: str | None) -> str | None:
    if part is None or _BAD_ESCAPE.search(part):  # written by someone who did not encode it: taken as it is
        return part
    try:
        text = unquote(part, errors="strict")
    except UnicodeDecodeError:
        raise _refused(url, f"its user or password is not UTF-8 when decoded; {_ENCODED}") from None
    if "\0" in text:
        raise _refused(url, "its user or password has a zero character in it")
    return text
