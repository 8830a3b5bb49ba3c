"""What can be wrong with releases.

SkerryError
└── ReleaseError      a release cannot be made, found or read
├── StoreError    what the store holds is missing or damaged
└── KeyFileError  a signing key cannot be used
"""

from skerry_agent.wire.errors import SkerryError


class ReleaseError(SkerryError):
    """A release that cannot be made or found: the user's mistake."""

    code = "release"
    exit_code = 2


class StoreError(ReleaseError):
    """The store lacks something, or what it holds is damaged."""

    code = "store"
    exit_code = 1


class KeyFileError(ReleaseError):
    """A signing key is missing, unreadable, or readable by others."""

    code = "key"
