"""Frames of a V4L2 camera, or of a video file, as samples: always the newest, never a queue of old ones.

Needs the extra [camera] (OpenCV without windows). An unplugged camera is looked for once a second; a video file starts
again at its end. Changes only the order of colours: size and shape are up to the recipe's preprocessing.
"""

import os
import threading
import time
from types import ModuleType
from typing import Any

from skerry_agent.ports import runner_protocol
from skerry_agent.runner.errors import SourceError
from skerry_agent.runner.feed import Feed, counting_errors

RETRY_S = 1.0


class Camera:
    """Feeds RGB frames (height, width, 3)."""

    def __init__(self, spec: runner_protocol.CameraSource, feed: Feed) -> None:
        self._cv = _opencv()
        self._spec = spec
        self._feed = feed
        if spec.rate_hz <= 0:
            raise SourceError(f"camera source {spec.path} needs a rate above 0")
        self._device = self._open()
        if self._device is None:
            hint = "check that it is there and that this user is in group video"
            raise SourceError(f"camera source {spec.path} cannot be opened", hint=hint)

    def run(self, stop: threading.Event) -> None:
        """See `InputSource.run`."""
        at, due = 0, time.monotonic()
        while not stop.wait(max(0.0, due - time.monotonic())):
            frame = self._newest(due)
            due = max(due + 1.0 / self._spec.rate_hz, time.monotonic())
            if frame is None:
                self._reopen(stop)
                continue
            rgb = self._cv.cvtColor(frame, self._cv.COLOR_BGR2RGB)
            counting_errors(self._feed, lambda rgb=rgb, at=at: self._feed.sample(rgb, f"camera:{at}"))  # type: ignore[misc]
            at += 1
        if self._device is not None:
            self._device.release()

    def _newest(self, due: float) -> Any:
        """The frame of now, None when there is none: a camera holds back a few, which are old by the time one looks."""
        if self._device is None:
            return None
        ok, frame = self._device.read()
        late = time.monotonic() - due
        while ok and late > 1.0 / self._spec.rate_hz and self._device.grab():  # only as many as were missed
            ok, frame = self._device.retrieve()
            self._feed.inference.drop()
            late -= 1.0 / self._spec.rate_hz
        return frame if ok else None

    def _reopen(self, stop: threading.Event) -> None:
        if self._device is not None:
            self._device.release()
        self._device = self._open()
        if self._device is None:  # not the end of a video
            self._feed.inference.failed()
            stop.wait(RETRY_S)

    def _open(self) -> Any:
        """The device, None if it cannot be opened."""
        cv, spec = self._cv, self._spec
        backend = cv.CAP_V4L2 if spec.path.startswith("/dev/video") else cv.CAP_ANY
        device = cv.VideoCapture(spec.path, backend)
        if not device.isOpened():
            device.release()
            return None
        device.set(cv.CAP_PROP_BUFFERSIZE, 1)
        if spec.width and spec.height:
            device.set(cv.CAP_PROP_FRAME_WIDTH, spec.width)
            device.set(cv.CAP_PROP_FRAME_HEIGHT, spec.height)
        return device


def _opencv() -> ModuleType:
    os.environ.setdefault("OPENCV_LOG_LEVEL", "OFF")  # what goes wrong is told once, by this module
    try:
        import cv2  # noqa: PLC0415 - an extra
    except ImportError as error:
        line = " ".join(str(error).split())
        raise SourceError(f"OpenCV is not usable ({line})", hint="pip install 'skerry-agent[camera]'") from None
    return cv2
