"""A folder of signed envelopes, NAME/VERSION.json each, byte for byte as they were signed. Verifies no signature."""

import re
from pathlib import Path
from typing import TypeVar

from skerry_agent.wire import codec
from skerry_agent.wire.envelope import Envelope
from skerry_agent.wire.errors import WireError
from skerry_agent.wire.names import MODEL_PATTERN, VERSION_PATTERN, split_release
from skerry_host.release.errors import ReleaseError, StoreError

T = TypeVar("T")


class SignedFiles:
    """Those of one folder, which need not be there yet."""

    __slots__ = ("_folder",)

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, name: str) -> Path:
        """Where the envelope of `name@version` lies, or would; raises `ReleaseError` where that is no such name."""
        try:
            folder, version = split_release(name)
        except WireError as error:
            raise ReleaseError(error.message, code=error.code) from None
        return self._folder / folder / f"{version}.json"

    def names(self) -> list[str]:
        """`name@version` of all, in no order; what is called otherwise is none of them."""
        found = [(path.parent.name, path.name.removesuffix(".json")) for path in self._folder.glob("*/*.json")]
        return [
            f"{n}@{version}"
            for n, version in found
            if re.match(MODEL_PATTERN, n) and re.match(VERSION_PATTERN, version)
        ]

    def read(self, name: str) -> bytes | None:
        """The exact bytes; None where there is none of that name. Raises `ReleaseError`, `StoreError`."""
        path = self.path(name)
        try:
            return path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StoreError(f"cannot read {path}: {error.strerror}") from None

    def payload(self, name: str, raw: bytes, kind: type[T]) -> T:
        """What was signed in the bytes of `name`; raises `StoreError` where they are damaged."""
        try:
            return codec.decode(codec.decode(raw, Envelope).payload, kind)
        except WireError as error:
            raise StoreError(f"{self.path(name)} is damaged: {error.message}", code="damaged") from None
