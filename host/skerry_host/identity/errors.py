"""What can be wrong with the fleet's certificate authority.

SkerryError
└── IdentityError   the authority, one of its keys or certificates cannot be made, read or used
    └── CsrError    somebody asked with a CSR that is refused
"""

from collections.abc import Iterator
from contextlib import contextmanager

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

from skerry_agent.wire.errors import SkerryError

DAMAGE = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)
"""What `cryptography` raises for bytes that are not what they are taken for; the last three are no `ValueError`."""


class IdentityError(SkerryError):
    """The authority, or one of its files, cannot be used."""

    code = "identity"


class CsrError(IdentityError):
    """A certificate signing request that is refused: it is the asker's mistake, and nothing is signed."""

    code = "csr"


@contextmanager
def disk_errors(cannot: str, hint: str = "") -> Iterator[None]:
    """What a disk refuses meanwhile is an `IdentityError` that says what cannot be done, and why."""
    try:
        yield
    except OSError as error:
        raise IdentityError(f"{cannot}: {error.strerror}", hint=hint, code="disk") from None
