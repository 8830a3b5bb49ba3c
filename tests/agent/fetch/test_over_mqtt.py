"""Pieces that are asked for: the window, when a device asks, what it makes of every kind of answer, and of none."""

import pytest

from skerry_agent.fetch.fetcher import MAX_RETRY_AFTER_S, RETRY_AFTER_S, WINDOW, Fetcher, Limits
from skerry_agent.fetch.over_mqtt import Mqtt
from skerry_agent.state.blobs import BlobStore
from skerry_agent.wire import codec, topics
from skerry_agent.wire.asking import Ask, answer
from skerry_agent.wire.blobs import describe, digest_list, split
from tests.kit.blobs import NO_LIMITS, published
from tests.kit.clock import FakeClock
from tests.kit.link import FakeLink

CHUNK = 1024
DATA = bytes(i * 7 % 251 for i in range(20 * CHUNK + 17))
REF = describe(DATA, CHUNK)
PIECES = dict(enumerate(split(DATA, CHUNK))) | {None: digest_list(DATA, CHUNK)}
QUESTIONS, ANSWERS = topics.ask("dev-1"), topics.piece("dev-1", REF.sha256)
QUICK_S = 12 * RETRY_AFTER_S
"""Within this a device that hears nothing has asked again twice."""


class Site:
    """A fetch over both transports, a broker that retains what it is given, and a host that answers unless away."""

    def __init__(self, folder, retained=None, *, asked=False, limits=NO_LIMITS):
        self.clock, self.link = FakeClock(), FakeLink(retained or {})
        self.away = False
        self.ended, self.questions = [], []
        self.store = BlobStore(folder)
        self.source = Mqtt(self.link, "dev-1", asked=asked)
        end = self.ended.append
        self.fetcher = Fetcher(self.clock, self.store, [REF], limits, lambda: end("done"), lambda *why: end(why[0]))

    def start(self):
        self.fetcher.start([self.source])
        return self

    def step(self, make=answer):
        """The host takes what was asked; its answers reach the device if it listens."""
        sent, self.link.published = self.link.published, []
        for topic, raw in sent:
            assert topic == QUESTIONS
            question = codec.decode(raw, Ask)
            self.questions.append(question)
            for piece in () if self.away else question.pieces:
                if ANSWERS in self.link.subscribed:
                    self.source.message(ANSWERS, make(piece, PIECES[piece]))
        return bool(sent)

    def run(self, make=answer):
        while self.step(make) or self.link.pump(self.source.message):
            pass

    def wait(self, seconds):
        for _ in range(int(seconds)):
            self.clock.advance(1.0)
            self.run()


def test_told_so_it_asks_at_once_through_a_bounded_window(tmp_path):
    site = Site(tmp_path, asked=True).start()
    site.run()
    assert site.ended == ["done"]
    assert site.store.path(REF.sha256).read_bytes() == DATA
    asked = [piece for question in site.questions for piece in question.pieces]
    assert sorted(asked, key=str) == sorted(PIECES, key=str)
    assert site.link.most_subscribed == 1
    assert not site.link.subscribed
    assert list(site.fetcher.transports) == ["asked"]


def test_never_more_pieces_are_awaited_than_the_window_holds(tmp_path):
    site = Site(tmp_path, asked=True).start()
    awaited = set()
    while awaited or site.link.published:
        sent, site.link.published = site.link.published, []
        awaited |= {piece for _, raw in sent for piece in codec.decode(raw, Ask).pieces}
        assert len(awaited) <= WINDOW
        site.source.message(ANSWERS, answer(piece := awaited.pop(), PIECES[piece]))
    assert site.ended == ["done"]


def test_where_chunks_are_retained_nobody_is_asked(tmp_path):
    site = Site(tmp_path, published(DATA)).start()
    site.run()
    assert (site.ended, site.questions, list(site.fetcher.transports)) == (["done"], [], ["retained"])


def test_silent_chunks_are_asked_for_after_a_while(tmp_path):
    site = Site(tmp_path).start()
    site.run()
    assert not site.questions
    site.wait(QUICK_S)
    assert site.ended == ["done"]
    assert list(site.fetcher.transports) == ["asked"]


def test_a_broker_that_retains_some_chunks_only(tmp_path):
    """As one that evicts, or limits their number: what is there comes so, the rest is asked for after one silence."""
    retained = {topic: data for topic, data in published(DATA).items() if topic.endswith(("digests", "/0", "/1", "/5"))}
    site = Site(tmp_path, retained).start()
    site.run()
    site.wait(QUICK_S)
    assert site.ended == ["done"]
    assert list(site.fetcher.transports) == ["retained", "asked"]


def test_an_offline_device_asks_nobody_and_asks_anew_when_it_is_back(tmp_path):
    site = Site(tmp_path, asked=True).start()
    site.step()
    site.link.connected, site.link.published = False, []
    site.wait(600)
    asked = len(site.questions)
    site.link.connected, site.link.subscribed = True, set()
    site.source.link_up()
    site.fetcher.resume()
    site.run()
    assert site.ended == ["done"]
    assert {piece for question in site.questions[asked:] for piece in question.pieces} == set(range(REF.chunks))


