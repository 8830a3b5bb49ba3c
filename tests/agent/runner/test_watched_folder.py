"""A watched folder in which anything may appear: each file that is no sample is one input error, and goes to `bad/`.

In this process, with a feed that only listens; `test_sources.py` has real runners.
"""

import contextlib
import io
import os
import socket
import threading
import time
import tracemalloc

import numpy as np
import pytest

from skerry_agent.ports.runner_protocol import DirectorySource
from skerry_agent.runner.errors import InferenceError, SourceError
from skerry_agent.runner.watched_folder import MAX_SAMPLE_BYTES, WatchedFolder, read_sample, shown
from tests.kit.feed import Heard
from tests.kit.waiting import eventually

POLL_S, SETTLE_S = 0.02, 0.1


def npy(values=(1, 2, 3, 4)):
    stream = io.BytesIO()
    np.save(stream, np.array(values, np.uint8))
    return stream.getvalue()


UNTOKENIZABLE = b"\x93NUMPY\x01\x00\x0e\x00{'descr': ('<f\n"
"""Numpy hands such a header to Python's tokenizer, whose error is none of those that numpy documents."""

HUGE = b"(1000000000000,), }"


def _socket(path):
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))


def _sparse(path):
    with path.open("wb") as file:
        file.truncate(MAX_SAMPLE_BYTES + 1)


BAD = {
    "a header that cannot be tokenized": lambda path: path.write_bytes(UNTOKENIZABLE),
    "text": lambda path: path.write_text("hello"),
    "nothing": lambda path: path.write_bytes(b""),
    "a folder": lambda path: path.mkdir(),
    "a full folder": lambda path: (path.mkdir(), (path / "more.npy").write_bytes(npy())),
    "a pipe": os.mkfifo,
    "a socket": _socket,
    "a link to nowhere": lambda path: path.symlink_to("nowhere"),
    "a link to itself": lambda path: path.symlink_to(path),
    "a link to a device": lambda path: path.symlink_to("/dev/zero"),
    "a file that is too large": _sparse,
    "ten to the twelve elements": lambda path: path.write_bytes(
        npy().replace(b"(4,), }           ", b"(1000000000000,), }")
    ),
    "a file cut off": lambda path: path.write_bytes(npy()[:-2]),
}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "in").mkdir()
    return tmp_path / "in"


def wait_until(check):
    eventually(check, "what the watched folder should do")


@contextlib.contextmanager
def watching(folder, feed):
    """The source in a thread, which must end well; one that fails raises here."""
    source = WatchedFolder(DirectorySource(str(folder), POLL_S), feed, SETTLE_S)
    stop, raised = threading.Event(), []

    def run():
        try:
            source.run(stop)
        except Exception as error:  # noqa: BLE001 - raised again in the test
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield thread
    finally:
        stop.set()
        thread.join(10)
    assert not thread.is_alive()
    if raised:
        raise raised[0]


@pytest.mark.parametrize("kind", BAD)
def test_what_is_no_sample_goes_to_bad_as_one_input_error_and_the_next_is_answered(folder, kind):
    BAD[kind](folder / "a.npy")
    (folder / "b.npy").write_bytes(npy())
    feed = Heard()
    with watching(folder, feed):
        wait_until(
            lambda: (
                feed.names == ["b.npy"]
                and (folder / "bad" / "a.npy").is_symlink() | (folder / "bad" / "a.npy").exists()
            )
        )
        wait_until(lambda: not list(folder.glob("*.npy")))
    assert feed.input_errors == 1
    assert len(feed.lines) == 1
    assert "\n" not in feed.lines[0]


def test_a_link_to_a_sample_is_one(folder, tmp_path):
    (tmp_path / "elsewhere.npy").write_bytes(npy())
    (folder / "a.npy").symlink_to(tmp_path / "elsewhere.npy")
    feed = Heard()
    with watching(folder, feed):
        wait_until(lambda: feed.names == ["a.npy"])
    assert feed.input_errors == 0


