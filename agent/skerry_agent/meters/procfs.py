"""CPU time and memory of processes, from /proc (proc(5)) and the kernel's clocks. A process that has ended has none.

/proc counts CPU time in ticks of 10 ms, where a small model's inference takes less than one; the clock of a process
counts nanoseconds. Ticks remain for what has no clock: children that were waited for, and kernels that refuse.
"""

import os
import time
from pathlib import Path

from skerry_agent.meters import sysfs

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_OF_PROCESS, _EVERY_THREAD = 3, 2
"""How the kernel makes a process's clock from its id (include/linux/posix-timers_types.h, CPUCLOCK_SCHED)."""


def cpu_s(proc: Path, pid: int) -> float | None:
    """CPU seconds of one process so far, with those of its children that it has waited for."""
    fields = _stat(proc, pid)
    return None if fields is None else _used_s(proc, pid, fields)


def cpu_s_of_tree(proc: Path, root_pid: int) -> float | None:
    """CPU seconds of a process and all its descendants so far; None when the process has gone."""
    try:
        stats = {int(path.name): _stat(proc, int(path.name)) for path in proc.iterdir() if path.name.isdecimal()}
    except OSError:
        return None
    if stats.get(root_pid) is None:
        return None
    members, grew = {root_pid}, True
    while grew:
        children = {pid for pid, fields in stats.items() if fields is not None and int(fields[1]) in members}
        grew = not children <= members
        members |= children
    return sum(_used_s(proc, pid, fields) for pid in members if (fields := stats[pid]) is not None)


def resolution_s(proc: Path) -> float:
    """The step in which `cpu_s` counts what a process itself uses."""
    return 1e-9 if _clock_s(proc, os.getpid()) is not None else 1 / _TICKS


def memory_bytes(proc: Path, pid: int) -> tuple[int, str] | None:
    """(bytes, `pss` or `rss`): the proportional share where the kernel tells it, else what is resident."""
    rollup = sysfs.read_text(proc / str(pid) / "smaps_rollup")
    for line in (rollup or "").splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024, "pss"
    statm = sysfs.read_text(proc / str(pid) / "statm")
    return None if statm is None else (int(statm.split()[1]) * _PAGE, "rss")


def _used_s(proc: Path, pid: int, fields: list[str]) -> float:
    user, system, *waited_for = map(int, fields[11:15])
    own_s = _clock_s(proc, pid)
    return ((user + system) / _TICKS if own_s is None else own_s) + sum(waited_for) / _TICKS


def _clock_s(proc: Path, pid: int) -> float | None:
    """The clock of a process of this system; a copy of /proc has none."""
    if proc != Path("/proc"):
        return None
    try:
        return time.clock_gettime((~pid << _OF_PROCESS) | _EVERY_THREAD)
    except OSError:
        return None


def _stat(proc: Path, pid: int) -> list[str] | None:
    """The fields of /proc/PID/stat after the name, which may itself hold spaces and brackets; state is the first."""
    text = sysfs.read_text(proc / str(pid) / "stat")
    return None if text is None else text.rpartition(")")[2].split()
