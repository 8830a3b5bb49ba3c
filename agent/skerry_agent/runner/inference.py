"""One model in one process: one inference at a time, each timed, judged and counted.

Latency is the time in the runtime: set the inputs, invoke, copy the outputs out. Waiting for one's turn is not in it.
Knows no source, no socket and no message.
"""

import threading
from collections.abc import Sequence
from time import perf_counter

from msgspec import Struct

from skerry_agent.processing import CLASSIFICATION, Array, invalid
from skerry_agent.runner.engines.base import Engine
from skerry_agent.runner.errors import InferenceError
from skerry_agent.wire.manifest import Bundle, TensorSpec
from skerry_agent.wire.sketch import Recorder, Sketch


class Tally(Struct, frozen=True):
    """What was counted since the last `Inference.take`; `outputs` is the histogram of a classifier's answers."""

    inferences: int = 0
    errors: int = 0
    invalid_outputs: int = 0
    dropped: int = 0
    latency: Sketch = Sketch()
    outputs: dict[str, int] = {}


class Inference:
    """A loaded model that any thread may use.

    `started` counts the inferences begun so far. Two locks, because counting must go on (`take`, `busy_s`) while an
    inference hangs.
    """

    def __init__(self, engine: Engine, bundle: Bundle) -> None:
        self.inputs: tuple[TensorSpec, ...] = bundle.inputs
        self.outputs: tuple[TensorSpec, ...] = bundle.outputs
        self._engine = engine
        self._classifies = bundle.task == CLASSIFICATION
        self._turn = threading.Lock()
        self._counting = threading.Lock()
        self._since: float | None = None
        self.started = 0
        self._latency = Recorder()
        self._inferences = self._errors = self._invalid = self._dropped = 0
        self._histogram: dict[int, int] = {}

    def run(self, inputs: Sequence[Array]) -> list[Array]:
        """One inference that is not counted (golden inputs). Raises `InferenceError`."""
        return self._timed(inputs)[0]

    def infer(self, inputs: Sequence[Array]) -> list[Array]:
        """One inference that counts. Inputs have the model's shapes and dtypes. Raises `InferenceError`."""
        try:
            outputs, elapsed_us = self._timed(inputs)
        except InferenceError:
            self.failed()
            raise
        self._count(outputs, elapsed_us)
        return outputs

    def failed(self) -> None:
        """Count a sample that led to no answer."""
        with self._counting:
            self._errors += 1

    def drop(self, samples: int = 1) -> None:
        """Count samples that nobody had time for."""
        with self._counting:
            self._dropped += samples

    @property
    def busy_s(self) -> float:
        """For how long the inference now running has been running; 0 when none is."""
        since = self._since
        return 0.0 if since is None else perf_counter() - since

    def take(self) -> Tally:
        """What was counted since the last call; starts anew."""
        with self._counting:
            histogram = {str(index): count for index, count in self._histogram.items()}
            tally = Tally(self._inferences, self._errors, self._invalid, self._dropped, self._latency.take(), histogram)
            self._inferences = self._errors = self._invalid = self._dropped = 0
            self._histogram = {}
        return tally

    def _timed(self, inputs: Sequence[Array]) -> tuple[list[Array], float]:
        with self._turn:
            self.started += 1
            self._since = since = perf_counter()
            try:
                outputs = self._engine.infer(inputs)
                return outputs, (perf_counter() - since) * 1e6
            finally:
                self._since = None

    def _count(self, outputs: list[Array], elapsed_us: float) -> None:
        bad = invalid(outputs) is not None
        answer = int(outputs[0].argmax()) if self._classifies else None
        with self._counting:
            self._inferences += 1
            self._invalid += bad
            self._latency.add(elapsed_us)
            if answer is not None:
                self._histogram[answer] = self._histogram.get(answer, 0) + 1
