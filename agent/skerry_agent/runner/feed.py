"""Processes the raw samples of any source: preprocess, infer, hand on what the answer means, count failures.

Where results go is `skerry_agent.runner.results`'s.
"""

import time
from collections.abc import Callable

from skerry_agent.ports.runner_protocol import Job
from skerry_agent.processing import Answer, Array, Detections, Embedding, ProcessingError, answer_for, preprocess
from skerry_agent.runner.arrays import from_array, to_array
from skerry_agent.runner.error_log import ErrorLog
from skerry_agent.runner.errors import InferenceError
from skerry_agent.runner.inference import Inference
from skerry_agent.runner.results import Results


class Feed:
    """Takes raw samples for a model with one input."""

    def __init__(self, job: Job, inference: Inference, results: Results) -> None:
        self.inference = inference
        self.errors = ErrorLog()
        self._bundle = job.bundle
        self._release = job.release
        self._results = results

    def sample(self, raw: Array, source: str) -> None:
        """One raw sample; `source` names it in the results. Raises `ProcessingError`, `InferenceError`."""
        bundle = self._bundle
        prepared = from_array(preprocess(raw, bundle.preprocess, bundle.inputs[0]))
        outputs = list(map(to_array, self.inference.infer([prepared])))
        if self._results.wanted:
            about: dict[str, object] = {"time": time.time(), "release": self._release, "source": source}
            self._results.put(about | self._answer(outputs, raw))

    def _answer(self, outputs: list[Array], raw: Array) -> dict[str, object]:
        """What the results say of one sample: a class, boxes in 0..1 of the sample, a direction, or all outputs."""
        bundle = self._bundle
        match answer_for(bundle, outputs, (raw.shape[0], raw.shape[1]) if raw.ndim > 1 else (1, 1)):
            case Answer(index=index, score=score):
                return {"index": index, "score": score}
            case Detections(found=found):
                return {"detections": found}
            case Embedding(vector=vector):
                return {"embedding": vector}
        pairs = zip(bundle.outputs, outputs, strict=True)
        return {"outputs": {spec.name: output.reshape(-1).tolist() for spec, output in pairs}}


def counting_errors(feed: Feed, action: Callable[[], None]) -> None:
    """Run `action`; a failure is logged and counted (a failed inference has counted itself)."""
    try:
        action()
    except InferenceError as error:
        feed.errors.log(error)
    except (ProcessingError, OSError) as error:
        feed.inference.failed()
        feed.errors.log(error)
