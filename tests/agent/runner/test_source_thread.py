"""Sources that fail: they are tried again after growing pauses, say so in one line, and never end their process."""

import threading
import time

import pytest

from skerry_agent.runner.errors import SourceError
from skerry_agent.runner.source_thread import MAX_ISSUES, MAX_LINE, KeptSource, SourceIssues, SourceThread, stop_all
from tests.kit.waiting import eventually


class Clockless(threading.Event):
    """A stop whose waits end at once and are written down."""

    def __init__(self, most):
        super().__init__()
        self.pauses, self._most = [], most

    def wait(self, timeout=None):
        self.pauses.append(timeout)
        if len(self.pauses) == self._most:
            self.set()
        return self.is_set()


class Source:
    def __init__(self, run):
        self.run = run


def _raise(error):
    raise error


@pytest.mark.parametrize(
    "error",
    [
        SourceError("no camera", hint="plug it in"),
        TypeError("x"),
        MemoryError(),
        RecursionError(),
        OSError(5, "I/O"),
    ],
)
def test_whatever_a_source_raises_is_an_issue_in_one_line(error):
    issues = SourceIssues()
    seen, stop = [], Clockless(1)
    issues_put, issues.put = issues.put, lambda what, line: (seen.append(line), issues_put(what, line))
    KeptSource("camera source x", lambda: Source(lambda _stop: _raise(error)), issues).run(stop)
    assert len(seen) == 1
    assert "\n" not in seen[0]
    assert "no camera; plug it in" in seen[0] or "camera source x failed" in seen[0]
    assert issues.lines == ()  # nobody needs it any more


def test_the_pauses_grow_up_to_a_minute_and_the_opened_source_is_kept():
    opened, stop = [], Clockless(9)

    def open_it():
        opened.append(1)
        if len(opened) < 3:
            raise SourceError("not there yet")
        return Source(lambda _stop: _raise(SourceError("gone")))

    KeptSource("s", open_it, SourceIssues()).run(stop)
    assert stop.pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert len(opened) == 3


def test_an_issue_ends_when_the_source_runs_again():
    issues, tries = SourceIssues(), []

    def run(stop):
        tries.append(issues.lines)
        if len(tries) == 1:
            raise SourceError("away")

    KeptSource("s", lambda: Source(run), issues).run(Clockless(5))
    assert tries == [(), ()]


def test_a_source_that_hangs_does_not_keep_the_model_from_draining():
    release = threading.Event()
    hanging = SourceThread(Source(lambda _stop: release.wait(60)))
    good = SourceThread(Source(lambda stop: stop.wait(60)))
    began = time.monotonic()
    stop_all([hanging, good], seconds=0.3)
    took = time.monotonic() - began
    release.set()
    assert took < 30
    eventually(lambda: not hanging._thread.is_alive(), "the source comes back")


def test_issues_are_few_and_short():
    issues = SourceIssues()
    for number in range(100):
        issues.put(f"s{number}", "two\nlines " + "x" * 1000)
    assert len(issues.lines) == MAX_ISSUES
    assert {len(line) for line in issues.lines} == {MAX_LINE}
    assert "\n" not in "".join(issues.lines)
