"""Records that survive: damage is detected and moved aside, a failed write leaves the old content."""

from collections import OrderedDict
from pathlib import Path

import pytest

from skerry_agent.machine.records import Record, Slot, Slots, State
from skerry_agent.state.disk import DiskError, read_record, write_atomic, write_record
from skerry_agent.state.journal import Journal
from skerry_agent.state.outbox import Outbox

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
    seen = sorted(tmp_path.iterdir())
    for _ in range(2):  # a command that only looks may look as often as it likes
        record, issue = Journal(path).read()
        assert record == FIRST
        assert "is damaged" in issue
        assert sorted(tmp_path.iterdir()) == seen
    Journal(path).repair(record)
    assert path.with_name("journal.json.damaged").read_bytes() == damaged
    assert Journal(path).read() == (FIRST, None)


def test_a_journal_that_is_gone_is_damage_where_there_was_one_before(tmp_path):
    path = tmp_path / "journal.json"
    Journal(path).write(FIRST)
    Journal(path).write(SECOND)
    path.unlink()
    record, issue = Journal(path).read()
    assert record == FIRST
    assert "is missing" in issue
    Journal(path).repair(record)
    assert Journal(path).read() == (FIRST, None)


def test_a_damaged_journal_with_nothing_behind_it_is_found_at_every_start(tmp_path):
    path = tmp_path / "journal.json"
    Journal(path).write(FIRST)
    path.write_bytes(path.read_bytes()[:-3])
    for _ in range(2):
        record, issue = Journal(path).read()
        Journal(path).repair(record)
        assert (record, "is damaged" in issue) == (Record(), True)


def test_a_record_that_cannot_be_read_now_is_not_replaced_by_an_older_one(tmp_path):
    path = tmp_path / "journal.json"
    Journal(path).write(FIRST)
    Journal(path).write(SECOND)
    whole = path.rename(tmp_path / "whole")
    path.symlink_to(path)  # ELOOP: neither gone nor damaged
    record, issue = Journal(path).read()
    Journal(path).repair(record)
    assert (record, "cannot be read" in issue) == (FIRST, True)
    whole.replace(path)
    assert Journal(path).read() == (SECOND, None)


def test_a_journal_is_written_where_somebody_has_removed_its_folder(tmp_path):
    journal = Journal(tmp_path / "models" / "m" / "journal.json")
    journal.write(FIRST)
    assert journal.read() == (FIRST, None)


def test_a_truncated_record_is_damage_not_a_crash(tmp_path):
    path = tmp_path / "record"
    write_record(path, FIRST)
    path.write_bytes(path.read_bytes()[:80])
    with pytest.raises(DiskError, match="is damaged"):
        read_record(path, Record)


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


def test_a_report_never_takes_the_name_of_one_that_waits(tmp_path, monkeypatch):
    waits = Outbox(tmp_path, 10**6).put(b"waits")
    with monkeypatch.context() as broken:
        broken.setattr(Path, "iterdir", _no_answer)
        outbox = Outbox(tmp_path, 10**6)
        assert outbox.pending() == []
        with pytest.raises(OSError, match="Input/output"):
            outbox.put(b"lost")
    later = outbox.put(b"kept")
    assert outbox.pending() == [waits, later]
    assert outbox.read(waits) == b"waits"


def _no_answer(_path):
    raise OSError(5, "Input/output error")


def test_a_name_that_was_tried_is_not_used_again(tmp_path):
    """The report may have reached the disk, though the call that wrote it failed."""
    outbox = Outbox(tmp_path, 10**6)
    (tmp_path / ".000000000001.json.tmp").mkdir()
    with pytest.raises(OSError, match="directory"):
        outbox.put(b"first")
    assert outbox.put(b"second") == "000000000002.json"


def test_the_bound_counts_blocks(tmp_path):
    outbox = Outbox(tmp_path, 10 * 4096)
    for _ in range(30):
        outbox.put(b"x" * 100)
    assert len(list(tmp_path.iterdir())) == len(outbox.pending()) == 10
    assert outbox.dropped == 20
    assert Outbox(tmp_path, 10 * 4096).pending() == outbox.pending()


def test_room_is_made_by_one_look_at_each_report(tmp_path):
    """Summing all of them for each that goes took seconds, in which the supervisor did nothing else."""
    outbox = Outbox(tmp_path, 10**9)
    outbox._rooms = CountedRooms((f"{number:012d}.json", 4096) for number in range(2, 2002))
    outbox._taken = 2000 * 4096
    outbox._max_bytes = 4096
    outbox.put(b"x")
    assert (len(outbox.pending()), outbox.dropped) == (1, 2000)
    assert outbox._rooms.looks < 3 * 2000


class CountedRooms(OrderedDict):
    """Counts how often something of it is looked at."""

    looks = 0

    def __iter__(self):
        self.looks += 1
        return super().__iter__()

    def values(self):
        self.looks += len(self)
        return super().values()


def test_the_outbox_is_made_again_where_somebody_has_removed_it(tmp_path):
    outbox = Outbox(tmp_path / "outbox", 1000)
    (tmp_path / "outbox").rmdir()
    assert outbox.read(outbox.put(b"one")) == b"one"


def test_a_full_outbox_drops_the_oldest_and_counts_them(tmp_path):
    outbox = Outbox(tmp_path, 2 * 4096)
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
