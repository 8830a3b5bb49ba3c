"""The record of settings on disk: two copies, of which the later one that is whole counts."""

import pytest

from skerry_agent.machine import settings as machine
from skerry_agent.machine.settings import SettingsRecord
from skerry_agent.state.settings import FILES, read_settings, write_settings
from skerry_agent.wire.settings import SettingsOrder

OLD = machine.proven(machine.ordered(SettingsRecord(), SettingsOrder("old", {"metered": True}), moved=False))
NEW = machine.ordered(OLD, SettingsOrder("new", {"metered": False}), moved=False)


def test_a_device_on_which_nothing_was_set_has_an_empty_record(tmp_path):
    assert read_settings(tmp_path) == (SettingsRecord(), None)


@pytest.mark.parametrize("damaged", FILES)
@pytest.mark.parametrize("content", [b"", b"{}", b"\0" * 300])
def test_one_damaged_copy_costs_nothing(tmp_path, damaged, content):
    write_settings(tmp_path, NEW)
    (tmp_path / damaged).write_bytes(content)
    record, issue = read_settings(tmp_path)
    assert record == NEW
    assert damaged in issue


def test_a_write_that_was_cut_between_the_copies_counts(tmp_path):
    write_settings(tmp_path, OLD)
    second = (tmp_path / FILES[1]).read_bytes()
    write_settings(tmp_path, NEW)
    (tmp_path / FILES[1]).write_bytes(second)
    assert read_settings(tmp_path)[0] == NEW


def test_where_the_disk_takes_nothing_the_record_before_holds(tmp_path):
    write_settings(tmp_path, OLD)
    (tmp_path / f".{FILES[0]}.tmp").mkdir()
    with pytest.raises(OSError):  # noqa: PT011 - whatever the system says
        write_settings(tmp_path, NEW)
    assert read_settings(tmp_path)[0] == OLD
