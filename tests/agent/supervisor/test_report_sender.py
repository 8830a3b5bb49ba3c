"""The report sender between a real outbox and a fake link: what goes from the disk, when, and what comes again."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry_agent.state.outbox import Outbox
from skerry_agent.supervisor.report_sender import (
    MAX_UNCONFIRMED,
    MOST_NOTES,
    PROBE,
    SILENT,
    WINDOW,
    ReportSender,
    _is_in,
)
from skerry_agent.wire import codec, topics
from skerry_agent.wire.report_forms import READ, decode_report
from skerry_agent.wire.telemetry import Receipt, Report, Stored
from tests.kit.link import FakeLink


class Post:
    """A sender on a folder, what it has published, and a broker that takes what it is told to."""

    def __init__(self, folder):
        self.folder, self.link, self.taken = folder, FakeLink(), 0
        self.restart()

    def restart(self):
        self.outbox = Outbox(self.folder / "outbox", 10**6)
        self.sender = ReportSender(self.outbox, self.link, "dev-1", self.folder / "outbox" / "receipts")
        self.sender.link_up()

    def put(self, *sequences, boot="boot-1"):
        for sequence in sequences:
            self.sender.put(codec.encode(Report("dev-1", boot, sequence, 0.0, 0.0, 1.0)))

    def take(self):
        """The broker acknowledges all that it has got."""
        while self.taken < len(self.link.published):
            self.taken += 1
            self.sender.acked(self.taken)

    def reconnect(self):
        self.taken = len(self.link.published)
        self.sender.link_up()

    def stored(self, *spans, boot="boot-1", reads=()):
        self.sender.receipt(codec.encode(Receipt((Stored(boot, spans),), reads)))

    @property
    def sent(self):
        return [decode_report(raw).sequence for _, raw in self.link.published]

    @property
    def forms(self):
        """Of what was sent: J for JSON, P for packed."""
        return "".join("J" if raw.startswith(b"{") else "P" for _, raw in self.link.published)

    @property
    def kept(self):
        return [codec.decode(self.outbox.read(name), Report).sequence for name in self.outbox.pending()]


@pytest.fixture
def post(tmp_path):
    return Post(tmp_path)


def test_a_report_goes_when_the_host_has_stored_it_not_before(post):
    post.put(0, 1, 2)
    assert (post.sent, post.kept) == ([0, 1, 2], [0, 1, 2])
    post.take()
    assert post.kept == [0, 1, 2], "a broker that has taken them may lose them"
    post.stored((0, 1))
    assert post.kept == [2]


def test_what_no_broker_has_taken_is_sent_anew_in_the_next_connection(post):
    post.put(0, 1)
    post.reconnect()
    assert post.sent == [0, 1, 0, 1]


def test_what_a_broker_has_taken_is_not_sent_again_before_a_receipt_shows_that_it_is_missing(post):
    post.put(*range(5))
    post.take()
    post.reconnect()
    assert post.sent == [0, 1, 2, 3, 4]
    post.put(5)
    post.take()
    post.stored((0, 1), (5, 5))
    assert post.sent[6:] == [2, 3, 4]
    assert post.kept == [2, 3, 4]


def test_what_is_on_its_way_is_not_sent_again(post):
    post.put(0, 1, 2)
    post.take()
    post.stored((0, 0))
    assert post.sent == [0, 1, 2], "1 and 2 came after what is stored"


def test_what_is_missing_is_sent_again_once_a_connection(post):
    post.put(0, 1, 2)
    post.take()
    for last in (1, 2):
        post.stored((1, last))
        post.take()
    assert post.sent == [0, 1, 2, 0]
    post.reconnect()
    post.put(3)
    post.take()
    post.stored((1, 3))
    assert post.sent == [0, 1, 2, 0, 3, 0]


def test_reports_of_an_earlier_boot_are_named_by_it(post):
    post.put(0, 1, boot="boot-0")
    post.restart()
    post.put(0)
    post.taken = 2
    post.take()
    post.stored((0, 0), boot="boot-1")
    assert post.sent[-2:] == [0, 1]
    post.take()
    post.stored((0, 1), boot="boot-0")
    assert post.kept == []


def test_a_host_without_receipts_costs_a_few_reports_of_disk(post):
    post.put(*range(MAX_UNCONFIRMED + 5))
    while post.taken < MAX_UNCONFIRMED + 5:
        post.take()
    assert post.kept == list(range(5, MAX_UNCONFIRMED + 5))
    assert post.sender.waiting == 0


def test_that_the_host_sends_receipts_is_known_after_a_restart(post):
    post.put(0)
    post.take()
    post.stored((0, 0))
    post.restart()
    post.put(*range(1, MAX_UNCONFIRMED + 10))
    post.taken = 1
    post.take()
    assert len(post.kept) == MAX_UNCONFIRMED + 9
    assert post.sender.waiting == 0, "the broker has them all"


def test_the_window_bounds_what_is_on_its_way(post):
    post.put(*range(3 * WINDOW))
    assert len(post.sent) == WINDOW
    post.take()
    assert len(post.sent) == 3 * WINDOW


def test_what_made_room_is_forgotten(tmp_path):
    post = Post(tmp_path)
    post.outbox = Outbox(tmp_path / "small", 10**6, max_reports=10)
    post.sender = ReportSender(post.outbox, post.link, "dev-1", tmp_path / "small" / "receipts")
    post.stored((0, 0))
    for sequence in range(100):
        post.put(sequence)
        post.take()
    assert len(post.sender._taken) <= 11
    assert post.sender.dropped == 90


@pytest.mark.parametrize("payload", [b"", b"{", b"[]", b'{"boots":[{"boot":"b","spans":[[1]]}]}', b'{"boots":{}}'])
def test_what_is_no_receipt_removes_nothing(post, payload):
    post.put(0)
    post.take()
    post.sender.receipt(payload)
    assert post.kept == [0]
    assert not (post.folder / "outbox" / "receipts").exists()


def test_a_report_that_no_receipt_could_name_goes_when_the_broker_has_taken_it(post):
    post.sender.put(b"of another kind")
    post.take()
    assert post.outbox.pending() == []


# -- forms: what the host reads ----------------------------------------------------------------------------------------


def test_reports_are_packed_from_the_first_receipt_on_that_says_so(post):
    post.put(0)
    post.stored((0, 0), reads=READ)
    post.put(1, 2)
    assert post.forms == "JPP"
    assert post.sent == [0, 1, 2]


def test_an_older_host_gets_json(post):
    post.put(0)
    post.stored((0, 0))
    post.put(1)
    assert post.forms == "JJ"


def test_what_the_host_reads_is_known_after_a_restart(post):
    post.put(0)
    post.take()
    post.stored((0, 0), reads=READ)
    post.restart()
    post.put(1)
    assert post.forms == "JP"


def test_the_marker_of_an_older_agent_says_json(post):
    (post.folder / "outbox" / "receipts").write_bytes(b"")
    post.restart()
    post.put(0)
    assert post.forms == "J"


@pytest.mark.parametrize("marker", [b"\xff\x00", b"9" * 5000, b"two", b"-2"])
def test_a_damaged_marker_says_json(post, marker):
    (post.folder / "outbox" / "receipts").write_bytes(marker)
    post.restart()
    post.put(0)
    assert post.forms == "J"


def test_a_host_that_went_back_gets_json_again_and_what_it_could_not_read(post):
    """It answers the first report that it can read; what was packed before is missing in that answer."""
    post.stored((0, 0), reads=READ)
    for sequence in range(1, SILENT + PROBE):
        post.put(sequence)
        post.take()
    read = [sequence for sequence, form in zip(post.sent, post.forms, strict=True) if form == "J"]
    assert len(read) == 1
    post.stored((read[0], read[0]))
    post.take()
    missing = list(range(1, read[0]))
    assert (post.sent[-len(missing) :], post.forms[-len(missing) :]) == (missing, "J" * len(missing))
    post.put(99)
    assert post.forms.endswith("J")


def test_a_plane_that_is_away_costs_one_report_in_five_its_size(post):
    post.stored((0, 0), reads=READ)
    for sequence in range(200):
        post.put(sequence)
        post.take()
    assert "J" not in post.forms[: SILENT - 1]
    assert post.forms.count("J") == (200 - SILENT) // PROBE + 1
    post.stored((0, 199), reads=READ)
    post.put(*range(200, 220))
    assert set(post.forms[200:]) == {"P"}


def test_the_outbox_stays_readable_for_an_older_agent(post):
    post.stored((0, 0), reads=READ)
    post.put(1)
    name = post.outbox.pending()[-1]
    assert codec.decode(post.outbox.read(name), Report).sequence == 1


def test_what_an_older_agent_has_left_is_sent_packed_or_as_it_is(post):
    post.link.connected = False
    post.put(0)
    post.sender.put(b'{"device":"dev-1","boot":"b","sequence":1,"from":"nobody knows"}')
    post.stored((5, 5), reads=READ)
    post.link.connected = True
    post.sender.link_up()
    assert post.forms == "PJ"


def test_forged_receipts_do_not_wear_out_the_disk(post):
    """Case T3: each that named other forms than the one before was written and synced, a hundred times a second."""
    marker, seen = post.folder / "outbox" / "receipts", set()
    for number in range(100):
        post.stored((0, 0), boot="nobody", reads=(1, number))
        seen.add((marker.stat().st_ino, marker.read_bytes()))
    assert len(seen) <= MOST_NOTES


@pytest.mark.parametrize("forged", [
    Receipt(tuple(Stored(f"{number}", ((0, 9),)) for number in range(2000))),
    Receipt((Stored("boot-1", tuple((2 * number + 10**6, 2 * number + 10**6) for number in range(3500))),)),
    Receipt((Stored("boot-1", tuple((number, number) for number in range(30_000))),)),
], ids=["many boots", "many spans", "too large"])  # fmt: skip
def test_forged_receipts_cost_little_however_long_they_are(post, forged):
    """Case T3: a hundred of them a second kept the supervisor from everything else."""
    post.stored((0, 0), boot="another")  # this host sends receipts: reports wait for them
    post.put(*range(200))
    for _ in range(20):
        post.take()
    raw = codec.encode(forged)
    began = time.process_time()
    for _ in range(20):
        post.sender.receipt(raw)
    assert time.process_time() - began < 1.0
    assert len(post.kept) == 200


@given(st.lists(st.integers(1, 5), max_size=12), st.integers(0, 60))
def test_a_receipt_means_what_it_says(steps, sequence):
    spans, at = [], 0
    for step in steps:
        spans.append((at, at + step - 1))
        at += step + 1
    receipt = Receipt((Stored("b", tuple(spans)),))
    assert _is_in(tuple(spans), sequence) == receipt.names("b", sequence)


def test_reports_of_before_a_device_had_an_id_leave_under_the_id_that_it_has_then(post):
    """Counted while it served its factory release; the host knows no device of the placeholder's name."""
    post.link.connected = False
    post.sender.device = "unenrolled"
    post.sender.put(codec.encode(Report("unenrolled", "b", 1, 0.0, 0.0, 1.0)))
    post.sender.device = "edge-17"
    post.link.connected = True
    post.sender.link_up()
    ((topic, raw),) = post.link.published
    assert topic == topics.telemetry("edge-17")
    assert codec.decode(raw, Report).device == "edge-17"
    post.sender.receipt(codec.encode(Receipt((Stored("b", ((1, 1),)),))))
