"""Records that survive: damage is detected and moved aside, a failed write leaves the old content."""

import pytest

from skerry_agent.disk import DiskError, read_record, write_atomic, write_record
from skerry_agent.journal import Journal
from skerry_agent.outbox import Outbox
from skerry_agent.records import Record, Slot, Slots, State

SLOT = Slot("b", "m@1.0.0", "cpu", "a" * 64, "b" * 64)
FIRST, SECOND = Record(slots=Slots(current=SLOT)), Record(state=State.FETCHING, slots=Slots(current=SLOT))


def test_a_journal_starts_empty(tmp_path):
    assert Journal(tmp_path / "journal.json").read() == (Record(), None)


def test_a_journal_reads_what_was_written_last(tmp_path):
    journal = Journal(tmp_path / "journal.json")
    journal.write(FIRST)
    journal.write(SECOND)
    assert Journal(tmp_path / "journal.json").read() == (SECOND, None)


@pytest.mark.parametrize("position", [0, 70, -1])
def test_a_flipped_bit_falls_back_to_the_record_before(tmp_path, position):
    path = tmp_path / "journal.json"
    journal = Journal(path)
    journal.write(FIRST)
    journal.write(SECOND)
    damaged = bytearray(path.read_bytes())
    damaged[position] ^= 4
    path.write_bytes(damaged)
    record, issue = Journal(path).read()
    assert record == FIRST
    assert "is damaged" in issue
    assert (tmp_path / "journal.json.damaged").exists()


def test_a_truncated_record_is_damage_not_a_crash(tmp_path):
    path = tmp_path / "record"
    write_record(path, FIRST)
    path.write_bytes(path.read_bytes()[:80])
    with pytest.raises(DiskError, match=r"moved to record\.damaged"):
        read_record(path, Record)
    assert read_record(path, Record) is None


def test_a_failed_write_keeps_the_old_content_and_leaves_no_temporary_file(tmp_path):
    path = tmp_path / "file"
    write_atomic(path, b"old")
    blocked = tmp_path / ".file.tmp"
    blocked.mkdir()  # stands where the temporary file would go
    with pytest.raises(OSError, match="directory"):
        write_atomic(path, b"new")
    assert path.read_bytes() == b"old"


def test_the_outbox_keeps_reports_over_a_restart_until_they_are_removed(tmp_path):
    outbox = Outbox(tmp_path, 1000)
    first, second = outbox.put(b"one"), outbox.put(b"two")
    outbox.remove(first)
    again = Outbox(tmp_path, 1000)
    assert again.pending() == [second]
    assert again.read(second) == b"two"
    assert again.put(b"three") > second


def test_a_full_outbox_drops_the_oldest_and_counts_them(tmp_path):
    outbox = Outbox(tmp_path, 250)
    names = [outbox.put(b"x" * 100) for _ in range(5)]
    assert outbox.pending() == names[-2:]
    assert outbox.dropped == 3
    assert outbox.read(names[0]) is None  # whoever was about to send it
    assert outbox.dropped == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == names[-2:]


def test_a_torn_report_is_not_sent(tmp_path):
    (tmp_path / ".000000000001.json.tmp").write_bytes(b"{")
    assert Outbox(tmp_path, 1000).pending() == []
    assert not list(tmp_path.iterdir())
