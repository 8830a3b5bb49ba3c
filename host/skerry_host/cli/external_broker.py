"""The options of `skerry serve` for a broker that runs elsewhere, and what they come to. Opens no connection."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from msgspec import Struct

from skerry_host.cli.common import warn

if TYPE_CHECKING:
    from skerry_host.plane.broker.connection import Connection

_F = TypeVar("_F", bound=Callable[..., Any])
_FILE = click.Path(path_type=Path, dir_okay=False)

_OPTIONS = (
    click.option("--broker", metavar="URL", help="Use this broker instead of starting one: mqtt(s)://HOST[:PORT]"),
    click.option(
        "--broker-credentials",
        type=_FILE,
        metavar="FILE",
        help="USER:PASSWORD for --broker, on one line, mode 0600 [$SKERRY_BROKER_CREDENTIALS].",
    ),
    click.option(
        "--broker-ca", type=_FILE, metavar="FILE", help="The authority of --broker's certificate [the system's]."
    ),
    click.option("--broker-cert", type=_FILE, metavar="FILE", help="The plane's certificate, if --broker wants one."),
    click.option("--broker-key", type=_FILE, metavar="FILE", help="The key of --broker-cert, mode 0600."),
    click.option(
        "--enroll-broker", metavar="URL", help="Where boards of --broker ask for an identity [no enrolment there]."
    ),
)


class ExternalBroker(Struct, frozen=True):
    """What these options say, by their names."""

    broker: str | None
    broker_credentials: Path | None
    broker_ca: Path | None
    broker_cert: Path | None
    broker_key: Path | None
    enroll_broker: str | None

    def connections(self) -> "tuple[Connection, Connection | None] | None":
        """The plane's ways to the broker and to its enrolment listener; None where the plane starts a broker itself.

        Raises `UsageError`, `AddressError`, `CredentialsError`.
        """
        if self.broker is None:
            self._require_none()
            return None
        return self._connection(self.broker, "--broker"), (
            self._connection(self.enroll_broker, "--enroll-broker") if self.enroll_broker else None
        )

    def _require_none(self) -> None:
        given = [name for name in self.__struct_fields__ if getattr(self, name) is not None]
        if given:
            raise click.UsageError(
                f"--{given[0].replace('_', '-')} is for a broker that runs elsewhere: give --broker URL"
            )

    def _connection(self, url: str, option: str) -> "Connection":
        from skerry_host.plane.broker.connection import Connection, credentials  # noqa: PLC0415 - keeps `--help` quick

        made = Connection.of(url)
        if made.username:
            instead = "put USER:PASSWORD into a file and give --broker-credentials FILE"
            warn([f"other users of this machine see the password in {option} (ps, /proc): {instead}"])
        if not made.url.tls and (self.broker_ca or self.broker_cert or self.broker_key):
            raise click.UsageError(f"certificates need TLS, and {option} is {made.url}: write mqtts://")
        user, password = credentials(self.broker_credentials) or (made.username, made.password)
        return Connection(made.url, user, password, self.broker_ca, self.broker_cert, self.broker_key)


def external_broker_options(command: _F) -> _F:
    """Give a command these options."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command
