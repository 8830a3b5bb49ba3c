"""Waiting for what another thread or process does. No tests here."""

import contextlib
import socket
import time
from collections.abc import Callable
from pathlib import Path

BUSY = 4.0
"""A machine that runs other tests beside this one may be so much slower. Waiting finds what hangs, not what is slow."""


def eventually(check: Callable[[], object], what: str, patience_s: float = 20.0) -> None:
    """Wait until `check` is true; fail with `what` after `patience_s` on a quiet machine, `BUSY` times that on any."""
    deadline = time.monotonic() + BUSY * patience_s
    while not check():
        assert time.monotonic() < deadline, f"not within {patience_s:g} s: {what}"
        time.sleep(0.02)


def listens(port: int) -> bool:
    """Whether something on this machine takes connections at a port."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def listening(pid: int) -> set[int]:
    """The TCP ports at which a process itself takes connections (proc(5)); another may take what it gave back."""
    sockets = set()
    for file in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):  # it was closed meanwhile
            sockets.add(str(file.readlink()))
    rows = [line.split() for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]]
    return {int(row[1].rpartition(":")[2], 16) for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in sockets}
