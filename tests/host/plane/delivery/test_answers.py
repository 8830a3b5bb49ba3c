"""Chunk requests that are answered or refused, with a store and a broker in memory: floods, back pressure, damage."""

import threading

import pytest

from skerry_agent.wire import codec, topics
from skerry_agent.wire.asking import MAX_PIECES, Ask, parse_answer
from skerry_agent.wire.blobs import describe, digest_list, split
from skerry_host.plane.broker.link import Incoming
from skerry_host.plane.delivery.answers import BATCH, MAX_EXTRA_BYTES, MAX_SENDS, MAX_WAITING, Answers
from skerry_host.plane.delivery.budgets import MAX_SESSIONS, Budgets
from skerry_host.release.store import Store
from tests.kit.home import model_bytes
from tests.kit.waiting import eventually

DATA, OTHER = model_bytes("m", 700_000), model_bytes("other", 100_000)
REF = describe(DATA)
SMALL_CHUNKS = {REF.sha256: describe(DATA, 1024)}
PIECES = dict(enumerate(split(DATA))) | {None: digest_list(DATA)}


class Rig:
    """Answers in a thread of their own; `sent` are the batches, and `gate` holds the broker's acknowledgements back."""

    def __init__(self, folder):
        self.store = Store(folder)
        refs = [self.store.put(DATA), self.store.put(OTHER)]
        self.mine, self.others = ({ref.sha256: ref} for ref in refs)
        self.sent, self.up, self.gate = [], True, threading.Event()
        self.gate.set()
        self.now = 1000.0
        self.answers = Answers(self.store, self.send, lambda: self.now)
        self.thread = threading.Thread(target=self.answers.run)
        self.thread.start()

    def send(self, batch):
        self.sent.append(list(batch))
        self.gate.wait(10)
        return self.up

    def ask(self, *pieces, device="dev-1", sha256=REF.sha256, topic=None, session=""):
        question = codec.encode(Ask(device, sha256, pieces, session))
        self.answers.take(Incoming(topic or topics.ask(device), question))

    @property
    def got(self):
        """(topic, piece, bytes) in the order in which they were sent."""
        return [(m.topic, *parse_answer(m.payload)) for batch in self.sent for m in batch]

    def await_answers(self, count):
        eventually(lambda: len(self.got) >= count, f"{count} answers", 5.0)


@pytest.fixture
def rig(tmp_path):
    made = Rig(tmp_path / "store")
    yield made
    made.gate.set()
    made.answers.stop()
    made.thread.join(5)
    assert not made.thread.is_alive()


def test_every_piece_comes_as_it_is_and_is_not_retained(rig):
    rig.answers.allow({"dev-1": rig.mine})
    rig.ask(None, 0, 1, 2)
    rig.ask(*range(3, REF.chunks))
    rig.await_answers(REF.chunks + 1)
    assert {piece: data for _, piece, data in rig.got} == PIECES
    assert {topic for topic, _, _ in rig.got} == {topics.piece("dev-1", REF.sha256)}
    assert not any(message.retain for batch in rig.sent for message in batch)
    eventually(lambda: rig.answers.counts["answered"] == REF.chunks + 1, "they are counted")


@pytest.mark.parametrize("needs", ["nothing", "something else", "another device's"])
def test_a_device_gets_nothing_but_what_its_own_deployment_needs(rig, needs, caplog):
    rig.answers.allow({"nothing": {}, "something else": {"dev-1": rig.others}}.get(needs, {"dev-2": rig.mine}))
    for _ in range(3):
        rig.ask(0, 1)
    assert dict(rig.answers.counts) == {"not_needed": 3}
    assert len([line for line in caplog.messages if "not_needed" in line]) == 1
    assert not rig.sent


def test_a_deployment_that_ends_while_a_request_waits_is_not_answered(rig):
    rig.gate.clear()
    rig.answers.allow({"dev-1": rig.mine, "dev-2": rig.mine})
    rig.ask(0)
    rig.await_answers(1)  # and the broker takes its time
    rig.ask(1)
    rig.ask(2, device="dev-2")
    rig.answers.allow({"dev-2": rig.mine})
    rig.gate.set()
    rig.await_answers(2)
    assert [piece for _, piece, _ in rig.got] == [0, 2]


def test_requests_wait_until_the_plane_knows_its_fleet(rig):
    rig.ask(0)
    assert not rig.sent
    rig.answers.allow({"dev-1": rig.mine})
    rig.await_answers(1)


MALFORMED = {
    "no JSON": b"\xff",
    "empty": b"",
    "no pieces": codec.encode({"device": "dev-1", "sha256": REF.sha256, "pieces": []}),
    "too many pieces": codec.encode({"device": "dev-1", "sha256": REF.sha256, "pieces": [*range(MAX_PIECES + 1)]}),
    "no index": codec.encode({"device": "dev-1", "sha256": REF.sha256, "pieces": [-1]}),
    "no hash": codec.encode({"device": "dev-1", "sha256": "../../etc/passwd", "pieces": [0]}),
    "oversized": codec.encode({"device": "dev-1", "sha256": REF.sha256, "pieces": [0], "more": "x" * 10_000}),
    "in another's name": codec.encode(Ask("dev-2", REF.sha256, (0,))),
}


