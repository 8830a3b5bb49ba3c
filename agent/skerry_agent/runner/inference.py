"""One model in one process: one inference at a time, each timed, checked and counted.

Latency is the time in the runtime: set the inputs, invoke, copy the outputs out. Time spent waiting for another
inference is not included. Knows no source, no socket and no message.
"""

import threading
from collections import Counter, deque
from collections.abc import Callable, Sequence
from time import perf_counter

from msgspec import Struct

from skerry_agent.runner.engines.base import Engine
from skerry_agent.runner.errors import EngineError, InferenceError
from skerry_agent.runner.tensor import Tensor, argmax, invalid
from skerry_agent.runner.turns import Turns
from skerry_agent.runner.usual import UsualInputs
from skerry_agent.wire.manifest import CLASSIFICATION, Bundle, TensorSpec
from skerry_agent.wire.sketch import Recorder, Sketch

_NONE = -1
"""The answer of a task that has no single one."""


class InferenceCounts(Struct, frozen=True):
    """What was counted since the last `Inference.take`; `outputs` is the histogram of a classifier's answers."""

    inferences: int = 0
    errors: int = 0
    invalid_outputs: int = 0
    dropped: int = 0
    latency: Sketch = Sketch()
    outputs: dict[str, int] = {}
    input_errors: int = 0


class Inference:
    """A loaded model that any thread may use.

    Counting never waits for the model (`take`, `busy_s`), because it must go on while an inference hangs; and an
    inference only notes what happened, because after it everything is cold: sums are made in `take`.
    `started` counts the inferences begun so far; `about` says what runs them. `lost` is called when the runtime says
    that no inference can succeed any more, for instance because its accelerator was pulled out. `usual` says what its
    golden inputs cover.
    """

    def __init__(self, engine: Engine, bundle: Bundle) -> None:
        self.inputs: tuple[TensorSpec, ...] = bundle.inputs
        self.outputs: tuple[TensorSpec, ...] = bundle.outputs
        self.started = 0
        self.about = engine.about
        self.lost: Callable[[EngineError], None] = _nobody
        self.usual = UsualInputs()
        self._engine = engine
        self._classifies = bundle.task == CLASSIFICATION
        self._floats = any(spec.dtype.startswith("float") for spec in bundle.outputs)
        self._turn = Turns()
        self._since: float | None = None
        self._done: deque[tuple[float, int, bool]] = deque()
        self._counting = threading.Lock()
        self._errors = self._input_errors = self._dropped = 0

    def run(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        """One inference that is not counted (golden inputs). Raises `InferenceError`."""
        return self._timed(inputs)[0]

    def infer(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        """One inference that counts. Inputs have the model's shapes and dtypes. Raises `InferenceError`.

        A failure, or NaN, is not the model's own where the input is far from all that it was proved on.
        """
        try:
            outputs, elapsed_s = self._timed(inputs)
        except InferenceError:
            self.refused_input() if self.usual.outside(inputs) else self.failed()
            raise
        answer = argmax(outputs[0]) if self._classifies else _NONE
        is_invalid = self._floats and invalid(outputs) is not None
        if is_invalid and self.usual.outside(inputs):
            self.refused_input()
            is_invalid = False
        self._done.append((elapsed_s, answer, is_invalid))
        return outputs

    def failed(self) -> None:
        """Count a well-formed input that led to no answer: the model's own error."""
        with self._counting:
            self._errors += 1

    def refused_input(self) -> None:
        """Count an input that no model could have answered."""
        with self._counting:
            self._input_errors += 1

    def drop(self, samples: int = 1) -> None:
        """Count samples that nobody had time for."""
        with self._counting:
            self._dropped += samples

    @property
    def busy_s(self) -> float:
        """For how long the inference now running has been running; 0 when none is."""
        since = self._since
        return 0.0 if since is None else perf_counter() - since

    def take(self) -> InferenceCounts:
        """What was counted since the last call; starts anew."""
        with self._counting:
            errors, self._errors = self._errors, 0
            input_errors, self._input_errors = self._input_errors, 0
            dropped, self._dropped = self._dropped, 0
        latency, histogram, bad = Recorder(), Counter[int](), 0
        done = [self._done.popleft() for _ in range(len(self._done))]
        for elapsed_s, answer, is_invalid in done:
            latency.add(elapsed_s * 1e6)
            histogram[answer] += 1
            bad += is_invalid
        outputs = {str(answer): count for answer, count in histogram.items() if answer != _NONE}
        return InferenceCounts(len(done), errors, bad, dropped, latency.take(), outputs, input_errors)

    def _timed(self, inputs: Sequence[Tensor]) -> tuple[list[Tensor], float]:
        with self._turn:
            self.started += 1
            self._since = since = perf_counter()
            try:
                outputs = self._engine.infer(inputs)
                return outputs, perf_counter() - since
            except EngineError as error:
                self.lost(error)
                raise InferenceError(str(error)) from None
            finally:
                self._since = None


def _nobody(_error: EngineError) -> None:
    """The default of `lost`: the failed inference is reported anyway."""
