"""Where samples come from besides the API: a replayed data set, a watched directory, golden inputs as synthetic load.

Each source runs in one thread until it is told to stop. A source that cannot keep up drops and counts; a sample that
cannot be used is counted as an error and the source goes on.
"""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from skerry_agent.ports import runner_protocol
from skerry_agent.processing import Array, GoldenSet, ProcessingError, parse_npy, parse_npz
from skerry_agent.runner.error_log import ErrorLog
from skerry_agent.runner.errors import InferenceError, SourceError
from skerry_agent.runner.feed import Feed, counting_errors
from skerry_agent.runner.inference import Inference

SETTLE_S = 2.0
"""An unreadable file may still be being written: it counts as an error only when unchanged for this long."""


class InputSource(Protocol):
    """A running source of samples, apart from the inference API."""

    def run(self, stop: threading.Event) -> None:
        """Feed until `stop` is set."""


def open_source(spec: runner_protocol.InputSourceSpec, feed: Feed) -> InputSource:
    """The source that a job describes. Raises `SourceError` if it cannot be read."""
    if isinstance(spec, runner_protocol.ReplaySource):
        return Replay(spec, feed)
    if isinstance(spec, runner_protocol.CameraSource):
        from skerry_agent.runner.camera import Camera  # noqa: PLC0415 - its library is an extra

        return Camera(spec, feed)
    return Directory(spec, feed)


class Replay:
    """Feeds the samples of an .npz file's `inputs` (N, ...) in a loop at a fixed rate."""

    def __init__(self, spec: runner_protocol.ReplaySource, feed: Feed) -> None:
        try:
            self._samples: Array = parse_npz(Path(spec.path).read_bytes(), spec.path)["inputs"]
        except (OSError, ProcessingError, KeyError) as error:
            raise SourceError(f"replay source {spec.path} cannot be used: {error}") from None
        if not self._samples.ndim or not len(self._samples) or spec.rate_hz <= 0:
            raise SourceError(f"replay source {spec.path} needs samples in its `inputs` and a rate above 0")
        self._rate_hz = spec.rate_hz
        self._feed = feed

    def run(self, stop: threading.Event) -> None:
        """See `InputSource.run`."""
        at = 0

        def feed_next() -> None:
            nonlocal at
            counting_errors(self._feed, lambda: self._feed.sample(self._samples[at], f"replay:{at}"))
            at = (at + 1) % len(self._samples)

        _at_rate(self._rate_hz, feed_next, stop, self._feed.inference.drop)


class Directory:
    """Feeds each .npy file that appears in a folder, oldest name first, and moves it to `done/` or `bad/` in it.

    Writers should write to a name that starts with a dot, or elsewhere on the same file system, and rename.
    """

    def __init__(self, spec: runner_protocol.DirectorySource, feed: Feed) -> None:
        self._folder = Path(spec.path)
        self._poll_s = spec.poll_s
        self._feed = feed
        try:
            for name in ("done", "bad"):
                (self._folder / name).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SourceError(f"watched folder {spec.path} cannot be used: {error}") from None

    def run(self, stop: threading.Event) -> None:
        """See `InputSource.run`."""
        while not stop.wait(self._poll_s):
            for path in sorted(self._folder.glob("[!.]*.npy")):
                if stop.is_set():
                    return
                counting_errors(self._feed, lambda path=path: self._take(path))  # type: ignore[misc]

    def _take(self, path: Path) -> None:
        """Feed one file and move it out of the way, whatever comes of it."""
        try:
            self._feed.sample(parse_npy(path.read_bytes(), path.name), path.name)
        except ProcessingError:
            if time.time() - path.stat().st_mtime < SETTLE_S:
                return
            self._move(path, "bad")
            raise
        except (InferenceError, OSError):
            self._move(path, "bad")
            raise
        self._move(path, "done")

    def _move(self, path: Path, folder: str) -> None:
        path.replace(self._folder / folder / path.name)


class Exercise:
    """Runs golden inputs at a fixed rate where there is no other load: a tick is skipped after any other inference."""

    def __init__(self, golden: GoldenSet, inference: Inference, rate_hz: float) -> None:
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

        _at_rate(self._rate_hz, exercise, stop, lambda _missed: None)


def _at_rate(rate_hz: float, action: Callable[[], None], stop: threading.Event, missed: Callable[[int], None]) -> None:
    """Call `action` at a fixed rate; ticks that pass while it runs are reported to `missed`, not made up for."""
    period = 1.0 / rate_hz
    due = time.monotonic()
    while not stop.wait(max(0.0, due - time.monotonic())):
        action()
        due += period
        late = int((time.monotonic() - due) / period)
        if late > 0:
            missed(late)
            due += late * period
