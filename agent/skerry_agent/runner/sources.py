"""Where samples come from besides the API: a replayed data set, a watched directory.

Each source runs in one thread until it is told to stop. A source that cannot keep up drops and counts; a sample that
cannot be used is counted as an error and the source goes on.
"""

import threading
import time
from pathlib import Path

from skerry_agent.ports import runner_protocol
from skerry_agent.processing import Array, ProcessingError, parse_npy, parse_npz
from skerry_agent.runner.errors import InferenceError, SourceError
from skerry_agent.runner.exercise import InputSource, at_rate
from skerry_agent.runner.feed import Feed, counting_errors

SETTLE_S = 2.0
"""An unreadable file may still be being written: it counts as an error only when unchanged for this long."""


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

        at_rate(self._rate_hz, feed_next, stop, self._feed.inference.drop)


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
