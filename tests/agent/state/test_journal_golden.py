"""A journal that an earlier agent wrote: read as it was meant, and written again with the same bytes.

`golden/journal.v1.json` is a record with every field set. It never changes: devices in the field hold such files.
"""

from pathlib import Path

import msgspec

from skerry_agent.machine.records import Record, State
from skerry_agent.state.disk import read_sealed
from skerry_agent.state.journal import Journal

GOLDEN = Path(__file__).parent / "golden" / "journal.v1.json"


def names(kind: type) -> set[str]:
    return {field.encode_name for field in msgspec.structs.fields(kind)}


def test_the_bytes_of_an_earlier_journal_are_written_again(tmp_path):
    record, issue = Journal(GOLDEN).read()
    assert (issue, record.state) == (None, State.ROLLING_BACK)
    Journal(tmp_path / "journal.json").write(record)
    assert (tmp_path / "journal.json").read_bytes() == GOLDEN.read_bytes()


def test_the_golden_journal_holds_every_field():
    written = msgspec.json.decode(read_sealed(GOLDEN))
    record = Journal(GOLDEN).read()[0]
    pairs = (
        (written, Record),
        (written["slots"], type(record.slots)),
        (written["slots"]["current"], type(record.slots.current)),
        (written["deployment"], type(record.deployment)),
    )
    assert [set(held) ^ names(kind) for held, kind in pairs] == [set()] * len(pairs)
    assert all(value is not None for value in written["slots"].values())
