"""CPU time and memory of processes, from /proc (proc(5)). A process that has ended has none."""

import os
from pathlib import Path

from skerry_agent.meters import sysfs

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


def cpu_s(proc: Path, pid: int) -> float | None:
    """CPU seconds of one process so far, with those of its children that it has waited for."""
    fields = _stat(proc, pid)
    return None if fields is None else sum(map(int, fields[11:15])) / _TICKS


def cpu_s_of_tree(proc: Path, root_pid: int) -> float | None:
    """CPU seconds of a process and all its descendants so far; None when the process has gone."""
    stats = {int(path.name): _stat(proc, int(path.name)) for path in proc.iterdir() if path.name.isdecimal()}
    if stats.get(root_pid) is None:
        return None
    members, grew = {root_pid}, True
    while grew:
        children = {pid for pid, fields in stats.items() if fields is not None and int(fields[1]) in members}
        grew = not children <= members
        members |= children
    return sum(sum(map(int, fields[11:15])) for pid in members if (fields := stats[pid]) is not None) / _TICKS


def memory_bytes(proc: Path, pid: int) -> tuple[int, str] | None:
    """(bytes, `pss` or `rss`): the proportional share where the kernel tells it, else what is resident."""
    rollup = sysfs.read_text(proc / str(pid) / "smaps_rollup")
    for line in (rollup or "").splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024, "pss"
    statm = sysfs.read_text(proc / str(pid) / "statm")
    return None if statm is None else (int(statm.split()[1]) * _PAGE, "rss")


def _stat(proc: Path, pid: int) -> list[str] | None:
    """The fields of /proc/PID/stat after the name, which may itself hold spaces and brackets; state is the first."""
    text = sysfs.read_text(proc / str(pid) / "stat")
    return None if text is None else text.rpartition(")")[2].split()
