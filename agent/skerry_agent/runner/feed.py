"""What every source does with a raw sample: preprocess, infer, write the answer to the results file.

The results file holds one JSON object per line and is opened for each, so that it can be rotated by renaming.
"""

import time
from pathlib import Path

from skerry_agent.processing import Array, postprocess, preprocess
from skerry_agent.runner.complaints import Complaints
from skerry_agent.runner.inference import Inference
from skerry_agent.runner.protocol import Job
from skerry_agent.wire.codec import encode


class Feed:
    """Takes raw samples for a model with one input."""

    def __init__(self, job: Job, inference: Inference) -> None:
        self.inference = inference
        self.complaints = Complaints()
        self._bundle = job.bundle
        self._release = job.release
        self._results = Path(job.results_file) if job.results_file else None

    def sample(self, raw: Array, source: str) -> None:
        """One raw sample; `source` names it in the results. Raises `ProcessingError`, `InferenceError`, `OSError`."""
        bundle = self._bundle
        outputs = self.inference.infer([preprocess(raw, bundle.preprocess, bundle.inputs[0])])
        if self._results is not None:
            self._append(self._results, outputs, source)

    def _append(self, path: Path, outputs: list[Array], source: str) -> None:
        line: dict[str, object] = {"time": time.time(), "release": self._release, "source": source}
        answer = postprocess(outputs, self._bundle.outputs, self._bundle.task)
        if answer is None:
            pairs = zip(self._bundle.outputs, outputs, strict=True)
            line["outputs"] = {spec.name: output.reshape(-1).tolist() for spec, output in pairs}
        else:
            line |= {"index": answer.index, "score": answer.score}
        with path.open("ab") as file:
            file.write(encode(line) + b"\n")
