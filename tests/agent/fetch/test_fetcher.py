"""Fetching over exact topics: the window, bad and duplicate chunks, resume from disk, and every way it can fail."""

import queue
import shutil
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skerry_agent.fetch.fetcher import (
    FIRST_WINDOW,
    MAX_DAMAGED,
    MAX_RETRY_AFTER_S,
    OVERRUN_BYTES,
    OVERRUN_FACTOR,
    RETRY_AFTER_S,
    TRANSFER_OVERRUN,
    WINDOW,
    Fetcher,
    Limits,
)
from skerry_agent.fetch.over_mqtt import Retained
from skerry_agent.fetch.sources import Folder, ThreadedSource
from skerry_agent.state import blobs as agent_blobs
from skerry_agent.state.blobs import BlobStore
from skerry_agent.wire import topics
from skerry_agent.wire.blobs import describe, digest_list, split
from tests.kit.blobs import CHUNK, NO_LIMITS, published
from tests.kit.clock import FakeClock
from tests.kit.link import FakeLink

DATA = bytes(i * 7 % 251 for i in range(20 * CHUNK + 17))
REF = describe(DATA, CHUNK)


class Outcome:
    """A fetcher over the broker's retained chunks, after other sources if there are any."""

    def __init__(self, link, store, refs, limits=NO_LIMITS, before=()):
        self.done = 0
        self.failures = []
        self.link = link
        self.clock = FakeClock()
        self.retained = Retained(link)
        self.sources = [*before, self.retained]
        self.message = self.retained.message
        self.fetcher = Fetcher(self.clock, store, refs, limits, self._done, lambda *why: self.failures.append(why))

    def start(self):
        self.fetcher.start(self.sources)

    def resume(self):
        self.retained.link_up()
        self.fetcher.resume()

    def _done(self):
        self.done += 1


def test_fetches_through_a_bounded_window(tmp_path):
    link, store = FakeLink(published(DATA)), BlobStore(tmp_path)
    outcome = Outcome(link, store, [REF])
    outcome.start()
    assert link.pump(outcome.message) == REF.chunks + 1
    assert outcome.done == 1
    assert store.path(REF.sha256).read_bytes() == DATA
    assert link.most_subscribed <= WINDOW
    assert not link.subscribed
    assert outcome.fetcher.received == outcome.fetcher.expected == len(DATA)


@settings(deadline=None)  # it writes to a disk that others use, too
@given(sizes=st.lists(st.integers(0, 3 * CHUNK), min_size=1, max_size=4, unique=True))
def test_fetches_several_blobs_of_any_size(tmp_path_factory, sizes):
    store = BlobStore(tmp_path_factory.mktemp("blobs"))
    blobs = [bytes([n % 256]) * n for n in sizes]
    retained = {}
    for blob in blobs:
        retained |= published(blob)
    link = FakeLink({topic: chunk for topic, chunk in retained.items() if chunk})
    outcome = Outcome(link, store, [describe(blob, CHUNK) for blob in blobs])
    outcome.start()
    link.pump(outcome.message)
    assert outcome.done == 1
    assert all(store.has(describe(blob, CHUNK)) for blob in blobs)


def test_wrong_chunks_are_dropped_and_duplicates_harmless(tmp_path):
    link, store = FakeLink(published(DATA)), BlobStore(tmp_path)
    outcome = Outcome(link, store, [REF])
    outcome.start()

    def noisy(topic, payload):
        flipped = bytes([payload[0] ^ 1]) + payload[1:]
        outcome.message(topic, flipped)
        outcome.message(topic, payload)
        outcome.message(topic, payload)

    link.pump(noisy)
    assert outcome.done == 1
    assert store.path(REF.sha256).read_bytes() == DATA


def test_resumes_where_it_was_killed(tmp_path):
    link = FakeLink(published(DATA))
    first = Outcome(link, BlobStore(tmp_path), [REF])
    first.start()
    link.pump(first.message, limit=12)
    link.subscribed.clear()  # the process is gone: nothing was closed, nothing was said

    second = Outcome(link, BlobStore(tmp_path), [REF])
    second.start()
    assert second.fetcher.received == 11 * CHUNK
    assert link.pump(second.message) == REF.chunks - 11
    assert second.done == 1


