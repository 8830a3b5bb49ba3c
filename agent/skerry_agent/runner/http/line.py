"""Requests that wait for a thread, in the order of their arrival. Starts no thread and answers nothing."""

import threading
from collections import deque

from skerry_agent.runner.http.connection import Connection
from skerry_agent.runner.http.messages import Request

Job = tuple[Connection, Request]


class Line:
    """A line for so many threads that may be busy at a time."""

    def __init__(self, threads: int) -> None:
        self._free = threads
        self._waiting: deque[Job] = deque()
        self._lock = threading.Lock()

    def take(self, job: Job) -> Job | None:
        """The job, if the thread that has it may leave to do it; else it waits in line."""
        with self._lock:
            if not self._free:
                self._waiting.append(job)
                return None
            self._free -= 1
            return job

    def next(self) -> Job | None:
        """The next job of a thread that has done one; None when it is free."""
        with self._lock:
            if self._waiting:
                return self._waiting.popleft()
            self._free += 1
            return None
