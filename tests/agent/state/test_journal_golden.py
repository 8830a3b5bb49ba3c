"""A journal that an earlier agent wrote: read as it was meant, and written again with all that it held.

`golden/journal.v1.json` is a record with every field of its time set, `journal.v2.json` and `journal.v3.json` with
those that came since. They never change: devices in the field hold such files.
"""

from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from skerry_agent.machine.records import Record, State
from skerry_agent.state.disk import read_sealed, write_sealed
from skerry_agent.state.journal import Journal

GOLDEN = Path(__file__).parent / "golden" / "journal.v1.json"
OLDER, NEWEST = GOLDEN.with_name("journal.v2.json"), GOLDEN.with_name("journal.v3.json")


def names(kind: type) -> set[str]:
    return {field.encode_name for field in msgspec.structs.fields(kind)}


@pytest.mark.parametrize("golden", [GOLDEN, OLDER, NEWEST], ids=lambda path: path.name)
def test_what_an_earlier_journal_holds_is_written_again_and_what_came_since_is_empty(tmp_path, golden):
    record, issue = Journal(golden).read()
    assert (issue, record.state) == (None, State.ROLLING_BACK)
    Journal(tmp_path / "journal.json").write(record)
    held, written = (msgspec.json.decode(read_sealed(path)) for path in (golden, tmp_path / "journal.json"))
    assert without_empty(held) == without_empty(written)


def without_empty(value):
    if isinstance(value, dict):
        return {key: without_empty(each) for key, each in value.items() if each is not None}
    return value


def test_the_bytes_of_the_newest_journal_are_written_again(tmp_path):
    Journal(tmp_path / "journal.json").write(Journal(NEWEST).read()[0])
    assert (tmp_path / "journal.json").read_bytes() == NEWEST.read_bytes()


def test_what_a_newer_agent_added_is_ignored(tmp_path):
    """A device may go back to an older agent, in the middle of a deployment, too."""
    written = msgspec.json.decode(read_sealed(GOLDEN))
    written |= {
        "new": 1,
        "deployment": {**written["deployment"], "apply_crashes": 2, "detail": "damaged: it ends early"},
    }
    write_sealed(tmp_path / "journal.json", msgspec.json.encode(written))
    record, issue = Journal(tmp_path / "journal.json").read()
    before = Journal(GOLDEN).read()[0]
    assert issue is None
    assert record == replace(before, deployment=replace(before.deployment, detail="damaged: it ends early"))


def test_the_golden_journal_holds_every_field():
    written = msgspec.json.decode(read_sealed(NEWEST))
    record = Journal(NEWEST).read()[0]
    pairs = (
        (written, Record),
        (written["slots"], type(record.slots)),
        (written["slots"]["current"], type(record.slots.current)),
        (written["deployment"], type(record.deployment)),
    )
    assert [set(held) ^ names(kind) for held, kind in pairs] == [set()] * len(pairs)
    assert all(value is not None for value in written["slots"].values())
