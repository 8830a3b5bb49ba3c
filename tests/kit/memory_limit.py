"""Limits the memory of a process: a cgroup's where one can be made, and what it may map in any case. No tests here."""

import contextlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
_MAPPED = "import {}; print(next(line for line in open('/proc/self/status') if line.startswith('VmData')))"


def mapped_bytes(module: str) -> int:
    """The private memory that a process has mapped once it has imported a module."""
    command = [sys.executable, "-c", _MAPPED.format(module)]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return 1024 * int(said.split()[1])


@contextlib.contextmanager
def cgroup(name: str, limit_bytes: int, files: Path) -> Iterator[Path | None]:
    """A cgroup of that limit; None in a container that may make none, or where `files` would count as memory."""
    group = None if _in_memory(files) else _made(name, limit_bytes)
    try:
        yield group
    finally:
        if group is not None:
            group.rmdir()


def limited(command: list[str], most_mapped_bytes: int, group: Path | None) -> list[str]:
    """The command under both limits, with the process id of its shell."""
    join = f"echo $$ > {group}/cgroup.procs; " if group is not None else ""
    return ["sh", "-c", f'{join}ulimit -d {most_mapped_bytes // 1024}; exec "$@"', "sh", *command]


def _made(name: str, limit_bytes: int) -> Path | None:
    for root, file in ((CGROUPS / "memory", "memory.limit_in_bytes"), (CGROUPS, "memory.max")):
        group = root / name
        with contextlib.suppress(OSError):
            if file == "memory.max":
                (root / "cgroup.subtree_control").write_text("+memory", encoding="ascii")
            group.mkdir()
            (group / file).write_text(str(limit_bytes), encoding="ascii")
            return group
        with contextlib.suppress(OSError):
            group.rmdir()
    return None


def _in_memory(folder: Path) -> bool:
    mounts = re.findall(r"(?m)^\S+ (\S+) (\S+)", Path("/proc/mounts").read_text(encoding="utf-8"))
    inside = [(len(point), kind) for point, kind in mounts if folder.resolve().is_relative_to(point)]
    return max(inside)[1] in {"tmpfs", "ramfs"}
