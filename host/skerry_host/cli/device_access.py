"""How a device that is provisioned comes to its broker: by which address, and with which credentials of its own."""

from dataclasses import replace
from pathlib import Path

from skerry_host.cli.common import warn
from skerry_host.home import Home
from skerry_host.plane import provision as provisioning
from skerry_host.plane.broker.connection import Connection
from skerry_host.plane.broker.connection import credentials as user_and_password

HINT = "put the device's own USER:PASSWORD into a file, and give --credentials FILE"


def device_access(home: Home, name: str, broker: str | None, credentials: Path | None) -> Connection:
    """What its folder says, in which the plane's user and password never are.

    Raises `AddressError`, `CredentialsError`.
    """
    addresses = provisioning.addresses_of(home)
    made = Connection.of(broker or addresses.broker)
    if made.username:
        warn([f"other users of this machine see the password in --broker (ps, /proc): {HINT}"])
    if found := user_and_password(credentials, {}):
        return replace(made, username=found[0], password=found[1])
    if broker is None and addresses.password:
        warn([f"the broker asked the plane for a password, so it may refuse {name}, which has none: {HINT}"])
    return made
