"""Frames of a video file, through the library that reads cameras."""

import itertools
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest

from skerry_agent.ports import runner_protocol
from skerry_agent.runner.errors import UnfitError
from skerry_agent.runner.sources import open_source

cv2 = pytest.importorskip("cv2", reason="OpenCV is not installed: pip install opencv-python-headless")
FRAMES = 5


class Heard:
    """A feed that keeps what it is given."""

    def __init__(self, seconds=0.0):
        self.frames, self.names, self.dropped, self.failures = [], [], 0, 0
        self.inference = SimpleNamespace(drop=self.drop, failed=self.failed)
        self.errors = SimpleNamespace(say=lambda error: None)
        self._seconds = seconds

    def sample(self, raw, source):
        time.sleep(self._seconds)
        self.frames.append(raw.copy())
        self.names.append(source)

    def drop(self, count=1):
        self.dropped += count

    def failed(self):
        self.failures += 1


@pytest.fixture
def video(tmp_path):
    """Five frames of 48 x 32 pixels, red first, each a little darker."""
    path = tmp_path / "video.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, (48, 32))
    for at in range(FRAMES):
        writer.write(np.full((32, 48, 3), (0, 0, 255 - 40 * at), np.uint8))
    writer.release()
    return path


def run_until(source, done, seconds=20.0):
    stop = threading.Event()
    thread = threading.Thread(target=source.run, args=(stop,))
    thread.start()
    end = time.monotonic() + seconds
    while not done() and time.monotonic() < end:
        time.sleep(0.01)
    stop.set()
    thread.join(10)
    assert not thread.is_alive()
    assert done()


def test_frames_come_in_order_in_rgb_and_start_again(video):
    feed = Heard()
    source = open_source(runner_protocol.CameraSource(str(video), rate_hz=20.0), feed)
    run_until(source, lambda: len(feed.frames) > 2 * FRAMES)
    first = feed.frames[0]
    assert first.shape == (32, 48, 3)
    assert first[16, 24, 2] < 60
    reds = [int(frame[16, 24, 0]) for frame in feed.frames]  # a busy machine may miss some, never reorder them
    again = [i for i, (a, b) in enumerate(itertools.pairwise(reds)) if b > a]
    assert max(reds) - min(reds) > 60
    assert 1 <= len(again) <= len(reds) // 2
    assert feed.names[0] == "camera:0"
    assert feed.failures == 0


def test_who_is_slower_than_the_camera_gets_the_newest_frame_and_counts_the_others(video):
    feed = Heard(seconds=0.05)
    source = open_source(runner_protocol.CameraSource(str(video), rate_hz=100.0), feed)
    run_until(source, lambda: feed.dropped >= 2)
    assert len(feed.frames) >= 1


def test_a_camera_that_goes_away_is_counted_and_looked_for(video):
    feed = Heard()
    source = open_source(runner_protocol.CameraSource(str(video), rate_hz=500.0), feed)
    video.unlink()
    run_until(source, lambda: feed.failures >= 1)


@pytest.mark.parametrize(
    ("path", "rate", "words"), [("/dev/video99", 10.0, "cannot be opened"), ("/dev/video0", 0.0, "a rate above 0")]
)
def test_a_camera_that_cannot_be_used_is_one_line(path, rate, words):
    with pytest.raises(UnfitError, match=words) as refused:
        open_source(runner_protocol.CameraSource(path, rate), Heard())
    assert "\n" not in str(refused.value)
