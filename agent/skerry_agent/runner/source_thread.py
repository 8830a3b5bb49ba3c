"""Runs input sources in threads, and keeps those going that fail: they are opened or run again after a pause.

Whatever goes wrong in a source is the device's or an input's, never the model's: it becomes a line that heartbeats
carry, while the model serves its API. Knows no kind of source.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence

from skerry_agent.runner.exercise import InputSource
from skerry_agent.wire.errors import SkerryError
from skerry_agent.wire.plain_text import visible

FIRST_PAUSE_S, MAX_PAUSE_S = 1.0, 60.0
STOP_S = 5.0
"""How long a drain waits for what sources are at: one that hangs in a driver must not keep the model from draining."""
MAX_ISSUES, MAX_LINE = 8, 300
_LOG = logging.getLogger(__name__)


class SourceIssues:
    """What of the model's surroundings cannot be used now: one line for each, from any thread."""

    def __init__(self) -> None:
        self._lines: dict[str, str] = {}
        self._changing = threading.Lock()

    def put(self, what: str, line: str, code: str = "source_failed") -> None:
        """From now on `what` cannot be used. Logged where it is news."""
        line = f"{code}: {visible(line)}"[:MAX_LINE]
        with self._changing:
            news = self._lines.get(what) != line
            self._lines[what] = line
        if news:
            _LOG.warning("%s", line)

    def put_once(self, what: str, line: str) -> None:
        """As `put`, but what is said of it already stays: what differs with every sample is not told anew each time."""
        with self._changing:
            known = what in self._lines
        if not known:
            self.put(what, line)

    def clear(self, what: str) -> None:
        """It can be used again, or is not needed any more."""
        with self._changing:
            self._lines.pop(what, None)

    @property
    def lines(self) -> tuple[str, ...]:
        """The first few, in the order of their beginning."""
        with self._changing:
            return tuple(self._lines.values())[:MAX_ISSUES]


class KeptSource:
    """A source that is opened, and run again when it fails. `what` names it in the issues."""

    def __init__(self, what: str, open_it: Callable[[], InputSource], issues: SourceIssues) -> None:
        self._what, self._open, self._issues = what, open_it, issues
        self._source: InputSource | None = None

    def run(self, stop: threading.Event) -> None:
        """See `InputSource.run`. Raises nothing."""
        pause_s = FIRST_PAUSE_S
        while not stop.is_set():
            began = time.monotonic()
            line = self._run_once(stop)
            if line is None:
                break
            self._issues.put(self._what, line)
            pause_s = FIRST_PAUSE_S if time.monotonic() - began > MAX_PAUSE_S else pause_s
            stop.wait(pause_s)
            pause_s = min(2 * pause_s, MAX_PAUSE_S)
        self._issues.clear(self._what)

    def _run_once(self, stop: threading.Event) -> str | None:
        """Run until it fails, and say why; None once it has been stopped."""
        try:
            if self._source is None:
                self._source = self._open()
            self._issues.clear(self._what)
            self._source.run(stop)
        except SkerryError as error:
            return str(error)
        except Exception as error:  # noqa: BLE001 - drivers and decoders raise what they like, and the model is well
            return f"{self._what} failed: {type(error).__name__}: {error}"
        return None


class SourceThread:
    """A source in its thread."""

    def __init__(self, source: InputSource) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=source.run, args=(self._stop,), name="source", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop it, and wait for the sample that it is at."""
        stop_all([self])

    def ask_to_stop(self) -> None:
        """Stop it after the sample that it is at."""
        self._stop.set()

    def wait(self, seconds: float) -> None:
        """Wait until it has stopped."""
        self._thread.join(max(0.0, seconds))


def stop_all(threads: Sequence[SourceThread], seconds: float = STOP_S) -> None:
    """Stop them together. One that does not come back in time is left behind, and feeds nothing after its sample."""
    for thread in threads:
        thread.ask_to_stop()
    until = time.monotonic() + seconds
    for thread in threads:
        thread.wait(until - time.monotonic())
