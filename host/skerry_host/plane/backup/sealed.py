"""The seal of a backup: a stream of bytes that only a passphrase opens, and in which nothing can be changed.

    "skerry-backup" and a line feed, version (1 byte), log2 of scrypt's N (1 byte), salt (16 bytes), check (16 bytes),
    chunk, chunk, ...

scrypt (RFC 7914; r = 8, p = 1) makes 64 bytes of passphrase and salt: the key of the chunks, and that of the check. The
check is the first half of HMAC-SHA256 over what stands before it, and tells a wrong passphrase from damage. A chunk is
AES-256-GCM of up to 64 KiB with its tag of 16 bytes. Its nonce is its number (11 bytes, big endian) and one byte that
is 1 for the last chunk, so that chunks cannot be exchanged, left out or cut off. That is STREAM (Hoang, Reyhanitabar,
Rogaway, Vizár 2015) in the form of age-encryption.org/v1, with AES-GCM. The salt is new for each file, and so are its
keys: no nonce comes twice.

Knows nothing of what is inside, and needs a few chunks of memory however long it is.
"""

import hmac
import io
import os
import unicodedata
from dataclasses import dataclass
from typing import IO, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from skerry_host.plane.errors import BackupError, PassphraseError

MAGIC = b"skerry-backup\n"
VERSION = 1
CHUNK_BYTES = 64 * 1024
TAG_BYTES = 16
SALT_BYTES = 16
CHECK_BYTES = 16
PLAIN_BYTES = len(MAGIC) + 2 + SALT_BYTES
HEADER_BYTES = PLAIN_BYTES + CHECK_BYTES
WORK = 17
"""log2 of scrypt's N: 128 MiB of memory and some tenths of a second for each passphrase that somebody tries."""
MOST_WORK = 18
"""256 MiB: a file from elsewhere may not ask for more."""


class Sink(Protocol):
    """Where sealed bytes go."""

    def write(self, data: bytes, /) -> object:
        """Take them all, or raise `OSError`."""


@dataclass(frozen=True, slots=True)
class _Keys:
    chunks: AESGCM
    check: bytes


class Sealer(io.RawIOBase):
    """Seals what is written to it; `close` writes the last chunk, without which nobody takes it for complete."""

    def __init__(self, sink: Sink, passphrase: str, work: int = WORK) -> None:
        header = MAGIC + bytes([VERSION, work]) + os.urandom(SALT_BYTES)
        self._keys = _derive(passphrase, header)
        self._sink, self._number, self._waiting = sink, 0, bytearray()
        self._open = True
        sink.write(header + _check(self._keys, header))

    def writable(self) -> bool:
        """Yes."""
        return True

    def write(self, data: object) -> int:
        """Take all of it."""
        view = memoryview(data)  # type: ignore[arg-type]
        self._waiting += view
        while len(self._waiting) > CHUNK_BYTES:  # a full one may still be the last
            self._put(bytes(self._waiting[:CHUNK_BYTES]), last=False)
            del self._waiting[:CHUNK_BYTES]
        return view.nbytes

    def finish(self) -> None:
        """Write the last chunk. What is only closed, because something failed, stays incomplete."""
        if self._open:
            self._put(bytes(self._waiting), last=True)
            self._open = False

    def _put(self, chunk: bytes, *, last: bool) -> None:
        self._sink.write(self._keys.chunks.encrypt(_nonce(self._number, last=last), chunk, None))
        self._number += 1


class Opener(io.RawIOBase):
    """Reads what was sealed. Gives no byte that was not checked; the end is reached only where the last chunk is.

    Raises `BackupError` where it is no backup, of a newer Skerry or damaged, and `PassphraseError`.
    """

    def __init__(self, source: IO[bytes], passphrase: str, name: str) -> None:
        self._source, self._name = source, name
        self._keys = self._opened(passphrase)
        self._number, self._given, self._ready = 0, 0, memoryview(b"")
        self._next = source.read(CHUNK_BYTES + TAG_BYTES)
        self._last = False

    def readable(self) -> bool:
        """Yes."""
        return True

    def readinto(self, buffer: object) -> int:
        """As much as one chunk has left."""
        if not self._ready and not self._last:
            self._ready = memoryview(self._chunk())
        view = memoryview(buffer)  # type: ignore[arg-type]
        part = self._ready[: view.nbytes]
        view[: len(part)] = part
        self._ready = self._ready[len(part) :]
        return len(part)

    def _chunk(self) -> bytes:
        sealed, self._next = self._next, self._source.read(CHUNK_BYTES + TAG_BYTES)
        self._last = not self._next
        try:
            chunk = self._keys.chunks.decrypt(_nonce(self._number, last=self._last), sealed, None)
        except (InvalidTag, ValueError):
            where = f"behind {self._given} bytes of its content"
            raise BackupError(f"{self._name} is damaged or cut off {where}", hint=ANOTHER, code="damaged") from None
        self._number += 1
        self._given += len(chunk)
        return chunk

    def _opened(self, passphrase: str) -> _Keys:
        header = self._source.read(HEADER_BYTES)
        if not header.startswith(MAGIC):
            raise BackupError(
                f"{self._name} is no backup of Skerry's", hint="`skerry backup FILE` makes one", code="format"
            )
        if len(header) < HEADER_BYTES:
            raise BackupError(f"{self._name} is cut off", hint=ANOTHER, code="damaged")
        version, work = header[len(MAGIC)], header[len(MAGIC) + 1]
        if version != VERSION:
            hint = "restore it with the Skerry that made it, or a later one"
            raise BackupError(f"{self._name} is of version {version} of the format", hint=hint, code="format")
        if not 1 <= work <= MOST_WORK:
            raise BackupError(f"the header of {self._name} is damaged", hint=ANOTHER, code="damaged")
        plain, check = header[:PLAIN_BYTES], header[PLAIN_BYTES:]
        keys = _derive(passphrase, plain)
        if not hmac.compare_digest(_check(keys, plain), check):
            hint = "give the one that it was made with"
            raise PassphraseError(f"the passphrase of {self._name} is wrong, or its header is damaged", hint=hint)
        return keys


ANOTHER = "use another copy of it"


def looks_like_one(beginning: bytes) -> bool:
    """Whether a file that begins so is a backup, whole or not."""
    return beginning.startswith(MAGIC)


def _derive(passphrase: str, header: bytes) -> _Keys:
    """The keys of a file with this header. A passphrase is the same however its accents were typed (NFC)."""
    words = unicodedata.normalize("NFC", passphrase).encode()
    scrypt = Scrypt(salt=header[-SALT_BYTES:], length=64, n=1 << header[len(MAGIC) + 1], r=8, p=1)
    made = scrypt.derive(words)
    return _Keys(AESGCM(made[:32]), made[32:])


def _check(keys: _Keys, header: bytes) -> bytes:
    return hmac.digest(keys.check, header, "sha256")[:CHECK_BYTES]


def _nonce(number: int, *, last: bool) -> bytes:
    return number.to_bytes(11, "big") + bytes([last])
