"""The record on disk: what is damaged is not used, what is newer is read, and what cannot be counted is not tried."""

import hashlib
import json

import pytest

from skerry_agent.launch import files
from skerry_agent.launch.table import Agent, Ended, Healthy, Ordered, Record, Trial

NEW = Agent("new", "agent@0.9.0", "0.9.0")
TRIAL = Trial(NEW, "d1", 300.0, linked=True, serving=("fashion", "digits"), waiting="no connection")
WHOLE = Record(7, Agent("old", "agent@0.8.0", "0.8.0"), Agent(), TRIAL, Ended("d0", "a@1", "rolled_back", "x", "y"), 2)


def make_agent(folder, name):
    (folder / name / "skerry_agent").mkdir(parents=True)
    (folder / name / "skerry_agent" / "__main__.py").touch()


def sealed(body):
    return hashlib.sha256(body).hexdigest().encode() + b"\n" + body


def test_a_record_is_read_as_it_was_written(tmp_path):
    files.write(tmp_path / "agents", WHOLE)
    assert files.read(tmp_path / "agents") == (WHOLE, "")


PINNED = (
    '{"sequence":7,"current":{"folder":"old","release":"agent@0.8.0","version":"0.8.0"},"previous":{"folder":"",'
    '"release":"","version":""},"trial":{"agent":{"folder":"new","release":"agent@0.9.0","version":"0.9.0"},'
    '"deployment":"d1","deadline_s":300.0,"linked":true,"serving":["fashion","digits"],"attempts":0,'
    '"waiting":"no connection","last":""},"ended":{"deployment":"d0","release":"a@1","outcome":"rolled_back",'
    '"reason":"x","detail":"y"},"starts":2}'
)
"""A promise: the launcher of the base environment reads it as long as a device has that, whatever agent wrote it."""


def test_the_record_is_pinned(tmp_path):
    for name in files.COPIES:
        (tmp_path / name).write_bytes(sealed(PINNED.encode()))
    assert files.read(tmp_path) == (WHOLE, "")
    files.write(tmp_path, WHOLE)
    assert (tmp_path / files.COPIES[0]).read_bytes() == sealed(PINNED.encode())


def test_a_device_without_any_has_the_base_environment_s(tmp_path):
    assert files.read(tmp_path) == (Record(), "")


@pytest.mark.parametrize("name", files.COPIES)
@pytest.mark.parametrize("damage", [b"", b"\0" * 300, b"{}", sealed(b"[]"), sealed(b"{}"), sealed(b"nonsense")])
def test_a_copy_that_is_damaged_or_of_another_form_is_not_used_and_is_written_again(tmp_path, name, damage):
    files.write(tmp_path, WHOLE)
    (tmp_path / name).write_bytes(damage)
    record, said = files.read(tmp_path)
    assert record == WHOLE
    assert name in said
    files.change(tmp_path, Healthy("another"))
    assert files.read(tmp_path) == (WHOLE, "")


def test_both_copies_damaged_leave_the_base_environment(tmp_path):
    files.write(tmp_path, WHOLE)
    for name in files.COPIES:
        (tmp_path / name).write_bytes(b"\xff" * 100)
    assert files.read(tmp_path)[0] == Record()


def test_the_newer_copy_counts(tmp_path):
    files.write(tmp_path, WHOLE)
    older = (tmp_path / files.COPIES[1]).read_bytes()
    files.write(tmp_path, WHOLE._replace(sequence=8, trial=None))
    (tmp_path / files.COPIES[1]).write_bytes(older)
    assert files.read(tmp_path)[0].trial is None


def test_a_record_of_a_newer_agent_is_read_by_the_older_one_that_comes_back(tmp_path):
    files.write(tmp_path, WHOLE)
    body = json.loads((tmp_path / files.COPIES[0]).read_bytes().partition(b"\n")[2])
    for part in (body, body["current"], body["trial"], body["trial"]["agent"], body["ended"]):
        part["of_later"] = {"x": [1]}
    for name in files.COPIES:
        (tmp_path / name).write_bytes(sealed(json.dumps(body).encode()))
    assert files.read(tmp_path) == (WHOLE, "")


@pytest.mark.parametrize("folder", ["../x", "a/b", ".hidden", "/etc"])
def test_a_record_that_leads_out_of_the_folder_of_agents_is_not_used(tmp_path, folder):
    files.write(tmp_path, WHOLE._replace(current=Agent(folder)))
    assert files.read(tmp_path)[0] == Record()


def test_a_candidate_whose_start_cannot_be_counted_is_not_tried(tmp_path, monkeypatch):
    """A full or read-only disk: else it would be tried without end."""
    make_agent(tmp_path, "new")
    make_agent(tmp_path, "old")
    files.write(tmp_path, Record(1, Agent("old"), None, TRIAL))
    (tmp_path / f".{files.COPIES[0]}.tmp").mkdir()  # as root no permission stops anybody: this does
    step = files.started(tmp_path)
    assert step.run == Agent("old")
    (tmp_path / f".{files.COPIES[0]}.tmp").rmdir()
    assert files.started(tmp_path).run == NEW


def test_an_agent_that_the_disk_cannot_tell_of_now_is_not_given_up(tmp_path):
    """Else one failing read would put a device back to its base environment for good."""
    new = Agent("n" * 300, "agent@0.9.0", "0.9.0")  # too long a name: the disk answers with an error, as with EIO
    files.write(tmp_path, Record(1, new))
    assert files.started(tmp_path).run == new


def test_a_folder_without_an_agent_in_it_is_not_tried(tmp_path):
    (tmp_path / "new").mkdir()
    files.change(tmp_path, Ordered(TRIAL))
    step = files.started(tmp_path)
    assert (step.run, step.record.ended.reason) == (Agent(), "agent_gone")
