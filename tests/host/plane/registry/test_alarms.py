"""Alarms: one of a kind and a device, told once, renewed seldom, and gone when their cause is."""

from dataclasses import replace

import pytest

from skerry_host.fleet.device import Device
from skerry_host.plane.registry.database import open_registry
from skerry_host.plane.registry.records import alarms, changes, devices, events
from skerry_host.plane.registry.records.alarms import QUIET_S, RENEW_S, Alarm

ALARM = Alarm("dev-1", alarms.TAMPERING, 100.0, 100.0, "somebody\x1b[2J else")


@pytest.fixture
def session(tmp_path):
    with open_registry(tmp_path / "r.sqlite") as registry, registry.write() as made:
        devices.add(made, Device("dev-1", "generic-x86", targets=("cpu",)), 1.0)
        yield made


def told(session):
    return [event.kind for event in events.latest(session) if event.kind != "enrolled"]


def test_an_alarm_that_goes_on_is_one_event_and_few_writes(session):
    assert alarms.sound(session, ALARM)
    before = changes.now(session)
    for second in range(60):
        assert not alarms.sound(session, replace(ALARM, last=100.0 + second))
    (found,) = alarms.every(session)
    assert (found.since, 59.0 - RENEW_S < found.last - 100.0 <= 59.0) == (100.0, True)
    assert told(session) == ["tampering"]
    assert changes.now(session) == before, "nobody has to look again"
    assert "\x1b" not in found.text


@pytest.mark.parametrize("now", [100.0 + QUIET_S + 1, 100.0 - QUIET_S - 1])
def test_it_ends_by_itself_also_where_the_clock_was_set_back(session, now):
    alarms.sound(session, ALARM)
    assert not alarms.are_over(session, 100.0 + QUIET_S)
    assert alarms.are_over(session, now)
    alarms.end_quiet(session, now)
    assert (alarms.every(session), told(session)) == ([], ["alarm_ended", "tampering"])


def test_it_is_ended_by_hand_and_begins_anew_if_its_cause_is_there(session):
    alarms.sound(session, ALARM)
    assert alarms.end(session, "dev-1", 101.0) == ["tampering"]
    assert alarms.end(session, "dev-1", 102.0) == []
    assert alarms.sound(session, ALARM)


def test_a_record_with_an_alarm_can_be_renamed(session):
    """Somebody may write orders for a device before it was ever there."""
    alarms.sound(session, ALARM)
    devices.rename(session, "dev-1", "dev-2")
    assert alarms.every(session) == []
