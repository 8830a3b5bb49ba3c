"""Makes a child process of the supervisor end when its parent ends. Linux only."""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def die_with_parent(parent: int | None = None) -> None:
    """Ask the kernel to kill this process when the thread that started it ends (prctl(2), PR_SET_PDEATHSIG).

    A second line behind the pipe or socket to the parent: it also works while C code holds the interpreter lock.
    Ends at once if `parent`, which has started this process, is not its parent any more: it died before it was watched.
    """
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if parent is not None and os.getppid() != parent:
        sys.exit(1)
