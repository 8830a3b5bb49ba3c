"""Writes the log to standard error: for journald with the priority of each line, else with the time.

systemd names the journal's end of a stream in JOURNAL_STREAM (systemd.exec(5)); journald keeps the time, bounds and
rotates. Where none runs, standard error goes where whoever started the agent has sent it. A line that cannot be written
is lost: the agent must not end for want of a reader. `place` says where that is.
"""

import contextlib
import logging
import os
import re
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TextIO

from skerry_agent.log.limits import Limits
from skerry_agent.log.line import rendered

PRIORITIES = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3}
"""sd-daemon(3): the numbers of syslog(3)."""


class Output(logging.Handler):
    """Where the lines of the log go. May be used from any thread."""

    def __init__(
        self,
        stream: TextIO | None = None,
        environment: Mapping[str, str] = os.environ,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self._stream = stream if stream is not None else sys.stderr
        self._clock = clock
        self._limits = Limits(clock())
        self.journal = is_journal(self._stream, environment)

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line, or count it."""
        line = rendered(record.getMessage(), getattr(record, "fields", {}))
        self._write(self._limits.take(record.levelno, line, self._clock()))

    def turn(self) -> None:
        """Write what is due of lines that were only counted."""
        with self.lock or contextlib.nullcontext():
            self._write(self._limits.due(self._clock()))

    def finish(self) -> None:
        """Write all that was only counted so far."""
        with self.lock or contextlib.nullcontext():
            self._write(self._limits.rest())

    def place(self, cgroup: Path = Path("/proc/self/cgroup")) -> str:
        """Where a person finds the log, in words: the command that shows it, or the file."""
        if self.journal:
            return f"journalctl -u {_unit(cgroup)}"
        with contextlib.suppress(OSError, ValueError):
            return str(Path(f"/proc/self/fd/{self._stream.fileno()}").readlink())
        return "standard error"

    def _write(self, lines: list[tuple[int, str]]) -> None:
        if not lines:
            return
        text = "".join(self._prefixed(level, line) for level, line in lines)
        with contextlib.suppress(OSError, ValueError):  # closed, or on a full disk
            os.write(self._stream.fileno(), text.encode("utf-8", "replace"))  # a buffer would keep what fails

    def _prefixed(self, level: int, line: str) -> str:
        if self.journal:
            return f"<{PRIORITIES.get(level, 6)}>{line}\n"
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        return f"{now} {logging.getLevelName(level).lower():7} {line}\n"


def is_journal(stream: TextIO, environment: Mapping[str, str]) -> bool:
    """Whether a stream is the one that systemd has connected to the journal: it may have been redirected since."""
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return environment.get("JOURNAL_STREAM", "") == f"{status.st_dev}:{status.st_ino}"


def _unit(cgroup: Path) -> str:
    """The systemd unit that this process belongs to."""
    with contextlib.suppress(OSError):
        found = re.findall(r"/([^/\n]+)\.service(?:/|$)", cgroup.read_text(encoding="utf-8"), re.MULTILINE)
        if found:
            return str(found[-1])
    return "skerry-agent"
