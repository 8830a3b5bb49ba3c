"""What can be wrong with the running host.

SkerryError
└── PlaneError          the host plane cannot do what was asked
    ├── BrokerError     no broker could be started
    │   ├── AddressError    not a valid broker address: the user's mistake
    │   └── CredentialsError    no user and password where they should be, or others may read them: likewise
    ├── LinkError       the connection to the broker is refused or lost
    ├── RegistryError   the registry cannot be opened or migrated
    │   └── RegistryUrlError    not a database URL that a registry can be at: the user's mistake
    ├── BackupError     a backup cannot be made, read or restored
    │   ├── BackupPlaceError   where a backup or a home must not be written: the user's mistake
    │   └── PassphraseError    none, a wrong one, or one that protects nothing: the user's mistake
    ├── FolderError     what a board is to be given cannot be written
    ├── DurationError   not a length of time, or none that works: the user's mistake
    └── UnknownError    a device, group or rollout that the registry does not have: the user's mistake
"""

from skerry_agent.wire.errors import SkerryError


class PlaneError(SkerryError):
    """The host plane cannot do what was asked."""

    code = "plane"


class BrokerError(PlaneError):
    """A broker cannot be started."""

    code = "broker"


class FolderError(PlaneError):
    """What a board is to be given cannot be written."""

    code = "folder"


class AddressError(BrokerError):
    """Not a valid broker address."""

    code = "address"
    exit_code = 2


class CredentialsError(BrokerError):
    """No user and password where they should be, or others than their owner may read them."""

    code = "credentials"
    exit_code = 2


class LinkError(PlaneError):
    """The broker refuses the connection, or it was lost."""

    code = "link"


class RegistryError(PlaneError):
    """The registry cannot be opened or brought to this release's schema."""

    code = "registry"


class RegistryUrlError(RegistryError):
    """Not a database URL that a registry can be at."""

    code = "registry_url"
    exit_code = 2


class BackupError(PlaneError):
    """A backup cannot be made, read or restored."""

    code = "backup"


class BackupPlaceError(BackupError):
    """A backup must not be written there, or a home not be restored there."""

    code = "place"
    exit_code = 2


class PassphraseError(BackupError):
    """The passphrase is missing, wrong, too short, or lies where others can read it."""

    code = "passphrase"
    exit_code = 2


class DurationError(PlaneError):
    """Not a length of time, or none that works for what it is given for."""

    code = "duration"
    exit_code = 2


class UnknownError(PlaneError):
    """Something is named that the registry does not have, or has already."""

    code = "unknown"
    exit_code = 2
