"""Fetching over exact topics: the window, bad and duplicate chunks, resume from disk, and every way it can fail."""

import shutil

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.agent.fakes import FakeLink

from skerry_agent import blobs as agent_blobs
from skerry_agent.blobs import BlobStore
from skerry_agent.fetch import WINDOW, Fetcher
from skerry_agent.wire import topics
from skerry_agent.wire.blobs import describe, digest_list, split

CHUNK = 1024
DATA = bytes(i * 7 % 251 for i in range(20 * CHUNK + 17))
REF = describe(DATA, CHUNK)


def published(data: bytes, chunk_bytes: int = CHUNK) -> dict[str, bytes]:
    ref = describe(data, chunk_bytes)
    retained = {topics.chunk(ref.sha256, i): chunk for i, chunk in enumerate(split(data, chunk_bytes))}
    if ref.digests_sha256:
        retained[topics.digests(ref.sha256)] = digest_list(data, chunk_bytes)
    return retained


class Outcome:
    def __init__(self, link, store, refs):
        self.done = 0
        self.failures = []
        self.fetcher = Fetcher(link, store, refs, self._done, lambda *why: self.failures.append(why))

    def _done(self):
        self.done += 1


def test_fetches_through_a_bounded_window(tmp_path):
    link, store = FakeLink(published(DATA)), BlobStore(tmp_path)
    outcome = Outcome(link, store, [REF])
    outcome.fetcher.start()
    assert link.pump(outcome.fetcher.message) == REF.chunks + 1
    assert outcome.done == 1
    assert store.path(REF.sha256).read_bytes() == DATA
    assert link.most_subscribed <= WINDOW
    assert not link.subscribed
    assert outcome.fetcher.received == outcome.fetcher.expected == len(DATA)


@given(sizes=st.lists(st.integers(0, 3 * CHUNK), min_size=1, max_size=4, unique=True))
def test_fetches_several_blobs_of_any_size(tmp_path_factory, sizes):
    store = BlobStore(tmp_path_factory.mktemp("blobs"))
    blobs = [bytes([n % 256]) * n for n in sizes]
    retained = {}
    for blob in blobs:
        retained |= published(blob)
    link = FakeLink({topic: chunk for topic, chunk in retained.items() if chunk})
    outcome = Outcome(link, store, [describe(blob, CHUNK) for blob in blobs])
    outcome.fetcher.start()
    link.pump(outcome.fetcher.message)
    assert outcome.done == 1
    assert all(store.has(describe(blob, CHUNK)) for blob in blobs)


def test_wrong_chunks_are_dropped_and_duplicates_harmless(tmp_path):
    link, store = FakeLink(published(DATA)), BlobStore(tmp_path)
    outcome = Outcome(link, store, [REF])
    outcome.fetcher.start()

    def noisy(topic, payload):
        flipped = bytes([payload[0] ^ 1]) + payload[1:]
        outcome.fetcher.message(topic, flipped)
        outcome.fetcher.message(topic, payload)
        outcome.fetcher.message(topic, payload)

    link.pump(noisy)
    assert outcome.done == 1
    assert store.path(REF.sha256).read_bytes() == DATA


def test_resumes_where_it_was_killed(tmp_path):
    link = FakeLink(published(DATA))
    first = Outcome(link, BlobStore(tmp_path), [REF])
    first.fetcher.start()
    link.pump(first.fetcher.message, limit=12)
    link.subscribed.clear()  # the process is gone: nothing was closed, nothing was said

    second = Outcome(link, BlobStore(tmp_path), [REF])
    second.fetcher.start()
    assert second.fetcher.received == 11 * CHUNK
    assert link.pump(second.fetcher.message) == REF.chunks - 11
    assert second.done == 1


def test_a_part_that_lost_its_data_is_fetched_again(tmp_path):
    """After a power cut the bitmap may be newer than the data: what it claims is checked."""
    link = FakeLink(published(DATA))
    first = Outcome(link, BlobStore(tmp_path), [REF])
    first.fetcher.start()
    link.pump(first.fetcher.message, limit=12)
    link.subscribed.clear()
    part = tmp_path / f"{REF.sha256}.part"
    part.write_bytes(bytes(part.stat().st_size))

    second = Outcome(link, BlobStore(tmp_path), [REF])
    second.fetcher.start()
    link.pump(second.fetcher.message)
    assert BlobStore(tmp_path).path(REF.sha256).read_bytes() == DATA


def test_what_is_there_is_not_fetched(tmp_path):
    store = BlobStore(tmp_path)
    store.path(REF.sha256).write_bytes(DATA)
    link = FakeLink()
    outcome = Outcome(link, store, [REF])
    outcome.fetcher.start()
    assert outcome.done == 1
    assert not link.subscribed


def test_a_wrong_digest_list_is_not_believed(tmp_path):
    link = FakeLink(published(DATA) | {topics.digests(REF.sha256): digest_list(DATA[::-1], CHUNK)})
    outcome = Outcome(link, BlobStore(tmp_path), [REF])
    outcome.fetcher.start()
    link.pump(outcome.fetcher.message, limit=5)
    assert not outcome.done
    assert link.subscribed == {topics.digests(REF.sha256)}


def test_a_full_disk_is_said_before_anything_is_fetched(tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=agent_blobs.RESERVE_BYTES + 100)
    monkeypatch.setattr(agent_blobs.shutil, "disk_usage", lambda _path: usage)
    link = FakeLink(published(DATA))
    outcome = Outcome(link, BlobStore(tmp_path), [REF])
    outcome.fetcher.start()
    link.pump(outcome.fetcher.message)
    ((reason, detail),) = outcome.failures
    assert reason == "disk_full"
    assert "do not fit" in detail
    assert not link.subscribed
    assert not list(tmp_path.glob("*.part"))


def test_coming_back_online_subscribes_again_to_what_is_awaited(tmp_path):
    link = FakeLink(published(DATA))
    outcome = Outcome(link, BlobStore(tmp_path), [REF])
    outcome.fetcher.start()
    link.pump(outcome.fetcher.message, limit=5)
    awaited = set(link.subscribed)
    link.subscribed.clear()
    outcome.fetcher.resume()
    assert link.subscribed == awaited
    link.pump(outcome.fetcher.message)
    assert outcome.done == 1


def test_stopping_forgets_the_subscriptions_and_keeps_the_part(tmp_path):
    link = FakeLink(published(DATA))
    outcome = Outcome(link, BlobStore(tmp_path), [REF])
    outcome.fetcher.start()
    link.pump(outcome.fetcher.message, limit=5)
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
