"""Why a child process has ended: its own crash, a signal from somebody else, or the kernel for want of memory.

Reads counters of the kernel and the state of processes; ends none.
"""

import re
import signal
from collections.abc import Sequence
from pathlib import Path

from skerry_agent.ports.signals import signal_name

PROC = Path("/proc")
STOPPED = {"T", "t"}
"""States of a process that a signal or a debugger has stopped, as proc(5) has them."""

FROM_OUTSIDE = frozenset({signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT})
"""Signals that a program does not raise by a fault of its own."""

_OOM_KILLS = re.compile(rb"^oom_kill (\d+)$", re.MULTILINE)


def oom_kills(proc: Path = PROC) -> int | None:
    """How many processes the kernel has ended for want of memory since it started; None where it does not count them.

    In a container these are of the whole machine.
    """
    try:
        found = _OOM_KILLS.search((proc / "vmstat").read_bytes())
    except OSError:
        return None
    return int(found[1]) if found else None


def is_stopped(pid: int, proc: Path = PROC) -> bool:
    """Whether a process is stopped, so that it can neither answer nor end by itself."""
    try:
        return (proc / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] in STOPPED
    except (OSError, IndexError):
        return False


def explain(status: int, last_lines: Sequence[str], new_oom_kills: int = 0, *, by_us: bool = False) -> tuple[str, str]:
    """(reason, detail) of an exit, with the signal's name and the last words on standard error.

    `new_oom_kills` while it ran; `by_us`: the agent ended it, because it talked nonsense.
    """
    words = next((line for line in reversed(last_lines) if line.strip()), "")
    how = f"killed by {signal_name(-status)}" if status < 0 else f"exit status {status}"
    if -status == signal.SIGKILL and new_oom_kills > 0 and not by_us:
        return "oom_killed", "the kernel ended it for want of memory"
    if status < 0 and -status in FROM_OUTSIDE and not by_us:
        return "killed", how  # whatever it said last is not why
    return "crashed", f"{how}: {words[:200]}" if words else how
