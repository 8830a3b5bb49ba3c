"""The two local signing keys: `release` signs manifests, `director` signs each device's desired state.

Each is a PKCS#8 PEM file that only its owner may read. A folder of files is all that this module knows.
"""

import base64
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from skerry_host.files import write_new
from skerry_host.release.errors import KeyFileError
from skerry_host.release.sign import Ed25519Signer

KeyRole = Literal["release", "director"]
ROLES: tuple[KeyRole, ...] = get_args(KeyRole)


@dataclass(frozen=True, slots=True)
class KeyRing:
    """A signer for each role."""

    release: Ed25519Signer
    director: Ed25519Signer


def load_or_create(folder: Path) -> KeyRing:
    """The keys in `folder`, made first where they are missing. Raises `KeyFileError`, `OSError`."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for role in ROLES:
        if not _path(folder, role).exists():
            _generate(_path(folder, role))
    return KeyRing(load(folder, "release"), load(folder, "director"))


def load(folder: Path, role: KeyRole) -> Ed25519Signer:
    """The signer of one role; raises `KeyFileError` when its file is missing, not such a key, or open to others."""
    path = _path(folder, role)
    try:
        if path.stat().st_mode & 0o077:
            raise KeyFileError(f"the key {path} is readable by others", hint=f"run `chmod 600 {path}`")
        key = load_pem_private_key(path.read_bytes(), password=None)
    except FileNotFoundError:
        raise KeyFileError(f"there is no {role} key at {path}", hint="run `skerry init`") from None
    except OSError as error:
        raise KeyFileError(f"cannot read {path}: {error.strerror}") from None
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise KeyFileError(f"{path} is not a plain PEM private key: {str(error).splitlines()[0]}") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyFileError(f"{path} is not an ed25519 key", hint="move it away and run `skerry init`")
    return Ed25519Signer(key)


def trust_keys(folder: Path) -> dict[str, list[str]]:
    """What a device must trust: for each role the base64 of its raw public keys. Raises `KeyFileError`."""
    return {role: [base64.b64encode(load(folder, role).public).decode()] for role in ROLES}


def _generate(path: Path) -> None:
    pem = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    try:
        write_new(path, pem, mode=0o600)
    except FileExistsError:  # another process was first: its key is the key
        return


def _path(folder: Path, role: KeyRole) -> Path:
    return folder / f"{role}.pem"
