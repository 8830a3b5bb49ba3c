"""Whether the board holds what a job takes: memory for a patch, disk for a bundle. Asked before anything is written.

Says what is lacking, and what to do about it. It frees nothing and knows no policy.
"""

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from skerry_agent.state.blobs import RESERVE_BYTES

MEMORY_RESERVE_BYTES = 4 * 1024 * 1024
"""Memory that no patch may use: the model in service goes on meanwhile."""

LARGE_BLOCK_BYTES = 128 * 1024
"""Freed blocks of so many bytes are given back at once: else a patch that makes 200 MB takes a megabyte more."""

NOT_ENOUGH_MEMORY = "not_enough_memory"


@dataclass(frozen=True)
class Room:
    """What is free here. `root` is where /proc and /sys are found."""

    root: Path = Path("/")

    def lacks_memory(self) -> str | None:
        """Why no patch can be applied now; None where one can, or where the kernel does not tell."""
        from skerry_agent.patch import MAX_EXTRA_BYTES  # noqa: PLC0415 - imports numpy, which a verification spares

        needed, free = MAX_EXTRA_BYTES + MEMORY_RESERVE_BYTES, self.free_memory_bytes()
        if free is None or free >= needed:
            return None
        return f"a patch takes {needed} B of memory, {max(0, free)} B are free; stop something, or raise MemoryMax"

    def lacks_disk(self, needed: int, folder: Path) -> str | None:
        """Why so many bytes cannot be written to `folder`; None where they can. Raises `OSError`."""
        free = self.free_disk_bytes(folder)
        if needed + RESERVE_BYTES <= free:
            return None
        kept = f"{RESERVE_BYTES} B of them are reserved"
        return f"{needed} B do not fit: {free} B are free, {kept}; free some space on the device"

    def free_disk_bytes(self, folder: Path) -> int:
        """What the disk of `folder` has left. Raises `OSError`."""
        return shutil.disk_usage(folder).free

    def free_memory_bytes(self) -> int | None:
        """The least of what the kernel has available, swap included, and what every cgroup of this process has left."""
        told = self._read("proc/meminfo")
        available = _number(told, r"MemAvailable:\s+(\d+) kB")
        left = [left for group in self._groups() if (left := self._left_in(group)) is not None]
        if available is not None:
            left.append(1024 * (available + (_number(told, r"SwapFree:\s+(\d+) kB") or 0)))
        return min(left, default=None)

    def _groups(self) -> Iterator[str]:
        """This process's memory cgroup and all above it, below `root`; in a container they end at its own."""
        for line in self._read("proc/self/cgroup").splitlines():
            number, controllers, path = line.split(":", 2)
            if number == "0" or "memory" in controllers.split(","):
                mount = "sys/fs/cgroup" if number == "0" else "sys/fs/cgroup/memory"
                parts = path.strip("/").split("/")
                yield from ("/".join([mount, *parts[:depth]]) for depth in range(len(parts), -1, -1))

    def _left_in(self, group: str) -> int | None:
        """What a cgroup may still take, what it can drop of caches included; None without a limit."""
        limit = self._first(group, "memory.max", "memory.limit_in_bytes")
        used = self._first(group, "memory.current", "memory.usage_in_bytes")
        if limit is None or used is None:
            return None
        stat = self._read(f"{group}/memory.stat")
        # Version 1 counts a group with those below it under names of their own.
        cached = re.findall(r"(?m)^total_(?:in)?active_file (\d+)$", stat)
        cached = cached or re.findall(r"(?m)^(?:slab_reclaimable|(?:in)?active_file) (\d+)$", stat)
        return limit - used + sum(map(int, cached))

    def _first(self, group: str, *names: str) -> int | None:
        """The number in the first of these files that holds one: those of version 2, then those of version 1."""
        numbers = (_number(self._read(f"{group}/{name}"), r"(\d+)") for name in names)
        return next((number for number in numbers if number is not None), None)

    def _read(self, name: str) -> str:
        try:
            return (self.root / name).read_text(encoding="ascii", errors="replace")
        except OSError:
            return ""


def _number(text: str, pattern: str) -> int | None:
    found = re.search(pattern, text)
    return int(found[1]) if found else None
