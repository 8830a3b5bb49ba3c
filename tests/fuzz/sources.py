"""Readers of what sources feed: pictures as arrays, through preprocessing to an answer, and video files as a camera."""

import threading
from types import SimpleNamespace

import numpy as np

from skerry_agent.ports.runner_protocol import CameraSource, Job
from skerry_agent.processing import ProcessingError, parse_npy
from skerry_agent.runner.camera import Camera, opencv
from skerry_agent.runner.errors import InferenceError, SourceError
from skerry_agent.runner.feed import Feed
from skerry_agent.runner.inference import Inference
from skerry_agent.runner.results import Results
from skerry_agent.runner.source_thread import SourceIssues
from skerry_agent.runner.tensor import zeros
from skerry_agent.wire.manifest import Bundle, Postprocess, TensorSpec
from tests.fuzz.arrays import NPY_TOKENS, TENSORS, _npy, npy_seeds, picture_seeds, wav_seeds
from tests.fuzz.files import scratch_file

BOXES = (TensorSpec("boxes", "float32", (1, 5, 4)), TensorSpec("scores", "float32", (1, 5, 2)))


class Constant:
    """An engine that answers everything with zeros."""

    def __init__(self, bundle: Bundle) -> None:
        self.about = SimpleNamespace(name="constant", version="1", delegate="")
        self.inputs, self._outputs = bundle.inputs, bundle.outputs

    def infer(self, inputs: object) -> object:
        return [zeros(spec) for spec in self._outputs]


def feeds() -> list[Feed]:
    """A feed for each kind of preprocessing; detectors, as their boxes go back to the picture's size."""
    path, made = str(scratch_file("results")), []
    for prep, tensor in TENSORS:
        task = "detection" if len(tensor.shape) == 4 else "classification"
        bundle = Bundle(
            "cpu", (), (tensor,), BOXES, task=task, preprocess=prep, postprocess=Postprocess(boxes=0, scores=1)
        )
        job = Job("m", "m@1.0.0", "", bundle, results_file="/dev/null" if made else path)
        issues = SourceIssues()
        results = Results(job, lambda _result: None, issues)
        made.append(Feed(job, Inference(Constant(bundle), bundle), issues, results))  # type: ignore[arg-type]
    return made


def open_sample() -> object:
    """An .npy file of a watched folder, up to its line in the results: by every kind of model, refused by most."""
    all_feeds = feeds()

    def read(raw: bytes) -> None:
        array, refusals = parse_npy(raw), []
        for feed in all_feeds:
            try:
                feed.sample((array,), "x.npy")
            except ProcessingError as error:
                refusals.append(error)
            assert not feed.inference.take().errors
        if len(refusals) == len(all_feeds):
            raise refusals[0]

    return read


def sample_seeds() -> list[bytes]:
    rng = np.random.default_rng(6)
    shapes = ((3, 4), (4,), (9, 7, 3), (1, 9, 7, 3), (9, 7, 4), (9, 7), (3, 8, 6), (1, 1, 3), (200, 2, 3))
    made = [_npy(rng.integers(0, 255, shape).astype(kind)) for shape in shapes for kind in ("u1", "<f4", "<i8", "<f2")]
    return [*made, _npy(np.full((3, 4), 1e308)), _npy(np.full((9, 7, 3), np.inf, np.float32)), *npy_seeds()]


def open_video() -> object:
    """A video file or a picture where a camera should be."""
    path = scratch_file("camera.avi")
    stop = threading.Event()
    stop.set()

    def read(raw: bytes) -> None:
        path.write_bytes(raw)
        feed = SimpleNamespace(sample=lambda rgb, name: rgb[0].sum(), inference=SimpleNamespace(drop=lambda *_: None))
        camera = Camera(CameraSource(str(path), 1e9), feed)  # type: ignore[arg-type]
        try:
            for _ in range(3):
                with camera._library():
                    frame = camera._newest(float("inf"))
                camera._take(frame)
        finally:
            camera._release()

    return read


def video_seeds() -> list[bytes]:
    cv2 = opencv()  # with the limits that it has in a runner
    made, path = [*picture_seeds(), *wav_seeds()[:1]], scratch_file("made.avi")
    for codec in ("MJPG", "XVID"):
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*codec), 10, (16, 16))
        for at in range(2):
            writer.write(np.full((16, 16, 3), 100 * at, np.uint8))
        writer.release()
        made += [path.read_bytes()] * 3
    made += [bytes(cv2.imencode(kind, np.zeros((8, 8, 3), np.uint8))[1]) for kind in (".jpg", ".webp", ".tiff")]
    return made


READERS = (
    ("sample", sample_seeds, open_sample, (ProcessingError, InferenceError), NPY_TOKENS),
    ("images", video_seeds, open_video, (SourceError, ProcessingError), (b"RIFF", b"LIST", b"movi", b"00dc"), True),
)
