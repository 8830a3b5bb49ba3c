"""One process of this machine that is somebody else's child: whether it is still the same and alive, and its end.

By /proc alone: kernels of boards may have no pidfd. Waits for nobody that is stuck in the kernel.
"""

import contextlib
import os
import signal
import time
from pathlib import Path
from typing import NamedTuple

TERM_S = 5.0
_STATE, _PARENT, _STARTED = 0, 1, 19  # fields of /proc/PID/stat after the name, which is in brackets (proc(5))


class Process(NamedTuple):
    """A process, and when it was started, in ticks since the machine was: a number that is given again starts later."""

    pid: int
    started: str


def find(pid: int) -> Process:
    """The process that has this number now."""
    return Process(pid, _fields(pid)[_STARTED])


def is_alive(process: Process) -> bool:
    """Whether it has not ended; one that ended and was not waited for has."""
    try:
        fields = _fields(process.pid)
    except OSError:
        return False
    return fields[_STARTED] == process.started and fields[_STATE] not in {"Z", "X"}


def end(process: Process, term_s: float = TERM_S) -> None:
    """Ask it to end, then kill it; its children end with it."""
    _signal(process, signal.SIGTERM)
    until = time.monotonic() + term_s
    while is_alive(process) and time.monotonic() < until:
        time.sleep(0.1)
    _signal(process, signal.SIGKILL)


def _signal(process: Process, number: int) -> None:
    if is_alive(process):
        with contextlib.suppress(OSError):
            os.kill(process.pid, number)


def _fields(pid: int) -> list[str]:
    """The fields of its stat after the name, which may hold anything."""
    return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()


def end_children(limit_s: float = TERM_S) -> None:
    """Kill all children of this process, and wait for them within a time."""
    children = [process for process in _every() if _parent(process) == os.getpid()]
    for process in children:
        _signal(process, signal.SIGKILL)
    until = time.monotonic() + limit_s
    while any(map(is_alive, children)) and time.monotonic() < until:
        time.sleep(0.02)


def _every() -> list[Process]:
    found = []
    for path in Path("/proc").iterdir():
        if path.name.isdigit():
            with contextlib.suppress(OSError):  # it ended meanwhile
                found.append(find(int(path.name)))
    return found


def _parent(process: Process) -> int:
    try:
        return int(_fields(process.pid)[_PARENT])
    except OSError:
        return 0
