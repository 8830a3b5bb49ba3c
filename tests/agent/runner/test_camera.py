"""Frames of a video file, through the library that reads cameras."""

import itertools
import os
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest

from skerry_agent.ports import runner_protocol
from skerry_agent.processing import ProcessingError
from skerry_agent.runner.errors import SourceError
from skerry_agent.runner.sources import open_source
from tests.kit.feed import Heard

cv2 = pytest.importorskip("cv2", reason="OpenCV is not installed: pip install opencv-python-headless")
FRAMES = 5


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
    assert feed.input_errors == 0


def test_who_is_slower_than_the_camera_gets_the_newest_frame_and_counts_the_others(video):
    feed = Heard(seconds=0.05)
    source = open_source(runner_protocol.CameraSource(str(video), rate_hz=100.0), feed)
    run_until(source, lambda: feed.dropped >= 2)
    assert len(feed.frames) >= 1


def test_a_camera_that_goes_away_says_so_and_is_found_again(video, tmp_path):
    feed = Heard()
    source = open_source(runner_protocol.CameraSource(str(video), rate_hz=500.0), feed)
    video.rename(tmp_path / "away.avi")
    with pytest.raises(SourceError, match="cannot be opened"):
        source.run(threading.Event())
    (tmp_path / "away.avi").rename(video)
    before = len(feed.frames)
    run_until(source, lambda: len(feed.frames) > before)
    assert feed.input_errors == 0


@pytest.mark.parametrize("kept", [60, 400, 2000])
def test_a_video_that_is_cut_off_is_a_source_that_cannot_be_used(video, kept):
    """Never a runner that ends, or that turns in a circle and says nothing."""
    video.write_bytes(video.read_bytes()[:kept])
    feed = Heard()
    with pytest.raises(SourceError, match=r"cannot be opened|gives no frames"):
        open_source(runner_protocol.CameraSource(str(video), rate_hz=500.0), feed).run(threading.Event())


def test_a_frame_that_is_no_picture_is_an_input_error(video):
    feed = Heard()
    camera = open_source(runner_protocol.CameraSource(str(video)), feed)
    for frame in (None, np.zeros((4, 4, 2), np.uint8), np.zeros(3, np.complex64)):
        with pytest.raises(ProcessingError, match="no picture"):
            camera._take(frame)


@pytest.mark.parametrize(
    ("path", "rate", "words"),
    [
        ("/dev/video99", 10.0, "cannot be opened"),
        ("/dev/video0", 0.0, "a rate above 0"),
        ("/dev/video0", float("nan"), "a rate above 0"),
    ],
)
def test_a_camera_that_cannot_be_used_is_one_line(path, rate, words):
    with pytest.raises(SourceError, match=words) as refused:
        open_source(runner_protocol.CameraSource(path, rate), Heard())
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_a_camera_that_is_a_pipe_or_a_folder_is_not_waited_for(tmp_path, make):
    make(tmp_path / "camera")
    with pytest.raises(SourceError, match="neither a camera nor a video"):
        open_source(runner_protocol.CameraSource(str(tmp_path / "camera")), Heard())


def test_what_the_library_raises_of_a_file_is_the_source_s_error(video):
    """Sizes in an AVI's index are asserted by OpenCV, which raises an error of its own kind."""
    camera = open_source(runner_protocol.CameraSource(str(video)), Heard())
    with pytest.raises(SourceError, match="failed: ") as refused, camera._library():
        cv2.cvtColor(None, cv2.COLOR_BGR2RGB)
    assert "\n" not in str(refused.value)


def test_a_frame_larger_than_any_camera_s_is_not_allocated(video):
    camera = open_source(runner_protocol.CameraSource(str(video)), Heard())
    released = []
    device = SimpleNamespace(isOpened=lambda: True, get=lambda _what: 60_000.0, release=lambda: released.append(1))
    camera._cv = SimpleNamespace(
        CAP_ANY=0, CAP_PROP_FRAME_WIDTH=3, CAP_PROP_FRAME_HEIGHT=4, VideoCapture=lambda *_: device
    )
    with pytest.raises(SourceError, match="3600000000 pixels"):
        camera._opened()
    assert released
