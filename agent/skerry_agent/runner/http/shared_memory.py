"""System shared memory of the Open Inference Protocol: tensors that a local client leaves in /dev/shm.

Format: Triton's extension_shared_memory.md. Only for clients on the Unix socket, because only there the kernel says who
asks: a region must be a file of that user's (or the user is root), so that nobody reads or changes another's memory
through this process. A region is a name and a place, no open file: each use opens it anew and copies by pread and
pwrite. So a region that its owner shrinks is an error and not a SIGBUS, one that is unlinked is gone, and nothing is
left behind. What is registered is kept in a memory file that runners inherit: a release that takes over knows it too.
"""

import fcntl
import os
import re
import stat
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
from msgspec import Struct

from skerry_agent.runner.http.messages import RequestError
from skerry_agent.runner.tensor import Data
from skerry_agent.wire.codec import encode

FOLDER = Path("/dev/shm")  # noqa: S108 - where POSIX has it
MAX_REGIONS = 256
MAX_BYTES = 1 << 40
_KEY = re.compile(r"/?(?!\.{1,2}$)[^/\0]{1,255}")
_NAME = re.compile(r"[^\0]{1,256}")


class Place(Struct):
    """The body of a registration: a POSIX shared memory object, and which part of it."""

    key: str
    byte_size: int
    offset: int = 0


class Region(Struct, frozen=True):
    """A registered region, and whose it is."""

    uid: int
    name: str
    key: str
    offset: int
    byte_size: int


class Span(Struct, frozen=True):
    """A part of a region, checked against it."""

    region: Region
    offset: int
    byte_size: int


class Regions:
    """The regions of all users. `store` is the descriptor of a memory file that other runners share."""

    def __init__(self, store: int, folder: Path = FOLDER) -> None:
        self._store, self._folder = store, folder
        self._changing = threading.Lock()
        self._known: tuple[bytes, dict[tuple[int, str], Region]] = b"", {}

    @property
    def version(self) -> object:
        """Another object whenever the regions have changed, whoever changed them."""
        self._all()
        return self._known[0]

    def register(self, uid: int, name: str, body: Data) -> None:
        """Remember a region, in place of one of the same name. Raises `RequestError` (400) if it cannot be used."""
        try:
            place = msgspec.json.decode(body, type=Place)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise RequestError(400, f"region: {error}") from None
        if _NAME.fullmatch(name) is None:
            raise RequestError(400, "the region's name is longer than 256 characters, or empty")
        if _KEY.fullmatch(place.key) is None:
            raise RequestError(400, f"region {name}: key {place.key[:80]!r} is no name of shared memory")
        region = Region(uid, name, place.key.removeprefix("/"), place.offset, place.byte_size)
        if not (0 <= region.offset <= MAX_BYTES and 0 < region.byte_size <= MAX_BYTES):
            raise RequestError(400, f"region {name}: offset {place.offset} or byte_size {place.byte_size} is no size")
        os.close(self._open(region, os.O_RDWR))
        with self._alone():
            regions = self._read() | {(uid, name): region}
            if len(regions) > MAX_REGIONS:
                raise RequestError(400, f"there are {MAX_REGIONS} regions already: unregister some")
            self._save(regions.values())

    def unregister(self, uid: int, name: str | None) -> None:
        """Forget a region of a user, or all of his; one that is not there is forgotten already."""
        with self._alone():
            self._save([one for one in self._read().values() if one.uid != uid or name not in {None, one.name}])

    def status(self, uid: int, name: str | None) -> list[dict[str, object]]:
        """A user's regions as the protocol lists them. Raises `RequestError` (400) for a name that is not there."""
        if name is not None:
            self._find(uid, name)
        mine = [one for one in self._all().values() if one.uid == uid and name in {None, one.name}]
        return [{"name": o.name, "key": f"/{o.key}", "offset": o.offset, "byte_size": o.byte_size} for o in mine]

    def span(self, uid: int, name: object, offset: object, byte_size: object) -> Span:
        """A part of a region. Raises `RequestError` (400) where it is not within it."""
        region = self._find(uid, name)
        if not (type(offset) is int and type(byte_size) is int and offset >= 0 and byte_size >= 0):
            raise RequestError(400, f"region {name}: offset {offset} or byte_size {byte_size} is no size")
        if offset + byte_size > region.byte_size:
            raise RequestError(400, f"region {name} has {region.byte_size} bytes, not {offset} + {byte_size}")
        return Span(region, offset, byte_size)

    def read(self, span: Span) -> bytes:
        """The bytes of a part. Raises `RequestError` (400) when they are not there any more."""
        file = self._open(span.region, os.O_RDONLY)
        try:
            data = os.pread(file, span.byte_size, span.region.offset + span.offset)
        finally:
            os.close(file)
        if len(data) != span.byte_size:
            raise _shrunk(span.region)
        return data

    def write(self, span: Span, data: Data) -> None:
        """Put bytes at the beginning of a part. Raises `RequestError` (400) when it is not there any more."""
        file = self._open(span.region, os.O_WRONLY)
        try:
            written = os.pwrite(file, data, span.region.offset + span.offset)
        except OSError as error:
            raise RequestError(400, f"region {span.region.name}: {error.strerror}") from None
        finally:
            os.close(file)
        if written != len(data):  # pages that were never touched do not exist until then
            raise RequestError(400, f"region {span.region.name}: there is no memory left for it")

    def _open(self, region: Region, mode: int) -> int:
        """The region's file, which is the user's own and as long as it says. Raises `RequestError` (400)."""
        try:
            file = os.open(f"{self._folder}/{region.key}", mode | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            raise RequestError(400, f"region {region.name}: {region.key}: {error.strerror}") from None
        found = os.fstat(file)
        if stat.S_ISREG(found.st_mode) and region.uid in {0, found.st_uid}:
            if found.st_size >= region.offset + region.byte_size:
                return file
            os.close(file)
            raise _shrunk(region)
        os.close(file)
        raise RequestError(400, f"region {region.name}: {region.key} is not shared memory of the user who asks")

    def _find(self, uid: int, name: object) -> Region:
        region = self._all().get((uid, name)) if isinstance(name, str) else None
        if region is None:
            raise RequestError(400, f"no region {str(name)[:80]} is registered")
        return region

    def _all(self) -> dict[tuple[int, str], Region]:
        """Every region, also those that a runner before this one has registered."""
        if os.pread(self._store, len(self._known[0]) + 1, 0) == self._known[0]:
            return self._known[1]
        with self._alone():
            return self._read()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """While no other thread, and no other runner of this model, reads anew or changes what is registered."""
        with self._changing:
            fcntl.lockf(self._store, fcntl.LOCK_EX)
            try:
                yield
            finally:
                fcntl.lockf(self._store, fcntl.LOCK_UN)

    def _read(self) -> dict[tuple[int, str], Region]:
        raw = os.pread(self._store, os.fstat(self._store).st_size, 0)
        if raw != self._known[0]:
            try:
                regions = msgspec.json.decode(raw, type=list[Region])
            except msgspec.DecodeError:  # a runner was killed while it wrote: clients register again
                regions = []
            self._known = raw, {(region.uid, region.name): region for region in regions}
        return self._known[1]

    def _save(self, regions: Iterable[Region]) -> None:
        raw = encode(list(regions))
        os.pwrite(self._store, raw, 0)
        os.ftruncate(self._store, len(raw))


def _shrunk(region: Region) -> RequestError:
    wanted = region.offset + region.byte_size
    return RequestError(400, f"region {region.name}: {region.key} is shorter than {wanted} bytes")
