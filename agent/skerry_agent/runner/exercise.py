"""Golden inputs as synthetic load, and what every source of samples is: run in a thread, at a fixed rate.

Needs no numpy; the sources of raw samples are in `skerry_agent.runner.sources`.
"""

import threading
import time
from collections.abc import Callable
from typing import Protocol

from skerry_agent.runner.error_log import ErrorLog
from skerry_agent.runner.errors import InferenceError
from skerry_agent.runner.golden import GoldenSamples
from skerry_agent.runner.inference import Inference

MAX_PERIOD_S = 86_400.0
"""Of any source: a thread cannot wait for longer than some hundred years."""


class InputSource(Protocol):
    """A running source of samples, apart from the inference API."""

    def run(self, stop: threading.Event) -> None:
        """Feed until `stop` is set. Raises `SourceError` when it cannot any more; it may then be run again."""


class Exercise:
    """Runs golden inputs at a fixed rate where there is no other load: a tick is skipped after any other inference."""

    def __init__(self, golden: GoldenSamples, inference: Inference, rate_hz: float) -> None:
        self._golden = golden
        self._inference = inference
        self._rate_hz = rate_hz

    def run(self, stop: threading.Event) -> None:
        """See `InputSource.run`."""
        at, seen, errors = 0, self._inference.started, ErrorLog()

        def exercise() -> None:
            nonlocal at, seen
            if self._inference.started == seen:
                try:
                    self._inference.infer(self._golden.sample(at, self._inference.inputs))
                except InferenceError as error:
                    errors.log(error)
                at = (at + 1) % len(self._golden)
            seen = self._inference.started

        at_rate(self._rate_hz, exercise, stop, lambda _missed: None)


def at_rate(rate_hz: float, action: Callable[[], None], stop: threading.Event, missed: Callable[[int], None]) -> None:
    """Call `action` at a fixed rate; ticks that pass while it runs are reported to `missed`, not made up for."""
    period = min(1.0 / rate_hz, MAX_PERIOD_S)
    due = time.monotonic()
    while not stop.wait(max(0.0, due - time.monotonic())):
        action()
        due += period
        late = int((time.monotonic() - due) / period)
        if late > 0:
            missed(late)
            due += late * period
