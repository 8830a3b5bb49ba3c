"""The fleet's authority that a device pins, and its backup copy: damage to that one file must not cut a device off.

A copy is kept as of agent.toml and trust.json (`backup_copies`). TLS reads files, so a copy that is used becomes one.
"""

import contextlib
import ssl
from pathlib import Path

from skerry_agent import tls
from skerry_agent.state import backup_copies
from skerry_agent.state.disk import write_private
from skerry_agent.tls import TlsError
from skerry_agent.wire.errors import SkerryError


class AuthorityError(SkerryError):
    """The file holds no certificate of an authority."""

    code = "unusable_authority"


def usable_authority(path: Path, state: Path) -> tuple[Path, str | None]:
    """The file to pin, and what is wrong with `path` where that is another. Keeps a copy of one that is good."""
    try:
        copy = backup_copies.find(path, [state])
        content, issue = backup_copies.choose(path, copy, _checked)
    except (OSError, AuthorityError):  # and no copy: the link says why there is no connection
        return path, None
    if issue is None:
        with contextlib.suppress(OSError):  # a disk that takes nothing: the file itself is whole
            backup_copies.keep(path, state, _checked)
        return path, None
    good = state / backup_copies.FOLDER / f"{path.name}.good"
    try:
        write_private(good, content)
    except OSError as error:
        return path, f"{path} is damaged, and its copy cannot be used: {error.strerror}"
    return good, issue


def _checked(raw: bytes) -> bytes:
    """Raises `AuthorityError` for what TLS would not take, and for anything that is no text: it was damaged."""
    if not raw.isascii():
        raise AuthorityError("it holds no certificate in PEM")
    try:
        tls.believe(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), raw, "it")
    except TlsError as error:
        raise AuthorityError(error.detail) from None
    return raw