@pytest.mark.parametrize("raw", MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_request_is_counted_and_ignored(rig, raw, caplog):
    rig.answers.allow({"dev-1": rig.mine, "dev-2": rig.mine})
    rig.answers.take(Incoming(topics.ask("dev-1"), raw))
    assert dict(rig.answers.counts) == {"malformed": 1}
    assert "malformed" in caplog.text
    rig.ask(0)
    rig.await_answers(1)
    assert len(rig.got) == 1


def test_a_chunk_that_the_blob_does_not_have_is_malformed(rig):
    rig.answers.allow({"dev-1": rig.mine})
    rig.ask(REF.chunks, 0)
    rig.await_answers(1)
    eventually(lambda: rig.answers.counts["malformed"] == 1, "it is counted")
    assert [piece for _, piece, _ in rig.got] == [0]


def test_a_repeated_request_is_answered_once(rig):
    for _ in range(100):
        rig.ask(0, 1)
    rig.answers.allow({"dev-1": rig.mine})
    rig.await_answers(2)
    rig.ask(2)
    rig.await_answers(3)
    assert [piece for _, piece, _ in rig.got] == [0, 1, 2]


def test_one_device_waits_for_a_bounded_number_of_pieces_the_newest(rig):
    for start in range(0, 80, 8):
        rig.ask(*range(start, start + 8))
    rig.answers.allow({"dev-1": SMALL_CHUNKS})
    rig.await_answers(MAX_WAITING)
    assert [piece for _, piece, _ in rig.got] == list(range(80 - MAX_WAITING, 80))
    assert rig.answers.counts["too_many"]


def test_devices_take_turns(rig):
    """One that asks for a whole window does not keep another one waiting."""
    rig.ask(*range(8), device="greedy")
    rig.ask(0, device="modest")
    rig.answers.allow({"greedy": rig.mine, "modest": rig.mine})
    rig.await_answers(9)
    assert [topic for topic, _, _ in rig.got].index(topics.piece("modest", REF.sha256)) == 1


def test_a_device_that_never_stops_requesting_is_refused(rig):
    rig.answers.allow({"dev-1": rig.mine})
    most = MAX_SENDS * len(DATA) + MAX_EXTRA_BYTES
    while not rig.answers.counts["too_many"]:
        rig.ask(*range(8))
        rig.await_answers(0)
    assert sum(len(data) for _, _, data in rig.got) <= most + BATCH * REF.chunk_bytes
    rig.answers.allow({})  # its deployment is over; a later one has its own share
    rig.answers.allow({"dev-1": rig.mine})
    sent = len(rig.got)
    rig.ask(0)
    rig.await_answers(sent + 1)


@pytest.mark.parametrize("session", ["", "5e"])
def test_hundreds_of_questions_in_a_devices_name_do_not_stall_it(rig, session):
    """266 of them used up for good what a device might be sent: its rollout stood until the host gave it up."""
    rig.answers.allow({"dev-1": rig.mine})
    while not rig.answers.counts["too_many"]:
        rig.ask(*range(8), session=session)
    sent = len(rig.got)
    rig.ask(0, 1, 2, session="a1")
    rig.await_answers(sent + 3)
    rig.now += 60.0
    rig.ask(3, session=session)  # also the session that was used up goes on, in time
    rig.await_answers(sent + 4)


def test_who_asks_in_many_sessions_at_once_takes_a_share_and_no_more(rig):
    rig.gate.clear()
    rig.answers.allow({"dev-1": SMALL_CHUNKS})
    rig.ask(0, session="a1")
    rig.await_answers(1)  # and the broker takes its time
    rig.ask(500, session="a1")
    for number in range(300):
        rig.ask(*range(8), session=f"{number:04x}")
    rig.gate.set()
    rig.await_answers(10)
    assert 500 in [piece for _, piece, _ in rig.got[:10]]
    assert rig.answers.counts["too_many"] >= 300 - MAX_SESSIONS


def test_new_sessions_give_nobody_more_than_the_budgets_of_a_few(rig):
    """A device that is broken, or one that lies, and begins anew each time."""
    budgets = Budgets(lambda: rig.now)
    sent = 0
    for number in range(1000):
        while budgets.allows("dev-1", f"{number}", REF):
            budgets.spend("dev-1", f"{number}", REF, REF.size)
            sent += REF.size
    assert sent <= (MAX_SESSIONS + 1) * ((MAX_SENDS + 1) * REF.size + MAX_EXTRA_BYTES)


def test_hundreds_of_requests_at_once_take_the_memory_of_one_batch(rig):
    """Back pressure: while the broker takes nothing, nothing more is read; what waits are names of pieces."""
    rig.gate.clear()
    fleet = [f"dev-{i}" for i in range(500)]
    rig.answers.allow(dict.fromkeys(fleet, SMALL_CHUNKS))
    for device in fleet:
        rig.ask(*range(8), device=device)
    rig.await_answers(1)
    assert len(rig.sent) == 1
    assert len(rig.sent[0]) <= BATCH
    rig.gate.set()
    eventually(lambda: sum(map(len, rig.sent)) == 500 * 8, "all are answered")
    assert all(len(batch) <= BATCH for batch in rig.sent)


def test_what_a_lost_connection_dropped_is_requested_again(rig):
    rig.answers.allow({"dev-1": rig.mine})
    rig.up = False
    rig.ask(0)
    rig.await_answers(1)
    rig.up = True
    rig.ask(0)
    rig.await_answers(2)
    eventually(lambda: rig.answers.counts["answered"] == 1, "only what was taken counts")


def test_a_blob_that_the_store_lost_is_logged_and_the_rest_is_answered(rig, caplog):
    rig.store.path(REF.sha256).unlink()
    rig.answers.allow({"dev-1": rig.mine, "dev-2": rig.others})
    rig.ask(None, 0)
    rig.ask(0, device="dev-2", sha256=next(iter(rig.others)))
    rig.await_answers(1)
    eventually(lambda: rig.answers.counts["unreadable"] == 2, "both are counted")
    assert "the store has no object" in caplog.text
