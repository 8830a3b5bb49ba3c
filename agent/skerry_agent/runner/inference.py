"""One model in one process: one inference at a time, each timed, checked and counted; golden inputs apart.

Latency is the time in the runtime: set the inputs, invoke, copy the outputs out. Time spent waiting for another
inference is not included. Knows no source, no socket and no message.
"""

import threading
from collections import Counter, deque
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import NamedTuple

from msgspec import Struct

from skerry_agent.ports.runner_protocol import Exercised
from skerry_agent.runner.classes import classifier_of
from skerry_agent.runner.engines.base import Engine
from skerry_agent.runner.errors import UNUSUAL_INPUT, EngineError, InferenceError
from skerry_agent.runner.positives import judge_of
from skerry_agent.runner.tensor import Tensor, invalid
from skerry_agent.runner.turns import Turns
from skerry_agent.runner.usual import UsualInputs
from skerry_agent.wire.manifest import Bundle, TensorSpec
from skerry_agent.wire.sketch import Recorder, Sketch

_NONE = -1
"""The answer of a task that has no single one."""


class _Done(NamedTuple):
    """What is noted of an inference; `positive` is None where that was not judged."""

    elapsed_s: float
    answer: int
    invalid: bool
    positive: bool | None


class InferenceCounts(Struct, frozen=True):
    """What was counted since the last `Inference.take`; `outputs` is the histogram of a classifier's answers.

    See `runner_protocol.Heartbeat` for `exercised`, `judged` and `positives`.
    """

    inferences: int = 0
    errors: int = 0
    invalid_outputs: int = 0
    dropped: int = 0
    latency: Sketch = Sketch()
    outputs: dict[str, int] = {}
    input_errors: int = 0
    exercised: Exercised | None = None
    judged: int = 0
    positives: int = 0


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
        self._class_of = classifier_of(bundle)
        self._floats = any(spec.dtype.startswith("float") for spec in bundle.outputs)
        self._is_positive = judge_of(bundle)
        self._turn = Turns()
        self._since: float | None = None
        self._done: deque[_Done] = deque()
        self._exercised: deque[float] = deque()
        self._counting = threading.Lock()
        self._errors = self._input_errors = self._dropped = self._exercise_errors = self._wrong = 0

    def run(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        """One inference that is not counted (validation). Raises `InferenceError`."""
        return self._timed(inputs)[0]

    def exercise(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        """One inference of golden inputs, counted apart from real load. Raises `InferenceError`."""
        try:
            outputs, elapsed_s = self._timed(inputs)
        except InferenceError:
            with self._counting:
                self._exercise_errors += 1
            raise
        self._exercised.append(elapsed_s)
        return outputs

    def answered_wrong(self) -> None:
        """Count golden inputs that were answered otherwise than recorded."""
        with self._counting:
            self._wrong += 1

    def infer(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        """One inference of real load. Inputs have the model's shapes and dtypes. Raises `InferenceError`.

        A failure, or an invalid output (NaN, infinity), is not the model's own where an input is invalid too, or far
        from all that it was proved on.
        """
        try:
            outputs, elapsed_s = self._timed(inputs)
        except InferenceError as error:
            strange = self.usual.strange(inputs)
            if strange is None:
                self.failed()
                raise
            self.refused_input()
            where = f"input {self.inputs[strange].name} holds values far from all that the release was proven with"
            raise InferenceError(f"{error}: {where}", code=UNUSUAL_INPUT) from None
        answer = self._class_of(outputs) if self._class_of is not None else _NONE
        is_invalid = self._floats and invalid(outputs) is not None
        if is_invalid and (invalid(inputs) is not None or self.usual.outside(inputs)):
            self.refused_input()
            is_invalid = False
        positive = self._is_positive(outputs, answer) if self._is_positive is not None else None
        self._done.append(_Done(elapsed_s, answer, is_invalid, positive))
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
        latency, histogram = Recorder(), Counter[int]()
        done = [self._done.popleft() for _ in range(len(self._done))]
        for each in done:
            latency.add(each.elapsed_s * 1e6)
            histogram[each.answer] += 1
        return InferenceCounts(
            inferences=len(done),
            errors=errors,
            invalid_outputs=sum(each.invalid for each in done),
            dropped=dropped,
            latency=latency.take(),
            outputs={str(answer): count for answer, count in histogram.items() if answer != _NONE},
            input_errors=input_errors,
            exercised=self._take_exercised(),
            judged=sum(each.positive is not None for each in done),
            positives=sum(each.positive is True for each in done),
        )

    def _take_exercised(self) -> Exercised | None:
        with self._counting:
            errors, self._exercise_errors = self._exercise_errors, 0
            wrong, self._wrong = self._wrong, 0
        done = [self._exercised.popleft() for _ in range(len(self._exercised))]
        if not (done or errors or wrong):
            return None
        latency = Recorder()
        for elapsed_s in done:
            latency.add(elapsed_s * 1e6)
        return Exercised(len(done), errors, wrong, latency.take())

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
