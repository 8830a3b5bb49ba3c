"""Tells that a source gives nothing which the model can take: it looks healthy, is asked, and answers nothing.

A few bad samples among good ones are only counted, by `skerry_agent.runner.inference`.
"""

import time
from collections.abc import Callable

from skerry_agent.runner.source_thread import SourceIssues

IN_A_ROW, FOR_S = 10, 10.0
"""From when on it is told. What came and went more often than that would send the twin each time."""


class Refusals:
    """Samples of one source, named by `what`, that no model could answer, since the last one that could be used."""

    def __init__(self, what: str, issues: SourceIssues, clock: Callable[[], float] = time.monotonic) -> None:
        self._what, self._issues, self._clock = what, issues, clock
        self._count, self._since = 0, 0.0

    def add(self, error: Exception) -> None:
        """One more. The first reason is told, and stays: those of files, for instance, name another file each."""
        now = self._clock()
        self._since = self._since if self._count else now
        self._count += 1
        if self._count >= IN_A_ROW and now - self._since >= FOR_S:
            self._issues.put_once(self._key, f"{self._what} gives nothing that the model can take: {error}")

    def end(self) -> None:
        """A sample could be used."""
        if self._count:
            self._count = 0
            self._issues.clear(self._key)

    @property
    def _key(self) -> str:
        return f"samples of {self._what}"