def test_a_host_that_is_away_is_asked_less_and_less_often_and_both_transports_are_tried(tmp_path):
    site = Site(tmp_path, asked=True)
    site.away = True
    site.start()
    subscribed = set()
    for _ in range(3600):
        site.clock.advance(1.0)
        site.step()
        subscribed |= site.link.subscribed
    assert not site.ended  # the deadline is the unit's
    assert 3600 / MAX_RETRY_AFTER_S / 3 <= len(site.questions) <= 2.5 * 3600 / MAX_RETRY_AFTER_S
    assert topics.digests(REF.sha256) in subscribed
    site.away = False
    site.wait(6 * MAX_RETRY_AFTER_S)
    assert site.ended == ["done"]


def test_a_host_that_comes_back_and_retains_is_listened_to(tmp_path):
    site = Site(tmp_path)
    site.away = True
    site.start()
    site.wait(QUICK_S)  # it asks by now, in vain
    site.link.retained |= published(DATA)
    site.away = False
    site.run()
    assert site.ended == ["done"]
    assert list(site.fetcher.transports) == ["retained"]


@pytest.mark.parametrize(
    "make",
    [
        lambda piece, data: answer(piece, bytes([data[0] ^ 1]) + data[1:]),
        lambda piece, data: answer(piece, data + b"x"),
        lambda piece, data: answer(piece, b""),
        lambda piece, data: answer(3, data),
    ],
    ids=["flipped", "longer", "empty", "under another index"],
)
def test_no_answer_is_believed_without_its_digest(tmp_path, make):
    site = Site(tmp_path, asked=True).start()
    for _ in range(100):
        site.step(make)
    assert "done" not in site.ended
    assert not any(site.store.folder.glob("*.part")) or site.fetcher.received <= CHUNK


@pytest.mark.parametrize("raw", [b"", b"\0\0\0"])
def test_an_answer_that_is_too_short_is_asked_for_again(tmp_path, raw):
    site = Site(tmp_path, asked=True).start()
    site.step(lambda _piece, _data: raw)
    assert not site.ended
    site.wait(QUICK_S)
    assert site.ended == ["done"]


def test_duplicates_are_written_once_and_count_against_the_budget(tmp_path):
    site = Site(tmp_path, asked=True, limits=Limits(bytes_left=2 * len(DATA))).start()

    def thrice(piece, data):
        site.source.message(ANSWERS, answer(piece, data))
        site.source.message(ANSWERS, answer(piece, data))
        return answer(piece, data)

    site.run(thrice)
    assert site.ended == ["over_byte_budget"]
    assert site.fetcher.received <= len(DATA)


def test_answers_to_another_device_or_about_another_blob_are_not_taken(tmp_path):
    site = Site(tmp_path, asked=True).start()
    assert not site.source.message(topics.piece("dev-2", REF.sha256), answer(None, PIECES[None]))
    site.source.message(topics.piece("dev-1", "0" * 64), answer(None, PIECES[None]))
    assert site.fetcher.transferred == 0


def test_it_goes_on_where_it_was_killed_over_the_other_transport(tmp_path):
    first = Site(tmp_path, published(DATA)).start()
    first.link.pump(first.source.message, limit=12)
    second = Site(tmp_path, asked=True).start()
    second.run()
    assert second.ended == ["done"]
    assert second.fetcher.transferred == len(DATA) - 11 * CHUNK


def test_stopped_it_listens_no_more(tmp_path):
    site = Site(tmp_path).start()
    site.away = True
    site.wait(QUICK_S)
    site.fetcher.stop()
    assert not site.link.subscribed
    site.source.message(ANSWERS, answer(None, PIECES[None]))
    assert not site.ended


def test_a_silence_that_is_over_counts_no_more(tmp_path):
    """The next single loss is asked for in the way that answers, not in both."""
    site = Site(tmp_path).start()
    while not site.step(lambda piece, data: b""):  # two silences, then it asks; the answer is lost, too
        site.clock.advance(1.0)
    lost = iter([True])
    for _ in range(200):
        site.clock.advance(1.0)
        site.step(lambda piece, data: b"" if piece == 3 and next(lost, False) else answer(piece, data))
        if site.ended:
            break
        if site.fetcher.received:
            assert not [topic for topic in site.link.subscribed if "/blob/" in topic and not topic.endswith("digests")]
    assert site.ended == ["done"]


def test_damage_is_no_silence(tmp_path):
    site = Site(tmp_path, published(DATA)).start()
    damaged = iter(range(10))

    def spoiling(topic, payload):
        bad = topic.endswith("/4") and next(damaged, None) is not None
        site.source.message(topic, b"x" * len(payload) if bad else payload)

    site.link.pump(spoiling)
    assert site.ended == ["done"]
    assert not site.link.published
