"""What becomes of one sample of any source: whose fault it is if there is no answer, and where boxes are."""

import json
import struct

import numpy as np
import pytest

from skerry_agent.ports.runner_protocol import Job
from skerry_agent.processing import ProcessingError
from skerry_agent.runner.engines.base import About
from skerry_agent.runner.errors import InferenceError
from skerry_agent.runner.feed import Feed, counting_errors
from skerry_agent.runner.inference import Inference
from skerry_agent.runner.refusals import FOR_S, IN_A_ROW, Refusals
from skerry_agent.runner.results import Results
from skerry_agent.runner.source_thread import SourceIssues
from skerry_agent.runner.tensor import Tensor
from skerry_agent.wire.manifest import Bundle, Postprocess, Preprocess, TensorSpec

INPUT = TensorSpec("x", "uint8", (1, 8, 8, 3), 1.0, 0)
OUTPUTS = (TensorSpec("boxes", "float32", (1, 1, 4)), TensorSpec("scores", "float32", (1, 1, 1)))


class Detector:
    """Always the same box, over all of the input."""

    about = About("detector", "1", "")

    def infer(self, inputs):
        return [
            Tensor("float32", (1, 1, 4), struct.pack("<4f", 0, 0, 1, 1)),
            Tensor("float32", (1, 1, 1), struct.pack("<f", 0.9)),
        ]


@pytest.fixture
def feed(tmp_path):
    def make(postprocess):
        prep = Preprocess(resize="letterbox")
        bundle = Bundle("cpu", (), (INPUT,), OUTPUTS, task="detection", preprocess=prep, postprocess=postprocess)
        job = Job("m", "m@1.0.0", "", bundle, results_file=str(tmp_path / "results"))
        issues = SourceIssues()
        return Feed(job, Inference(Detector(), bundle), issues, Results(job, lambda _result: None, issues))

    return make


@pytest.mark.parametrize("shape", [(4, 8, 3), (1, 4, 8, 3)])
def test_boxes_are_of_the_picture_with_or_without_a_batch(feed, tmp_path, shape):
    """A picture half as high as wide lies in the middle half of its letterbox."""
    feed(Postprocess()).sample((np.zeros(shape, np.uint8),), "x")
    (found,) = json.loads((tmp_path / "results").read_text())["detections"]
    assert found["box"] == [-0.5, 0.0, 1.5, 1.0]


@pytest.mark.parametrize(
    "sample",
    [np.zeros((4, 8, 3), complex), np.array("text"), np.array(["a"]), np.zeros((4, 0, 3)), np.full((4, 8, 3), np.nan)],
)
def test_what_no_model_could_answer_is_an_input_s_fault(feed, sample):
    one = feed(Postprocess())
    with pytest.raises(ProcessingError):
        one.sample((sample,), "x")
    assert one.inference.take().errors == 0


@pytest.mark.parametrize("postprocess", [Postprocess(scores=5), Postprocess(classes=7)])
def test_outputs_that_are_not_what_the_bundle_says_are_the_release_s_fault(feed, postprocess):
    one = feed(postprocess)
    with pytest.raises(InferenceError, match="no answer in the outputs"):
        one.sample((np.zeros((4, 8, 3), np.uint8),), "x")
    assert one.inference.take().errors == 1


def test_a_source_that_gives_nothing_usable_is_said_once_and_until_it_does(feed):
    """A camera of another shape than the recipe takes: the model is healthy, and nobody would look for the reason."""
    fed, now = feed(Postprocess()), [0.0]
    fed.refusals = Refusals("camera source x", fed.issues, lambda: now[0])

    def refuse(number):
        counting_errors(fed, lambda: fed.sample((np.zeros((4, 8, number + 4), np.uint8),), "x"))

    for number in range(IN_A_ROW):
        refuse(number)
    assert fed.issues.lines == (), "a handful of bad files at once is no broken source"
    now[0] += FOR_S
    refuse(20)
    said = fed.issues.lines
    assert len(said) == 1
    assert said[0].startswith("source_failed: camera source x gives nothing that the model can take: sample ")
    refuse(21)
    assert fed.issues.lines == said, "the twin is not sent anew for each sample"
    fed.sample((np.zeros((4, 8, 3), np.uint8),), "x")
    assert fed.issues.lines == ()
    refuse(22)
    assert fed.issues.lines == ()
