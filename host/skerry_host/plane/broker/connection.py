"""How the plane comes to a broker: its address, and what it shows and believes there. Opens no connection.

A user and password come from a file or the environment, so that neither a command line nor `serve.json` has them; where
an address names them all the same they are taken from it, once.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from skerry_agent import tls
from skerry_agent.tls import TlsError, TlsFiles
from skerry_agent.wire import broker_url
from skerry_agent.wire.broker_url import BrokerUrl
from skerry_agent.wire.errors import WireError
from skerry_host.plane.errors import AddressError, CredentialsError

CREDENTIALS = "SKERRY_BROKER_CREDENTIALS"
"""The environment's variable with USER:PASSWORD."""


@dataclass(frozen=True, slots=True)
class Connection:
    """An address, and with what to come to it: by password, by certificate, or neither."""

    url: BrokerUrl
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None

    @classmethod
    def of(cls, url: str) -> Self:
        """By the address alone; raises `AddressError`."""
        parsed = address(url)
        return cls(parsed, parsed.username, parsed.password)

    @property
    def files(self) -> TlsFiles:
        """What TLS is made of."""
        return TlsFiles(self.ca, self.cert, self.key)


def address(url: str) -> BrokerUrl:
    """The parts of a broker's address; raises `AddressError` that shows the form, and never a password."""
    try:
        return broker_url.parse(url)
    except WireError as error:
        raise AddressError(error.message, hint=error.hint) from None


def credentials(file: Path | None, environment: Mapping[str, str] = os.environ) -> tuple[str, str] | None:
    """User and password of a file, else of the environment; None where there are none. Raises `CredentialsError`."""
    where, text = f"${CREDENTIALS}", environment.get(CREDENTIALS) or None
    try:
        if file is not None:
            where, text = str(file), tls.read_private(file, "unusable_credentials").decode()
        return broker_url.parse_credentials(text) if text is not None else None
    except TlsError as error:
        raise CredentialsError(error.detail, hint=HINT) from None
    except (WireError, UnicodeDecodeError):
        raise CredentialsError(f"{where} does not hold a user and a password", hint=HINT) from None


HINT = "write USER:PASSWORD into a file, on one line, with mode 0600, and give --broker-credentials FILE"
