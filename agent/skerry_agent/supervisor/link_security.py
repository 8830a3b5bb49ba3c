"""With what the link secures itself: whom it believes, and who it says that it is. Files are read at every connection.

So one that is renewed, or put right, is used by the next attempt. Decides nothing: whether a clock can be believed, and
which identity is the right one, is given.
"""

import ssl
from pathlib import Path

from msgspec import Struct

from skerry_agent import tls
from skerry_agent.supervisor.link_problems import UnusableError, problem
from skerry_agent.tls import TlsError, TlsFiles
from skerry_agent.wire.broker_url import BrokerUrl, parse_credentials
from skerry_agent.wire.errors import WireError


class LinkSecurity(Struct, frozen=True):
    """Files, each None where there is none; `check_time` is off while this device's clock cannot be right."""

    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    credentials_file: Path | None = None
    check_time: bool = True

    def context(self) -> ssl.SSLContext:
        """Raises `UnusableError` where a file is."""
        try:
            return tls.context(TlsFiles(self.ca_file, self.cert_file, self.key_file), check_time=self.check_time)
        except TlsError as error:
            raise UnusableError(problem(error.kind, error.detail)) from None

    def credentials(self, address: BrokerUrl) -> tuple[str | None, str | None]:
        """User and password: of the file, else of the address. Raises `UnusableError`."""
        if self.credentials_file is None:
            return address.username, address.password
        try:
            text = tls.read_private(self.credentials_file, "unusable_credentials")
            return parse_credentials(text.decode())
        except TlsError as error:
            raise UnusableError(problem(error.kind, error.detail)) from None
        except (WireError, UnicodeDecodeError):
            detail = f"{self.credentials_file} does not hold a user and a password"
            raise UnusableError(problem("unusable_credentials", detail)) from None


NOTHING = LinkSecurity()
"""The system's authorities, and nothing shown: for a broker that asks for nothing, or whose address has it all."""
