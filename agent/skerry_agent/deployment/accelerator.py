"""The accelerator of a board: what it is like now, whether it changed since it last worked, whether it is there.

An upgrade of the operating system may change driver, library or kernel, so that they do not fit any more. What is read
here is read from files, at once; what only the library can say is asked of a process, once a boot. Serves nothing:
`spare` does what follows.
"""

import contextlib
import hashlib
import os
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from msgspec.structs import replace

from skerry_agent.ports.edgetpu_devices import by_system
from skerry_agent.ports.interfaces import AcceleratorLook, Clock
from skerry_agent.state.accelerator import KnownAccelerator, read_known, write_known
from skerry_agent.state.disk import DiskError
from skerry_agent.wire.admission import Accelerator, changes

LIBRARY = "libedgetpu.so.1"
MODULES = ("gasket", "apex")
PACKAGE = "libedgetpu"
CHANGE_ISSUE_S = 600.0
"""How long it is said that it has changed, once it works again: the host may have been away."""

Answer = Callable[[AcceleratorLook], None]
Look = Callable[[Answer], None]


class NoAccelerator:
    """Of a board without one."""

    now: Accelerator | None = None

    @property
    def change(self) -> str:
        """What is another one than when it last worked; empty where nothing is, or it never did."""
        return ""

    @property
    def issue(self) -> str | None:
        """What the host is to know of it."""
        return None

    def begin(self) -> None:
        """Find out what can be found out in the background."""

    def look(self, answer: Answer) -> None:
        """Nothing is there."""
        answer(AcceleratorLook(problem="device_absent", detail="this board has no accelerator"))

    def present(self) -> tuple[str, ...]:
        """The devices that the kernel shows."""
        return ()

    def works(self) -> None:
        """A model serves there."""

    def fails(self, problem: str) -> None:
        """It cannot be used."""


class EdgeTpu(NoAccelerator):
    """Of a board with an Edge TPU. `changed` is called when there is something new to report."""

    def __init__(
        self, state: Path, clock: Clock, look: Look, changed: Callable[[], None], root: Path = Path("/")
    ) -> None:
        self._state, self._clock, self._look, self._changed, self._root = state, clock, look, changed, root
        self._known = KnownAccelerator()
        with contextlib.suppress(
            DiskError, OSError
        ):  # then nothing is known: no change is seen, and it is written anew
            self._known = read_known(state)
        self._boot = _text(root / "proc/sys/kernel/random/boot_id")
        self.now: Accelerator | None = read_tuple(root)
        self._changed_text, self._works_since = self.change, None if self.change else 0.0

    def begin(self) -> None:
        """Ask the library what it is, unless it was asked in this boot already."""
        asked, now = self._known.asked, self.now
        if asked is not None and now is not None and self._known.boot == self._boot and asked.library == now.library:
            self._now(runtime=asked.runtime)
        else:
            self.look(lambda _look: None)

    @property
    def change(self) -> str:
        """What is another one than when it last worked; empty where nothing is, or it never did."""
        good = self._known.good
        return changes(good, self.now) if good is not None and self.now is not None else ""

    @property
    def issue(self) -> str | None:
        """What has changed, until some time after it works again."""
        if not self._changed_text:
            return None
        since = self._works_since
        if since is not None and self._clock.monotonic() - since > CHANGE_ISSUE_S:
            return None
        after = "it works" if since is not None else "the cpu bundle serves until it is proven again"
        return f"accelerator_changed: {self._changed_text}; {after}"

    def look(self, answer: Answer) -> None:
        """Ask the library, in a process of its own, whether there is a device."""

        def looked(found: AcceleratorLook) -> None:
            self._now(runtime=found.runtime, problem=found.problem)
            self._keep(replace(self._known, asked=self.now, boot=self._boot))
            answer(found)

        self._look(looked)

    def present(self) -> tuple[str, ...]:
        """The devices that the kernel shows; none while it cannot tell."""
        try:
            return tuple(by_system(self._root))
        except OSError:
            return ()

    def works(self) -> None:
        """A model serves there: this is what it is like when it is good."""
        if self._works_since is None:
            self._works_since = self._clock.monotonic()
            self._clock.after(CHANGE_ISSUE_S + 1.0, self._changed)
        self._now(problem="")
        good = self.now
        if good != self._known.good:
            self._keep(replace(self._known, good=good))

    def fails(self, problem: str) -> None:
        """It cannot be used, for a reason that is a code of `wire.accelerators`."""
        self._now(problem=problem)

    def _now(self, **known: object) -> None:
        before = self.now
        self.now = replace(before or Accelerator(), **known)
        if self.now != before:
            self._changed()

    def _keep(self, known: KnownAccelerator) -> None:
        self._known = known
        with contextlib.suppress(OSError):  # a disk that takes nothing: the next start asks again
            write_known(self._state, known)


def read_tuple(root: Path = Path("/")) -> Accelerator:
    """What can be read at once: the library's file, the modules of the driver, the kernel."""
    versions = [version for name in MODULES if (version := _text(root / f"sys/module/{name}/version"))]
    kernel = _text(root / "proc/sys/kernel/osrelease") or os.uname().release
    return Accelerator(library=library(root), driver="/".join(dict.fromkeys(versions)), kernel=kernel)


def library(root: Path = Path("/"), places: Iterable[str] | None = None) -> str:
    """Libedgetpu in words: the Debian package that it comes from, and the beginning of its file's hash."""
    for place in places if places is not None else _places():
        path = root / place.lstrip("/") / LIBRARY
        if os.path.exists(path):  # noqa: PTH110 - a folder that may not be entered has none, and raises nothing
            name = _package(root) if place.startswith(("/usr/lib", "/lib")) else PACKAGE
            return f"{name} ({_short_hash(path)})"
    return ""


def _places() -> Iterator[str]:
    """Where the loader looks, as ld.so(8) has it; before the system's folders, where an image puts a driver."""
    yield from filter(None, os.environ.get("LD_LIBRARY_PATH", "").split(":"))
    yield "/opt/skerry-lib"
    triplet = f"{os.uname().machine}-linux-gnu"
    for folder in (f"lib/{triplet}", "lib64", "lib"):
        yield from (f"/usr/local/{folder}", f"/{folder}", f"/usr/{folder}")


def _package(root: Path) -> str:
    """Name and version of the installed package, read line by line: the file may have megabytes."""
    name = ""
    with contextlib.suppress(OSError), (root / "var/lib/dpkg/status").open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            if line.startswith("Package: "):
                name = line[9:].strip()
            elif name.startswith(f"{PACKAGE}1") and line.startswith("Version: "):
                return f"{name} {re.sub(r'[^0-9A-Za-z.+~-]', '', line[9:])[:40]}"
    return PACKAGE


def _short_hash(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()[:8]
    except OSError:
        return "unreadable"


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""
