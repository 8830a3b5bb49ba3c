"""Processes the raw samples of any source: preprocess, infer, hand on what the answer means, count failures.

Three faults are told apart: an input that no model could answer, an answer that the model does not give, and results
that this device cannot write, which `skerry_agent.runner.results` tells. Only the second one is the release's.
"""

import time
from collections.abc import Callable

import numpy as np

from skerry_agent.ports.runner_protocol import Job
from skerry_agent.processing import Array, ProcessingError, Sample, answer_for, document_of, preprocess
from skerry_agent.runner.arrays import from_array, to_array
from skerry_agent.runner.error_log import ErrorLog
from skerry_agent.runner.errors import InferenceError
from skerry_agent.runner.inference import Inference
from skerry_agent.runner.labels import Labels
from skerry_agent.runner.refusals import Refusals
from skerry_agent.runner.results import Results
from skerry_agent.runner.source_thread import SourceIssues
from skerry_agent.runner.streams import States
from skerry_agent.runner.tensor import Tensor, is_finite


class Feed:
    """Takes raw samples of one source, named by `what`; they are one stream, where the model is fed back its states."""

    def __init__(
        self, job: Job, inference: Inference, issues: SourceIssues, results: Results, what: str = "the source"
    ) -> None:
        self.inference = inference
        self.issues = issues
        self.errors = ErrorLog()
        self.refusals = Refusals(what, issues)
        self._bundle = job.bundle
        self._release = job.release
        self._results = results
        self._labels = Labels(job)
        self._states = States(job.bundle)
        brought, picture = job.bundle.brought, job.bundle.picture_place
        self._picture = brought.index(picture) if picture in brought else 0
        self.inputs = [job.bundle.inputs[place].name for place in job.bundle.brought]

    def restart(self) -> None:
        """The next sample begins a stream."""
        self._states.restart()

    def sample(self, raw: Sample, source: str) -> None:
        """One raw sample, an array for each input that is not fed back; `source` names it in the results.

        Raises `ProcessingError` if no model could answer it, and `InferenceError`, counted, if this one does not.
        """
        try:
            prepared = self._prepared(raw)
        except ProcessingError:
            self.restart()
            raise
        self.refusals.end()
        outputs = list(map(to_array, self._states.infer(prepared, self.inference.infer)))
        if not self._results.wanted:
            return
        line: dict[str, object] = {"time": time.time(), "release": self._release, "source": source}
        try:
            line |= self._answer(outputs, raw)
        except Exception as error:  # noqa: BLE001 - numpy's too, for outputs that are not what the bundle says
            self.inference.failed()
            raise InferenceError(f"no answer in the outputs: {error}") from None
        self._results.put(line)

    def _prepared(self, raw: Sample) -> list[Tensor]:
        """The model's inputs that a sample brings. Raises `ProcessingError`, whatever numpy thinks of the sample."""
        if len(raw) != len(self._bundle.brought):
            wanted = f"{len(self._bundle.brought)} arrays ({', '.join(self.inputs)})"
            raise ProcessingError(f"sample has {len(raw)} arrays, the model takes {wanted}")
        return [self._input(array, place) for array, place in zip(raw, self._bundle.brought, strict=True)]

    def _input(self, raw: Array, place: int) -> Tensor:
        try:
            with np.errstate(all="ignore"):  # what is no number is refused below
                tensor = from_array(preprocess(raw, self._bundle.preprocess_at(place), self._bundle.inputs[place]))
                finite = raw.dtype.kind != "f" or bool(np.isfinite(raw).all())
        except ProcessingError:
            raise
        except Exception as error:  # noqa: BLE001 - numpy raises what it likes for what somebody else wrote
            raise ProcessingError(f"sample of {raw.dtype} {raw.shape} cannot be used: {error}") from None
        if not finite or not is_finite(tensor):
            raise ProcessingError("sample holds NaN or infinity, or does once it is preprocessed")
        return tensor

    def _answer(self, outputs: list[Array], sample: Sample) -> dict[str, object]:
        """What the results say of one sample: the task's answer, or all outputs."""
        bundle, raw = self._bundle, sample[self._picture]
        shape = raw.shape[1:] if raw.ndim == 4 else raw.shape  # a batch of 1 is as good as none
        found = answer_for(bundle, outputs, (shape[0], shape[1]) if len(shape) > 1 else (1, 1))
        if found is not None:
            return document_of(found, self._labels.names)
        pairs = zip(bundle.outputs, outputs, strict=True)
        return {"outputs": {spec.name: output.reshape(-1).tolist() for spec, output in pairs}}


def counting_errors(feed: Feed, action: Callable[[], None]) -> None:
    """Run `action`; an input that cannot be used is logged and counted (a failed inference has counted itself)."""
    try:
        action()
    except InferenceError as error:
        feed.errors.log(error)
    except ProcessingError as error:
        feed.inference.refused_input()
        feed.refusals.add(error)
        feed.errors.log(error)
