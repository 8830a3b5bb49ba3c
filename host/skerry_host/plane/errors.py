"""What can be wrong with the running host.

SkerryError
└── PlaneError          the host plane cannot do what was asked
    ├── BrokerError     no broker could be started
    │   └── AddressError    what should be a broker's address is none: the user's mistake
    ├── LinkError       the connection to the broker is refused or lost
    ├── RegistryError   the registry cannot be opened or migrated
    └── UnknownError    a device, group or rollout that the registry does not have: the user's mistake
"""

from skerry_agent.wire.errors import SkerryError


class PlaneError(SkerryError):
    """The host plane cannot do what was asked."""

    code = "plane"


class BrokerError(PlaneError):
    """A broker cannot be started."""

    code = "broker"


class AddressError(BrokerError):
    """An address that no broker can have."""

    code = "address"
    exit_code = 2


class LinkError(PlaneError):
    """The broker refuses the connection, or it was lost."""

    code = "link"


class RegistryError(PlaneError):
    """The registry cannot be opened or brought to this release's schema."""

    code = "registry"


class UnknownError(PlaneError):
    """Something is named that the registry does not have, or has already."""

    code = "unknown"
    exit_code = 2
