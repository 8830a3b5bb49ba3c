"""Golden inputs as synthetic load, and what every source of samples is: run in a thread, at a fixed rate.

Its inferences are counted apart, so they are in no figure of real load. Needs no numpy; the sources of raw samples are
in `skerry_agent.runner.sources`.
"""

import threading
import time
from collections.abc import Callable
from typing import Protocol

from msgspec import Struct

from skerry_agent.runner.error_log import ErrorLog
from skerry_agent.runner.errors import InferenceError
from skerry_agent.runner.golden import Column, GoldenSamples, float_steps, reproduces
from skerry_agent.runner.inference import Inference
from skerry_agent.runner.tensor import zeros
from skerry_agent.wire.manifest import Golden

MAX_PERIOD_S = 86_400.0
"""Of any source: a thread cannot wait for longer than some hundred years."""


class InputSource(Protocol):
    """A running source of samples, apart from the inference API."""

    def run(self, stop: threading.Event) -> None:
        """Feed until `stop` is set. Raises `SourceError` when it cannot any more; it may then be run again."""


class ExercisePlan(Struct, frozen=True):
    """How fast, and how close answers must be to the recorded ones.

    `limits` None: answers are not compared. So it is where there are no recorded ones, and for a model that remembers:
    its answers depend on what came before, and it is exercised only until other load comes, which it would disturb.
    `as_load` is for supervisors that know no other count; they never end it, so it ends after `at_most_s`.
    """

    rate_hz: float
    limits: Golden | None = None
    as_load: bool = False
    at_most_s: float = float("inf")
    remembers: bool = False


class GoldenExercise:
    """Runs golden inputs at a fixed rate where there is no other load: a tick is skipped after any other inference."""

    def __init__(self, golden: GoldenSamples, inference: Inference, plan: ExercisePlan) -> None:
        self._golden, self._inference, self._plan = golden, inference, plan
        self._steps = float_steps(golden) if plan.limits is not None else ()
        self._errors = ErrorLog()

    def run(self, stop: threading.Event) -> None:
        """See `InputSource.run`."""
        own, at = 0, 0
        others, ends = self._inference.started, time.monotonic() + self._plan.at_most_s

        def exercise() -> None:
            nonlocal own, at, others
            if time.monotonic() > ends:
                stop.set()
            elif self._inference.started - own == others:
                self._one(at)
                own, at = own + 1, (at + 1) % len(self._golden)
            else:
                others = self._inference.started - own
                if self._plan.remembers:
                    stop.set()

        at_rate(self._plan.rate_hz, exercise, stop, lambda _missed: None)

    def _one(self, index: int) -> None:
        run = self._inference.infer if self._plan.as_load else self._inference.exercise
        try:
            got = run(self._golden.sample(index, self._inference.inputs))
        except InferenceError as error:
            self._errors.log(error)
            return
        limits = self._plan.limits
        if limits is not None and not reproduces(self._golden, index, got, limits, self._steps):
            self._inference.answered_wrong()


def blank_samples(inference: Inference) -> GoldenSamples:
    """One sample of zeros and no outputs: for a bundle without golden inputs."""
    blank = [zeros(spec) for spec in inference.inputs]
    return GoldenSamples(tuple(Column(t.dtype, t.shape[1:], (memoryview(t.data),)) for t in blank), ())


def is_rate(rate_hz: float) -> bool:
    """Whether that is a rate: TOML knows NaN and infinity, too."""
    return 0.0 < rate_hz < float("inf")


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