def test_a_part_that_lost_its_data_is_fetched_again(tmp_path):
    """After a power cut the bitmap may be newer than the data: what it claims is checked."""
    link = FakeLink(published(DATA))
    first = Outcome(link, BlobStore(tmp_path), [REF])
    first.start()
    link.pump(first.message, limit=12)
    link.subscribed.clear()
    part = tmp_path / f"{REF.sha256}.part"
    part.write_bytes(bytes(part.stat().st_size))

    second = Outcome(link, BlobStore(tmp_path), [REF])
    second.start()
    link.pump(second.message)
    assert BlobStore(tmp_path).path(REF.sha256).read_bytes() == DATA


def test_what_is_there_is_not_fetched(tmp_path):
    store = BlobStore(tmp_path)
    store.path(REF.sha256).write_bytes(DATA)
    link = FakeLink()
    outcome = Outcome(link, store, [REF])
    outcome.start()
    assert outcome.done == 1
    assert not link.subscribed


def test_a_wrong_digest_list_is_not_believed(tmp_path):
    link = FakeLink(published(DATA) | {topics.digests(REF.sha256): digest_list(DATA[::-1], CHUNK)})
    outcome = Outcome(link, BlobStore(tmp_path), [REF])
    outcome.start()
    link.pump(outcome.message, limit=5)
    assert not outcome.done
    assert link.subscribed == {topics.digests(REF.sha256)}


def test_a_full_disk_is_said_before_anything_is_fetched(tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=agent_blobs.RESERVE_BYTES + 100)
    monkeypatch.setattr(agent_blobs.shutil, "disk_usage", lambda _path: usage)
    link = FakeLink(published(DATA))
    outcome = Outcome(link, BlobStore(tmp_path), [REF])
    outcome.start()
    link.pump(outcome.message)
    ((reason, detail),) = outcome.failures
    assert reason == "disk_full"
    assert "do not fit" in detail
    assert not link.subscribed
    assert not list(tmp_path.glob("*.part"))


def test_coming_back_online_subscribes_again_to_what_is_awaited(tmp_path):
    link = FakeLink(published(DATA))
    outcome = Outcome(link, BlobStore(tmp_path), [REF])
    outcome.start()
    link.pump(outcome.message, limit=5)
    awaited = set(link.subscribed)
    link.subscribed.clear()
    outcome.resume()
    assert link.subscribed == awaited
    link.pump(outcome.message)
    assert outcome.done == 1


def test_stopping_forgets_the_subscriptions_and_keeps_the_part(tmp_path):
    link = FakeLink(published(DATA))
    outcome = Outcome(link, BlobStore(tmp_path), [REF])
    outcome.start()
    link.pump(outcome.message, limit=5)
    outcome.fetcher.stop()
    assert not link.subscribed
    assert (tmp_path / f"{REF.sha256}.part").exists()
    assert not outcome.failures


@pytest.mark.parametrize("keep", [True, False])
def test_collect_removes_what_is_not_kept(tmp_path, keep):
    store = BlobStore(tmp_path)
    store.path(REF.sha256).write_bytes(DATA)
    store.collect([REF.sha256] if keep else [])
    assert store.has(REF) is keep


class Deaf(FakeLink):
    """Takes every subscription and loses the first so many."""

    def __init__(self, retained, lost):
        super().__init__(retained)
        self.lost = lost
        self.asked = 0

    def subscribe(self, topics):
        self.asked += len(topics)
        for topic in topics:
            if self.lost:
                self.lost -= 1
            else:
                super().subscribe([topic])


def test_what_does_not_come_is_asked_for_again(tmp_path):
    link = Deaf(published(DATA), lost=7)
    outcome = Outcome(link, BlobStore(tmp_path), [REF])
    outcome.start()
    for _ in range(20):
        link.pump(outcome.message)
        outcome.clock.advance(60.0)
    assert outcome.done == 1
    assert not link.subscribed


def test_asking_again_takes_longer_each_time(tmp_path):
    """A fleet that waits for a chunk which is not there does not flood the broker."""
    link = Deaf({}, lost=10**9)
    outcome = Outcome(link, BlobStore(tmp_path), [REF])
    outcome.start()
    outcome.clock.advance(3600.0)
    assert 3600 / MAX_RETRY_AFTER_S / 1.2 <= link.asked <= 2.5 * 3600 / MAX_RETRY_AFTER_S
    assert not outcome.failures  # the deadline is the unit's


