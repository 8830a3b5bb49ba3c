"""Where samples come from besides the API: the table of sources, and the one that replays a data set.

Each source runs in one thread until it is told to stop. A source that cannot keep up drops and counts; a sample that
cannot be used is an input error and the source goes on; one that cannot be used itself raises `SourceError`.
"""

import threading
from pathlib import Path

from skerry_agent.ports import runner_protocol
from skerry_agent.processing import ProcessingError, parse_npz
from skerry_agent.processing.arrays import MAX_BYTES
from skerry_agent.runner.errors import SourceError
from skerry_agent.runner.exercise import InputSource, at_rate, is_rate
from skerry_agent.runner.feed import Feed, counting_errors
from skerry_agent.runner.watched_folder import WatchedFolder, columns, read_sample


def open_source(spec: runner_protocol.InputSourceSpec, feed: Feed) -> InputSource:
    """The source that a job describes. Raises `SourceError` if it cannot be read."""
    if isinstance(spec, runner_protocol.ReplaySource):
        return Replay(spec, feed)
    if isinstance(spec, runner_protocol.CameraSource):
        from skerry_agent.runner.camera import Camera  # noqa: PLC0415 - its library is an extra

        return Camera(spec, feed)
    return WatchedFolder(spec, feed)


class Replay:
    """Feeds the samples of an .npz file in a loop at a fixed rate: `inputs` (N, ...), or `input_NAME` of each input."""

    def __init__(self, spec: runner_protocol.ReplaySource, feed: Feed) -> None:
        try:
            arrays = parse_npz(read_sample(Path(spec.path), MAX_BYTES), spec.path)
            self._columns = columns(arrays, feed.inputs)
        except KeyError as error:
            raise SourceError(f"replay source {spec.path} has no array {error.args[0]}") from None
        except (OSError, ProcessingError) as error:
            raise SourceError(f"replay source {spec.path} cannot be used: {error}") from None
        lengths = {len(column) if column.ndim else 0 for column in self._columns}
        if len(lengths) != 1 or lengths == {0} or not is_rate(spec.rate_hz):
            needed = (
                "samples in its `inputs`, as many for each input," if len(lengths) > 1 else "samples in its `inputs`"
            )
            raise SourceError(f"replay source {spec.path} needs {needed} and a rate above 0")
        self._rate_hz = spec.rate_hz
        self._feed = feed

    def run(self, stop: threading.Event) -> None:
        """See `InputSource.run`."""
        at = 0

        def feed_next() -> None:
            nonlocal at
            if not at:
                self._feed.restart()
            sample = tuple(column[at] for column in self._columns)
            counting_errors(self._feed, lambda: self._feed.sample(sample, f"replay:{at}"))
            at = (at + 1) % len(self._columns[0])

        at_rate(self._rate_hz, feed_next, stop, self._feed.inference.drop)