def test_a_file_that_the_disk_does_not_give_is_a_bad_input(folder):
    """As for want of a permission, which root would not notice: reading gives EIO."""
    (folder / ".a").symlink_to("/proc/self/mem")
    (folder / ".a").rename(folder / "a.npy")
    feed = Heard()
    with watching(folder, feed):
        wait_until((folder / "bad" / "a.npy").is_symlink)
    assert feed.input_errors == 1


def test_a_file_takes_no_more_memory_than_it_is(tmp_path):
    """A read of as much as is allowed takes that much at once: under a memory limit no source could be opened."""
    (tmp_path / "a.npy").write_bytes(npy())
    tracemalloc.start()
    try:
        read_sample(tmp_path / "a.npy", 2**30)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2**20


def test_nothing_in_bad_is_overwritten(folder):
    feed = Heard()
    with watching(folder, feed):
        for number in range(3):
            (folder / ".a").write_text(f"bad {number}")
            (folder / ".a").rename(folder / "a.npy")
            wait_until(lambda number=number: feed.input_errors == number + 1)
    kept = {path.name: path.read_text() for path in (folder / "bad").iterdir()}
    assert kept == {"a.npy": "bad 0", "a-1.npy": "bad 1", "a-2.npy": "bad 2"}


def test_a_name_that_is_no_text_is_answered_and_can_be_written_down(folder):
    (folder / os.fsdecode(b"caf\xe9\n\x1b[2J.npy")).write_bytes(npy())
    feed = Heard()
    with watching(folder, feed):
        wait_until(lambda: feed.names)
    assert feed.names == [r"caf\xe9\n\x1b[2J.npy"]
    feed.names[0].encode()


@pytest.mark.parametrize("where", ["done", "bad"])
def test_a_file_that_cannot_be_moved_is_fed_once_and_told(folder, where):
    """A folder that cannot be written stands in for a full disk: neither may turn into a loop of inferences."""
    feed = Heard()
    with watching(folder, feed):
        wait_until((folder / "bad").exists)
        (folder / where).rmdir()
        (folder / where).write_text("no folder")
        (folder / "a.npy").write_bytes(npy() if where == "done" else b"?")
        wait_until(lambda: feed.issues.lines)
        (folder / "b.npy").write_bytes(npy((5, 6, 7, 8)))
        wait_until(lambda: "b.npy" in feed.names)
        time.sleep(10 * POLL_S)
    assert "cannot be moved out of the way" in feed.issues.lines[0]
    assert len(feed.names) == len(set(feed.names))
    assert feed.input_errors == (where == "bad")


def test_a_file_that_vanishes_is_no_error(folder):
    feed = Heard()
    source = WatchedFolder(DirectorySource(str(folder), POLL_S), feed, SETTLE_S)
    source._take("gone.npy")
    assert (feed.names, feed.input_errors) == ([], 0)


def test_a_sample_on_which_the_model_fails_goes_to_bad_and_is_no_input_error(folder):
    feed = Heard(refusal=InferenceError("out of memory"))
    (folder / "a.npy").write_bytes(npy())
    with watching(folder, feed):
        wait_until((folder / "bad" / "a.npy").exists)
    assert feed.input_errors == 0


def test_a_folder_that_goes_is_said_and_not_made_anew(folder):
    feed = Heard()
    source = WatchedFolder(DirectorySource(str(folder), POLL_S), feed, SETTLE_S)
    folder.rename(folder.with_name("away"))
    with pytest.raises(SourceError, match="cannot be used"):
        source.run(threading.Event())
    assert not folder.exists()


def test_a_folder_that_goes_while_it_is_watched_ends_the_source_with_one_line(folder):
    with pytest.raises(SourceError, match="cannot be used"), watching(folder, Heard()) as thread:  # noqa: PT012
        wait_until((folder / "bad").exists)
        folder.rename(folder.with_name("away"))
        thread.join(10)


@pytest.mark.parametrize("poll_s", [-1.0, 0.0, 1e300])
def test_any_poll_interval_is_one_that_a_thread_can_wait_for(folder, poll_s):
    source = WatchedFolder(DirectorySource(str(folder), poll_s), Heard())
    assert 0 < source._poll_s <= 3600


def test_names_are_shown_on_one_line():
    assert shown("plain ä.npy") == "plain ä.npy"
    assert shown("a\tb\x07") == r"a\tb\x07"
