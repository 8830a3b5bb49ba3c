"""Ends a candidate that is not healthy by its deadline. A process of its own while there is a trial, and no longer.

Where something starts the agent again that has ended (systemd), the watcher stands beside it and ends it, once that is
written down. Elsewhere it is the parent of the candidate, so that the older agent can come back in its place.
"""

import contextlib
import os
import time
from pathlib import Path

from skerry_agent.launch import files
from skerry_agent.launch.processes import Process, end, find, is_alive
from skerry_agent.launch.table import Late, Trial

POLL_S = 0.5


def is_on_trial(folder: Path, trial: Trial) -> bool:
    """Whether this very trial is still under way."""
    now = files.read(folder)[0].trial
    return now is not None and now.deployment == trial.deployment


def beside(folder: Path, trial: Trial) -> None:
    """Watch this process, which is about to become the candidate, from one that is nobody's child."""
    candidate = find(os.getpid())
    child = os.fork()
    if child == 0:
        try:
            if os.fork() == 0:
                _detach()
                _watch(folder, trial, candidate)
        finally:
            os._exit(0)
    os.waitpid(child, 0)


def _watch(folder: Path, trial: Trial, candidate: Process) -> None:
    ends = time.monotonic() + trial.deadline_s
    while time.monotonic() < ends:
        time.sleep(min(POLL_S, trial.deadline_s))
        if not is_alive(candidate) or not is_on_trial(folder, trial):
            return
    late(folder)
    if files.read(folder)[0].current.folder != trial.agent.folder:  # it may have been healthy at the last moment
        end(candidate)


def late(folder: Path) -> None:
    """Write down that the deadline is over; where the disk takes nothing, its attempts are counted all the same."""
    with contextlib.suppress(OSError):
        files.change(folder, Late())


def _detach() -> None:
    """Hold nothing open that somebody waits for the end of."""
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in range(3):
        os.dup2(null, descriptor)
    os.closerange(3, max(256, null + 1))