def test_after_three_requests_without_an_answer_the_connection_is_renewed(tmp_path):
    """A broker may hold messages back for good; once may not be enough."""
    link = Deaf({}, lost=10**9)
    outcome = Outcome(link, BlobStore(tmp_path), [REF])
    outcome.start()
    while link.asked < 1 + 3 * 4:
        outcome.clock.advance(1.0)
    assert link.renewed == 4


def test_silence_ends_where_it_is_limited_and_counts_only_while_the_link_is_up(tmp_path):
    link = FakeLink()
    outcome = Outcome(link, BlobStore(tmp_path), [REF], Limits(silence_s=60.0))
    outcome.start()
    link.connected = False
    outcome.clock.advance(3600.0)
    assert not outcome.failures
    link.connected = True
    outcome.clock.advance(300.0)
    assert outcome.failures[0][0] == "stalled"
    assert not link.subscribed


def test_every_byte_counts_against_the_budget(tmp_path):
    link = FakeLink(published(DATA))
    outcome = Outcome(link, BlobStore(tmp_path), [REF], Limits(bytes_left=len(DATA) + 32 * REF.chunks))
    outcome.start()

    def twice(topic, payload):
        outcome.message(topic, payload)
        outcome.message(topic, payload)

    link.pump(twice)
    assert [reason for reason, _ in outcome.failures] == ["over_byte_budget"]
    assert outcome.fetcher.transferred <= len(DATA) + 32 * REF.chunks + CHUNK


def test_a_chunk_that_is_always_wrong_ends_the_fetch(tmp_path):
    retained = published(DATA)
    retained[topics.chunk(REF.sha256, 3)] = bytes(CHUNK)
    link = FakeLink(retained)
    outcome = Outcome(link, BlobStore(tmp_path), [REF])
    outcome.start()
    link.pump(outcome.message, limit=5000)
    assert [reason for reason, _ in outcome.failures] == [TRANSFER_OVERRUN]
    assert outcome.fetcher.transferred <= len(DATA) + 32 * REF.chunks + (MAX_DAMAGED + 2) * CHUNK


def posted(calls):
    """A `post` that keeps calls until they are run here."""

    def run(until, patience_s=5.0):
        while not until():
            calls.get(timeout=patience_s)()

    return run


def test_a_folder_holds_what_an_export_wrote(tmp_path):
    store, calls = BlobStore(tmp_path / "blobs"), queue.SimpleQueue()
    folder = tmp_path / "stick"
    folder.mkdir()
    (folder / REF.sha256).write_bytes(DATA)
    outcome = Outcome(FakeLink(), store, [REF])
    outcome.sources = [Folder(calls.put, folder)]
    outcome.start()
    posted(calls)(lambda: outcome.done)
    assert store.path(REF.sha256).read_bytes() == DATA


@pytest.mark.parametrize("content", [None, DATA[:-1], DATA + b"x", bytes(len(DATA))])
def test_a_folder_with_a_missing_or_damaged_file_gives_way_to_the_next_source(tmp_path, content):
    store, calls = BlobStore(tmp_path / "blobs"), queue.SimpleQueue()
    folder, link = tmp_path / "stick", FakeLink(published(DATA))
    folder.mkdir()
    if content is not None:
        (folder / REF.sha256).write_bytes(content)
    outcome = Outcome(link, store, [REF], before=[Folder(calls.put, folder)])
    outcome.start()
    posted(calls)(lambda: link.subscribed or outcome.done)
    link.pump(outcome.message)
    assert store.path(REF.sha256).read_bytes() == DATA


def test_the_window_narrows_on_a_slow_link_and_widens_on_a_quick_one(tmp_path):
    """Answers of a wide window queue behind each other, and what waits too long is asked for twice."""
    link = FakeLink(published(DATA))
    outcome = Outcome(link, BlobStore(tmp_path), [REF])
    outcome.start()
    widths = []
    while link.subscribed:
        outcome.clock.now += 3.0  # a chunk takes that long; no timer runs, so nothing is asked for again
        link.pump(outcome.message, limit=1)
        widths.append(len(link.subscribed))
    assert max(widths) <= FIRST_WINDOW
    assert outcome.done == 1

    quick = Outcome(FakeLink(published(DATA)), BlobStore(tmp_path / "quick"), [REF])
    quick.start()
    quick.message(topics.digests(REF.sha256), digest_list(DATA, CHUNK))
    assert len(quick.link.subscribed) == FIRST_WINDOW + 1
    quick.link.pump(quick.message)
    assert quick.link.most_subscribed == WINDOW


