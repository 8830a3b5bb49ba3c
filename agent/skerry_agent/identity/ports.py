"""What the identity's keeper needs of the supervisor: connections, a clock that can be corrected, and whom to tell."""

from collections.abc import Callable
from pathlib import Path
from typing import Literal, Protocol

from msgspec import Struct

from skerry_agent.ports.interfaces import Clock, Link

IdentityState = Literal["enrolled", "asking", "pending", "refused", "returning", "none"]


class IdentityStatus(Struct, frozen=True):
    """Who this device is to the host. `until`: its certificate's end, in seconds since 1970.

    `code` is what both sides show while somebody has to approve the board. `detail` says what hinders, and what to do.
    """

    state: IdentityState
    device: str = ""
    until: float | None = None
    code: str = ""
    detail: str = ""


class Credentials(Struct, frozen=True):
    """With what to connect. Without `check_time` the dates of certificates are not looked at.

    While it is `provisional`, the host still takes the device the old way.
    """

    client_id: str
    cert_file: Path
    key_file: Path
    check_time: bool = True
    provisional: bool = False


class Events(Struct, frozen=True):
    """What a connection tells, in the supervisor's thread. `down`: why there is none, as a kind and as text."""

    up: Callable[[], None]
    message: Callable[[str, bytes], None]
    down: Callable[[str, str], None]


class SecureLink(Link, Protocol):
    """A link over TLS."""

    def broker_dates(self) -> tuple[float, float] | None:
        """From when to when the certificate is valid that the broker has shown; None while there is no connection."""

    def stop(self) -> None:
        """End it without waiting; no event follows."""


class Connections(Protocol):
    """Makes connections, which come back by themselves. Unusable files are a reason why there is none, like any."""

    def operate(self, credentials: Credentials, events: Events) -> SecureLink:
        """Connect to the operation listener, in the place of the link that there is.

        The supervisor sees it closed until `release`.
        """

    def release(self) -> None:
        """Let the supervisor use the link from now on."""

    def enrol(self, credentials: Credentials, events: Events) -> SecureLink:
        """Connect to the enrolment listener."""


class HostClock(Clock, Protocol):
    """A clock that believes the host where its own time is wrong."""

    def system_wall(self) -> float:
        """Seconds since 1970, as the board's own clock has it: TLS goes by that."""

    def host_says(self, wall: float) -> None:
        """The host's time, of now, verified."""


class Owner(Protocol):
    """The supervisor."""

    def named(self, device: str, incarnation: str) -> None:
        """The host calls this device so, and its orders name this state folder."""

    def link_up(self) -> None:
        """The link to the operation listener is there, and may be used."""

    def message(self, topic: str, payload: bytes) -> None:
        """A message that is none of the identity's."""

    def identity_changed(self) -> None:
        """There is something to show."""
