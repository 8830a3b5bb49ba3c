"""Where the answers to a source's samples go: into a file, and to the supervisor, who may send them to the broker.

The file holds one JSON object per line and is bounded: when it is full it becomes NAME.1, NAME.1 becomes NAME.2, and so
on, and the oldest is removed. In a handover two runners write it for a moment: each holds its lock while it writes. An
answer that cannot be written is an issue of the device and no error of the model, which has answered. Computes nothing.
"""

import contextlib
import fcntl
import os
import time
from collections.abc import Callable
from io import FileIO
from pathlib import Path

import msgspec

from skerry_agent.ports.runner_protocol import Job, Result
from skerry_agent.runner.error_log import ErrorLog
from skerry_agent.runner.source_thread import SourceIssues
from skerry_agent.wire.codec import encode

MAX_RESULT_BYTES = 64 * 1024
"""Of one result that goes to the broker: raw outputs may be larger, and are for the file."""


class Results:
    """Takes the answers of one job's samples, in any thread. `send` hands a result to the supervisor."""

    def __init__(
        self,
        job: Job,
        send: Callable[[Result], None],
        issues: SourceIssues,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._file = (
            ResultsFile(Path(job.results_file), job.results_file_bytes, job.results_files) if job.results_file else None
        )
        self._rate_hz = job.results_rate_hz
        self._send, self._issues, self._clock = send, issues, clock
        self._due = 0.0
        self._left_out = 0
        self._errors = ErrorLog()

    @property
    def wanted(self) -> bool:
        """Whether anybody wants results."""
        return self._file is not None or self._rate_hz > 0

    def put(self, result: dict[str, object]) -> None:
        """Write and send one result. Never raises."""
        line = encode(result)
        if self._file is not None:
            self._write(self._file, line)
        if self._rate_hz > 0:
            self._offer(line)

    def _write(self, file: "ResultsFile", line: bytes) -> None:
        try:
            file.append(line)
        except OSError as error:
            what = f"results cannot be written to {file.path}: {error.strerror or error}"
            self._issues.put("results", what, "results_failed")
        else:
            self._issues.clear("results")

    def _offer(self, line: bytes) -> None:
        """Send it, if that is not too soon after the one before; those left out are counted in the next one sent."""
        now = self._clock()
        if len(line) > MAX_RESULT_BYTES:
            self._errors.log(OSError(f"a result of {len(line)} bytes was not sent: {MAX_RESULT_BYTES} are allowed"))
        if now < self._due or len(line) > MAX_RESULT_BYTES:
            self._left_out += 1
            return
        self._due = now + 1.0 / self._rate_hz
        left_out, self._left_out = self._left_out, 0
        self._send(Result(msgspec.Raw(line), left_out))


class ResultsFile:
    """One file and at most `older` files before it, of at most `max_bytes` each, or of one line that is longer."""

    def __init__(self, path: Path, max_bytes: int, older: int) -> None:
        self.path, self._max_bytes, self._older = path, max_bytes, older

    def append(self, line: bytes) -> None:
        """Write a line. Raises `OSError`."""
        with self._locked() as file:
            size = os.fstat(file.fileno()).st_size
            if not size or size + len(line) + 1 <= self._max_bytes:
                file.write(line + b"\n")
                return
            self._rotate()
            with self.path.open("ab", buffering=0) as fresh:
                fresh.write(line + b"\n")

    def _locked(self) -> FileIO:
        """The file that has the name now, open and locked: another runner, or a tool, may just have renamed it."""
        while True:
            file = self.path.open("ab", buffering=0)
            try:
                fcntl.flock(file, fcntl.LOCK_EX)
                if os.path.samestat(os.fstat(file.fileno()), self.path.stat()):
                    return file
            except FileNotFoundError:  # renamed or removed a moment ago
                pass
            except BaseException:
                file.close()
                raise
            file.close()

    def _rotate(self) -> None:
        for number in range(self._older - 1, 0, -1):
            with contextlib.suppress(FileNotFoundError):
                self._numbered(number).replace(self._numbered(number + 1))
        if self._older:
            self.path.replace(self._numbered(1))
        else:
            self.path.unlink()

    def _numbered(self, number: int) -> Path:
        return self.path.with_name(f"{self.path.name}.{number}")
