"""What this device is, for the host and for the device's own admission of bundles: read from files and the kernel.

Imports no runtime and starts no process: what is installed is known by the names of its folders. What only the
accelerator's library can say is asked elsewhere (`deployment.accelerator`).
"""

import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from msgspec.structs import replace

from skerry_agent import __version__
from skerry_agent.config import AgentConfig
from skerry_agent.state.runtimes import PLACE
from skerry_agent.wire.admission import Accelerator, DeviceFacts
from skerry_agent.wire.engines import DISTRIBUTIONS, distribution_of

_DIST_INFO = re.compile(r"([A-Za-z0-9._]+)-([0-9][^-]{0,60})\.dist-info")
_RUNTIMES = {name for names in DISTRIBUTIONS.values() for name in names}


class FactsReader:
    """Reads once what stays the same while this process runs, and the disk's free bytes each time."""

    def __init__(
        self,
        config: AgentConfig,
        root: Path = Path("/"),
        path: Iterable[str] = (),
        free: Callable[[Path], int | None] | None = None,
    ) -> None:
        installed = runtimes(path or sys.path)
        engines = {target: config.engine_for(target) for target in config.board.targets}
        self._state = config.state_dir
        self._free = free or free_bytes
        self._said_free: int | None = None
        self._lasting = DeviceFacts(
            machine=PLACE.machine,
            python=PLACE.python,
            glibc=PLACE.glibc,
            agent=__version__,
            runtimes=installed,
            engines={target: distribution_of(engine, installed) for target, engine in engines.items()},
            ram_bytes=ram_bytes(root),
        )

    def facts(self, accelerator: Accelerator | None) -> DeviceFacts:
        """Those of now."""
        return replace(self._lasting, accelerator=accelerator, disk_free_bytes=self._free(self._state))

    def told(self, accelerator: Accelerator | None) -> DeviceFacts:
        """The same, for the host, which decides by them until it is told others."""
        made = self.facts(accelerator)
        self._said_free = made.disk_free_bytes
        return made

    @property
    def outdated(self) -> bool:
        """Whether the disk has less than half the free bytes that the host was told of, or more than twice as many."""
        said, free = self._said_free, self._free(self._state)
        return said is not None and free is not None and not said <= 2 * free <= 4 * said


def runtimes(path: Iterable[str]) -> dict[str, str]:
    """The inference runtimes on Python's path, with their versions; of one that is there twice the first."""
    found: dict[str, str] = {}
    for name, version in _distributions(path):
        if name in _RUNTIMES:
            found.setdefault(name, version)
    return found


def ram_bytes(root: Path = Path("/")) -> int:
    """What the board has, or less where a memory cgroup (version 2) that this process is in has a limit."""
    physical = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min([physical, *_limits(root)])


def free_bytes(folder: Path) -> int | None:
    """What this user may still write there; None where the folder cannot be looked at."""
    try:
        found = os.statvfs(folder)
    except OSError:
        return None
    return found.f_bavail * found.f_frsize


def _distributions(path: Iterable[str]) -> Iterator[tuple[str, str]]:
    """(normalised name, version) of everything that is installed, by its folder."""
    for folder in path:
        try:
            names = sorted(entry.name for entry in Path(folder or ".").iterdir())
        except OSError:
            continue
        for name in names:
            if (match := _DIST_INFO.fullmatch(name)) is not None:
                yield re.sub(r"[-_.]+", "-", match[1]).lower(), match[2]


def _limits(root: Path) -> Iterator[int]:
    """The limits of this process's cgroup and all above it."""
    for line in _text(root / "proc/self/cgroup").splitlines():
        number, _, path = line.split(":", 2)
        if number == "0":
            parts = path.strip("/").split("/")
            for depth in range(len(parts), -1, -1):
                limit = _text(root.joinpath("sys/fs/cgroup", *parts[:depth], "memory.max")).strip()
                if limit.isdecimal():
                    yield int(limit)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