def test_a_fleet_that_was_cut_off_together_does_not_ask_again_together(tmp_path):
    asked_at = []
    for i in range(20):
        outcome = Outcome(Deaf({}, lost=10**9), BlobStore(tmp_path / str(i)), [REF])
        outcome.start()
        while outcome.link.asked < 2:
            outcome.clock.advance(0.05)
        asked_at.append(outcome.clock.now)
    assert max(asked_at) - min(asked_at) > 0.2 * RETRY_AFTER_S


def test_bytes_that_nobody_asked_for_have_a_limit(tmp_path):
    """A budget of retries for devices without a budget of bytes: what comes in vain ends the fetch."""
    link = FakeLink(published(DATA))
    outcome = Outcome(link, BlobStore(tmp_path), [REF])
    outcome.start()
    outcome.message(topics.digests(REF.sha256), link.retained[topics.digests(REF.sha256)])
    for _ in range(((1 + OVERRUN_FACTOR) * len(DATA) + OVERRUN_BYTES) // CHUNK + 2):
        outcome.message(topics.chunk(REF.sha256, 20), bytes(CHUNK))
    assert [reason for reason, _ in outcome.failures] == [TRANSFER_OVERRUN]
    assert OVERRUN_BYTES < outcome.fetcher.transferred <= (1 + OVERRUN_FACTOR) * len(DATA) + OVERRUN_BYTES + CHUNK


def test_after_a_long_silence_what_is_lost_next_is_asked_for_soon(tmp_path):
    """The pauses of the silence are over with it."""
    link = Deaf(published(DATA), lost=6)
    outcome = Outcome(link, BlobStore(tmp_path), [REF])
    outcome.start()
    while not link.subscribed:
        outcome.clock.advance(1.0)
    assert outcome.clock.now > 1000.0 + MAX_RETRY_AFTER_S
    link.pump(outcome.message, limit=3)
    link.lost = 1
    link.pump(outcome.message)
    heard_at = outcome.clock.now
    while not link.subscribed:
        outcome.clock.advance(1.0)
    assert outcome.clock.now - heard_at <= 3 * RETRY_AFTER_S


class Read(ThreadedSource):
    """A source that is read in a thread; it waits for `gate` before each piece."""

    def __init__(self, post):
        super().__init__(post)
        self.gate, self.read_pieces, self.ended = threading.Semaphore(0), [], threading.Event()

    def read(self, ref, piece):
        self.read_pieces.append(piece)
        assert self.gate.acquire(timeout=5)
        return digest_list(DATA, CHUNK) if piece is None else [*split(DATA, CHUNK)][piece]

    def end(self):
        self.ended.set()


def test_cancelled_half_way_nothing_more_is_read(tmp_path):
    calls = queue.SimpleQueue()
    source = Read(calls.put)
    outcome = Outcome(FakeLink(), BlobStore(tmp_path), [REF])
    outcome.sources = [source]
    outcome.start()
    for _ in range(4):
        source.gate.release()
        calls.get(timeout=5)()
    outcome.fetcher.stop()
    received = outcome.fetcher.received
    source.gate.release()
    assert source.ended.wait(5)
    while not calls.empty():
        calls.get()()
    assert len(source.read_pieces) <= 5
    assert outcome.fetcher.received == received
    assert not outcome.failures


def test_what_was_cancelled_before_its_turn_is_not_read(tmp_path):
    source, got = Read(lambda call: call()), queue.SimpleQueue()
    source.open(lambda _sha, piece, _data: got.put(piece), got.put)
    source.ask(REF, [0, 1, 2])
    source.cancel(REF, [1])
    for _ in range(3):
        source.gate.release()
    assert [got.get(timeout=5), got.get(timeout=5)] == [0, 2]
    source.close()
    assert source.ended.wait(5)
