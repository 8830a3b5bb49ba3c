"""Frames of a V4L2 camera, or of a video file, as samples: always the newest, never a queue of old ones.

Needs the extra [camera] (OpenCV without windows). A camera that is unplugged raises `SourceError`, and whoever runs
this looks for it again; a video file starts again at its end. Changes only the order of colours: size and shape are up
to the recipe's preprocessing.
"""

import os
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from skerry_agent.ports import runner_protocol
from skerry_agent.processing import ProcessingError
from skerry_agent.runner.errors import SourceError
from skerry_agent.runner.exercise import MAX_PERIOD_S, is_rate
from skerry_agent.runner.feed import Feed, counting_errors

MAX_PIXELS = 1 << 25
"""Of a frame, those of 8K: what a damaged header asks for beyond that is not allocated."""


class Camera:
    """Feeds RGB frames (height, width, 3)."""

    def __init__(self, spec: runner_protocol.CameraSource, feed: Feed) -> None:
        self._cv = opencv()
        self._spec = spec
        self._feed = feed
        self._at = 0
        if not is_rate(spec.rate_hz):
            raise SourceError(f"camera source {spec.path} needs a rate above 0")
        self._device = self._open()

    def run(self, stop: threading.Event) -> None:
        """See `InputSource.run`. Raises `SourceError` when the camera is gone."""
        if self._device is None:
            self._device = self._open()
        due = time.monotonic()
        try:
            while not stop.wait(max(0.0, due - time.monotonic())):
                with self._library():
                    frame = self._newest(due)
                due = max(due + min(1.0 / self._spec.rate_hz, MAX_PERIOD_S), time.monotonic())
                counting_errors(self._feed, lambda frame=frame: self._take(frame))  # type: ignore[misc]
        finally:
            self._release()

    def _take(self, frame: Any) -> None:
        """Feed one frame. Raises `ProcessingError` for one that is no picture, and what `Feed.sample` raises."""
        name, self._at = f"camera:{self._at}", self._at + 1
        try:
            rgb = self._cv.cvtColor(frame, self._cv.COLOR_BGR2RGB)
        except Exception as error:  # noqa: BLE001 - OpenCV's own kind, and numpy's
            raise ProcessingError(f"{name} is no picture in colours: {' '.join(str(error).split())}") from None
        self._feed.sample((rgb,), name)

    def _newest(self, due: float) -> Any:
        """The frame of now: a camera holds back a few, which are old by the time one looks.

        A video that is at its end begins again. Raises `SourceError` where there is no frame then either.
        """
        assert self._device is not None
        ok, frame = self._device.read()
        if not ok:
            self._release()
            self._device = self._open()
            ok, frame = self._device.read()
            if not ok:
                raise SourceError(f"camera source {self._spec.path} gives no frames", hint="check its cable")
            return frame
        late = time.monotonic() - due
        while ok and late > 1.0 / self._spec.rate_hz and self._device.grab():  # only as many as were missed
            ok, newer = self._device.retrieve()
            frame = newer if ok else frame
            self._feed.inference.drop()
            late -= 1.0 / self._spec.rate_hz
        return frame

    @contextmanager
    def _library(self) -> Iterator[None]:
        """Whatever OpenCV raises of a device or a file is an error of this source."""
        try:
            yield
        except SourceError:
            raise
        except Exception as error:  # noqa: BLE001 - cv2.error, and what its backends raise
            raise SourceError(f"camera source {self._spec.path} failed: {error}") from None

    def _open(self) -> Any:
        """The device. Raises `SourceError` if it cannot be opened."""
        with self._library():
            return self._opened()

    def _opened(self) -> Any:
        cv, spec = self._cv, self._spec
        if stat.S_IFMT(_mode(spec.path)) in {stat.S_IFIFO, stat.S_IFDIR, stat.S_IFSOCK, stat.S_IFBLK}:
            raise SourceError(f"camera source {spec.path} is neither a camera nor a video", hint="see /dev/video*")
        backend = cv.CAP_V4L2 if spec.path.startswith("/dev/video") else cv.CAP_ANY
        device = cv.VideoCapture(spec.path, backend)
        if not device.isOpened():
            device.release()
            hint = "check that it is there and that this user is in group video"
            raise SourceError(f"camera source {spec.path} cannot be opened", hint=hint)
        size = device.get(cv.CAP_PROP_FRAME_WIDTH) * device.get(cv.CAP_PROP_FRAME_HEIGHT)
        if size > MAX_PIXELS:
            device.release()
            raise SourceError(f"camera source {spec.path} says that its frames have {size:.0f} pixels")
        device.set(cv.CAP_PROP_BUFFERSIZE, 1)
        if spec.width and spec.height:
            device.set(cv.CAP_PROP_FRAME_WIDTH, spec.width)
            device.set(cv.CAP_PROP_FRAME_HEIGHT, spec.height)
        return device

    def _release(self) -> None:
        if self._device is not None:
            self._device.release()
        self._device = None


def _mode(path: str) -> int:
    """What kind of file it is; 0 for what is none, an address for instance."""
    try:
        return os.stat(path).st_mode  # noqa: PTH116 - an address is no path
    except (OSError, ValueError):
        return 0


def opencv() -> ModuleType:
    """The library, with limits that it reads when it is imported. Raises `SourceError`."""
    os.environ.setdefault("OPENCV_LOG_LEVEL", "OFF")  # what goes wrong is told once, by this module
    os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(MAX_PIXELS))
    try:
        import cv2  # noqa: PLC0415 - an extra
    except Exception as error:  # noqa: BLE001 - a library built for another numpy raises more than ImportError
        line = " ".join(str(error).split())
        raise SourceError(f"OpenCV is not usable ({line})", hint="pip install 'skerry-agent[camera]'") from None
    return cv2
