"""Ingest: nothing that a device sends stops it, and nothing is counted twice."""

import json
import logging
from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import event

from skerry_agent.wire import codec, topics
from skerry_agent.wire.telemetry import ModelStats, Report, Sample
from skerry_agent.wire.twin import DeviceState, ModelReport, Reported
from skerry_host.fleet.device import Device
from skerry_host.plane.broker.link import Incoming
from skerry_host.plane.ingest.drop_log import DropLog
from skerry_host.plane.ingest.ingest import Ingest
from skerry_host.plane.registry.database import open_registry
from skerry_host.plane.registry.records import alarms, devices, events, twins
from skerry_host.plane.registry.tables import DeviceRow, TwinRow
from skerry_host.plane.registry.telemetry.sql import SqlTelemetry
from skerry_host.plane.views.gather import device_views, totals

NOW = 5000.0


@pytest.fixture
def registry(tmp_path):
    with open_registry(tmp_path / "r.sqlite") as opened:
        with opened.write() as session:
            devices.add(session, Device("dev-1", "generic-x86", targets=("cpu",)), 1.0)
        yield opened


@pytest.fixture
def ingest(registry):
    return Ingest(registry, lambda: NOW)


def report(sequence=1, device="dev-1", **fields):
    stats = ModelStats("fashion", "fashion@1.0.0", 10, 0)
    return Report(
        device, "boot-1", sequence, 100.0, 50.0, 10.0, (stats,), (Sample("power", 3.0, "W", "modelled"),), **fields
    )


def sent(message, topic=None):
    return Incoming(topic or topics.telemetry("dev-1"), codec.encode(message))


def reported(sequence, boot="boot-1", **models):
    return sent(Reported("dev-1", boot, sequence, 0, "0.1", "generic-x86", ("cpu",), models), topics.reported("dev-1"))


def state(sequence, online, boot="boot-1"):
    return sent(DeviceState("dev-1", boot, sequence, online=online), topics.state("dev-1"))


def rows(registry):
    with registry.read() as session:
        return SqlTelemetry(session).recent(["dev-1"], 100)["dev-1"]


def test_duplicates_are_kept_once(registry, ingest):
    ingest.apply([sent(report(1)), sent(report(2)), sent(report(1))])
    ingest.apply([sent(report(2))])
    assert ingest.counts == Counter(accepted=2, duplicate=2)
    assert len(rows(registry)) == 2


MALFORMED = {
    "not json": b"\xff\x00{",
    "empty": b"",
    "another type": b"[]",
    "no fields": b"{}",
    "wrong device": codec.encode(report(device="dev-2")),
    "a bucket that is no number": json.dumps(
        {**json.loads(codec.encode(report(9))), "models": [
            {"model": "m", "release": "m@1.0.0", "inferences": 1, "errors": 0, "latency": {"buckets": {"x": 1}}}
        ]}
    ).encode(),
    "a count beyond the database": json.dumps(
        {**json.loads(codec.encode(report(9))), "models": [
            {"model": "m", "release": "m@1.0.0", "inferences": 1, "errors": 0, "rss_bytes": 2**80}
        ]}
    ).encode(),
    "a bucket beyond all floats": json.dumps(
        {**json.loads(codec.encode(report(9))), "models": [
            {"model": "m", "release": "m@1.0.0", "inferences": 1, "errors": 0, "latency": {"buckets": {"9" * 30: 1}}}
        ]}
    ).encode(),
    "deep": b"[" * 100_000,
    "huge": b'"' + b"x" * 300_000 + b'"',
}  # fmt: skip


@pytest.mark.parametrize("payload", MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_message_spoils_none_of_its_batch(registry, ingest, payload):
    ingest.apply([sent(report(1)), Incoming(topics.telemetry("dev-1"), payload), sent(report(2))])
    assert ingest.counts == Counter(accepted=2, malformed=1)
    assert [row.sequence for row in rows(registry)] == [1, 2]


def _changed(**fields):
    message = json.loads(codec.encode(report(9)))
    message["models"][0].update(fields)
    return message


def test_a_report_that_could_not_be_read_again_is_refused_and_spoils_no_other(registry, ingest):
    """It is kept in its packed form, which says no to a model's name that JSON lets through."""
    message = _changed(model="My Model!")
    ingest.apply([sent(report(1)), Incoming(topics.telemetry("dev-1"), json.dumps(message).encode()), sent(report(2))])
    assert ingest.counts == Counter(accepted=2, malformed=1)
    assert [row.sequence for row in rows(registry)] == [1, 2]


@pytest.mark.parametrize("topic", ["skerry/v1/d/UP/state", "skerry/v1/d", "x", "skerry/v1/t/00/", "skerry/v1/d//state"])
def test_a_topic_without_a_device_is_malformed(ingest, topic):
    ingest.apply([Incoming(topic, b"{}")])
    assert ingest.counts == Counter(malformed=1)


def test_a_device_that_is_not_enrolled_is_dropped(registry, ingest):
    ingest.apply([sent(report(device="stranger"), topics.telemetry("stranger"))])
    assert ingest.counts == Counter(unknown=1)


def test_what_the_plane_clears_of_a_device_that_left_is_no_message_of_it(ingest, caplog):
    """At each start the log named retired devices as talking, which had been off for long."""
    ingest.apply([Incoming(topics.state("gone"), b"", retained=False), Incoming(topics.reported("gone"), b"")])
    assert (ingest.counts, caplog.records) == (Counter(), [])


def test_a_device_that_another_process_enrols_is_known_at_once(registry, ingest, tmp_path):
    stranger = sent(report(device="dev-2"), topics.telemetry("dev-2"))
    ingest.apply([stranger])
    with open_registry(tmp_path / "r.sqlite") as other, other.write() as session:
        devices.add(session, Device("dev-2", "generic-x86", targets=("cpu",)), 1.0)
    ingest.apply([stranger])
    assert ingest.counts == Counter(unknown=1, accepted=1, duplicate=0)


def test_a_device_that_is_removed_by_hand_is_unknown_at_once(registry, ingest, tmp_path):
    ingest.apply([state(1, online=True)])
    with open_registry(tmp_path / "r.sqlite") as other, other.write() as session:
        session.delete(session.get_one(TwinRow, "dev-1"))
        session.flush()
        session.delete(session.get_one(DeviceRow, "dev-1"))
    ingest.apply([state(3, online=True), sent(report(1))])
    assert ingest.counts == Counter(accepted=1, unknown=2, duplicate=0)


def test_strangers_cannot_fill_the_log(ingest, caplog):
    for number in range(50):
        name = f"stranger-{number % 20}"
        ingest.apply([sent(report(device=name), topics.telemetry(name))])
    assert [record.getMessage() for record in caplog.records] == [
        "dropped, because the device is not enrolled: a message from stranger-0"
    ]
    assert ingest.counts["unknown"] == 50


def test_what_was_dropped_meanwhile_is_said_a_minute_later(caplog):
    now = 1000.0
    dropped = DropLog(logging.getLogger("t"), "of a reason", lambda: now)
    dropped.note("a", "first")
    for name in ("a", "b", "c", "b"):
        dropped.note(name)
    now += 61
    dropped.note("c", "last")
    assert [record.getMessage() for record in caplog.records] == [
        "dropped, because of a reason: a message from a: first",
        "dropped, because of a reason: 5 messages from 3 senders, the last from c: last",
    ]


def test_a_batch_asks_a_few_questions_whatever_its_length(registry, ingest):
    """Not one for each message."""
    with registry.write() as session:
        for number in range(2, 40):
            devices.add(session, Device(f"dev-{number}", "generic-x86", targets=("cpu",)), 1.0)
    names = [f"dev-{number}" for number in range(1, 40)]
    said = [[*reports(some, 1), *births(some, "b"), *all_reported(some, "b")] for some in (names[:2], names[2:])]
    few, many = (asked(registry, ingest, messages) for messages in said)
    assert many <= few


def reports(names, sequence):
    return [sent(report(sequence, device=name), topics.telemetry(name)) for name in names]


def births(names, boot):
    return [sent(DeviceState(name, boot, 1, online=True), topics.state(name)) for name in names]


def all_reported(names, boot):
    said = {name: Reported(name, boot, 1, 0, "0.1", "generic-x86", ("cpu",), {}) for name in names}
    return [sent(each, topics.reported(name)) for name, each in said.items()]


def asked(registry, ingest, messages):
    """How many statements these messages cost that ask for rows."""
    statements = []
    note = lambda _connection, _cursor, statement, *_: statements.append(statement)  # noqa: E731
    event.listen(registry._engine, "before_cursor_execute", note)
    ingest.apply(messages)
    event.remove(registry._engine, "before_cursor_execute", note)
    return sum(
        words[0] == "SELECT" or (words[0] == "UPDATE" and "RETURNING" in words) for words in map(str.split, statements)
    )


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from([topics.telemetry, topics.reported, topics.state, topics.command_result]), st.binary(max_size=200)
)
def test_any_bytes_on_any_topic(ingest, topic, payload):
    before = sum(ingest.counts.values())
    ingest.apply([Incoming(topic("dev-1"), payload)])
    assert sum(ingest.counts.values()) == before + 1


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(["models", "samples", "sequence", "started", "duration_s", "uptime_s", "boot", "outbox_dropped"]),
    JSON,
)
def test_any_value_in_any_field(registry, ingest, field, value):
    message = {**json.loads(codec.encode(report(77))), field: value}
    ingest.apply([Incoming(topics.telemetry("dev-1"), json.dumps(message).encode())])
    with registry.read() as session:
        assert len(device_views(session, devices.all_devices(session))) == 1
        totals(session, NOW)


def test_an_older_message_never_replaces_a_newer_one(registry, ingest):
    newer = ModelReport("committed", serving=True)
    ingest.apply([reported(5, fashion=newer), reported(4), reported(5)])
    assert ingest.counts == Counter(accepted=1, duplicate=2)
    with registry.read() as session:
        assert twins.find(session, "dev-1").reported.models == {"fashion": newer}
    ingest.apply([reported(1, boot="boot-2")])
    assert ingest.counts["accepted"] == 2


def test_the_will_of_an_earlier_connection_does_not_take_a_device_offline(registry, ingest):
    def online():
        with registry.read() as session:
            return twins.find(session, "dev-1").online

    ingest.apply([state(0, True)])
    assert online()
    ingest.apply([state(7, True), state(0, False)])
    assert online()
    ingest.apply([state(7, False)])
    assert not online()
    ingest.apply([state(7, False), state(0, True, boot="boot-2")])
    assert online()
    with registry.read() as session:
        kinds = [event.kind for event in events.latest(session)]
    assert kinds == ["online", "offline", "online", "enrolled"]


def twin(registry):
    with registry.read() as session:
        return twins.find(session, "dev-1")


def kinds(registry):
    with registry.read() as session:
        return [each.kind for each in events.latest(session)]


def sounding(registry):
    with registry.read() as session:
        return {alarm.kind for alarm in alarms.every(session)}


@pytest.mark.parametrize("far", [2**20 + 1, 2**53 - 10])
@pytest.mark.parametrize("make", [lambda n: sent(report(n)), reported, lambda n: state(n, online=True)])
def test_a_number_that_no_device_can_have_come_to_is_malformed_and_mutes_nobody(registry, ingest, make, far):
    """Case T1 of the threat table: after one forged message with 2**62, nothing of the device was new any more."""
    ingest.apply([make(5), make(5 + far), make(6)])
    assert (ingest.counts["accepted"], ingest.counts["malformed"]) == (2, 1)


@pytest.mark.parametrize("number", [2**53 + 1, 2**63 - 1, 2**64])
@pytest.mark.parametrize("where", ["sequence", "generation", "patch_format"])
def test_a_whole_number_above_2_to_the_53_is_malformed(registry, ingest, where, number):
    said = json.loads(reported(5).payload) | {where: number}
    ingest.apply([Incoming(topics.reported("dev-1"), json.dumps(said).encode())])
    assert (ingest.counts["accepted"], ingest.counts["malformed"]) == (0, 1)


def test_the_twin_of_a_forged_boot_is_replaced_by_the_devices_next_word_and_an_alarm_tells_of_it(registry, ingest):
    """Case I8 of the threat table, by messages."""
    ingest.apply([reported(5), reported(1, boot="forged"), reported(6), reported(2, boot="forged"), reported(7)])
    assert twin(registry).reported.sequence == 7
    assert sounding(registry) == {"cloned"}
    assert kinds(registry).count("cloned") == 1
    with registry.read() as session:
        (view,) = device_views(session, devices.all_devices(session))
    assert "two devices speak under this id" in view.alarms[0].text


def test_the_last_will_of_the_boot_before_takes_no_device_offline(registry, ingest):
    """A broker speaks it when it has missed the device for a while, after the device has started again."""
    ingest.apply([state(1, online=True), state(1, online=True, boot="boot-2"), state(1, online=False)])
    assert twin(registry).online
    assert sounding(registry) == set()


@pytest.mark.parametrize("word", [lambda: reported(9), lambda: sent(report(9))])
def test_a_device_whose_last_will_was_forged_is_online_again_when_it_speaks(registry, ingest, word):
    ingest.apply([state(1, online=True), state(2, online=False)])
    assert not twin(registry).online
    ingest.apply([word()])
    assert twin(registry).online


def test_a_report_that_came_before_the_last_will_makes_no_ghost(registry, ingest):
    ingest.apply([state(1, online=True), sent(report(9)), state(1, online=False)])
    assert not twin(registry).online


def test_what_a_broker_had_retained_makes_no_ghost(registry, ingest):
    ingest.apply([state(1, online=True), state(1, online=False)])
    said = reported(9)
    ingest.apply([Incoming(said.topic, said.payload, retained=True)])
    assert not twin(registry).online


def test_a_generation_that_was_never_signed_here_is_an_alarm_and_no_number_to_go_on_from(registry, ingest):
    said = json.loads(reported(5).payload) | {"generation": 77}
    for sequence in (5, 6):
        raw = json.dumps(said | {"sequence": sequence}).encode()
        ingest.apply([Incoming(topics.reported("dev-1"), raw)])
    assert kinds(registry).count("unsigned_generation") == 1
    with registry.read() as session:
        (view,) = device_views(session, devices.all_devices(session))
    assert [alarm.kind for alarm in view.alarms] == ["unsigned_generation"]
    assert view.alarms[0].text.startswith("this host has not signed what it runs")
    ingest.apply([reported(7)])
    with registry.read() as session:
        assert device_views(session, devices.all_devices(session))[0].alarms == ()


DAMAGED = [b"", b"{", b"[]", b"\xff", b'{"generation": 9007199254740993}']


@pytest.mark.parametrize("raw", DAMAGED)
@pytest.mark.parametrize("column", ["desired", "envelope", "reported"])
def test_a_damaged_row_of_a_device_spoils_no_message_of_another(registry, ingest, column, raw):
    """Case T2 of the threat table: it ended the plane at once, and again at every start."""
    with registry.write() as session:
        devices.add(session, Device("dev-2", "generic-x86", targets=("cpu",)), 1.0)
        setattr(session.get_one(TwinRow, "dev-1"), column, raw)
    well = Reported("dev-2", "b", 1, 0, "0.1", "generic-x86", ("cpu",))
    ingest.apply([reported(1), state(1, online=True), sent(report(1)), sent(well, topics.reported("dev-2"))])
    with registry.read() as session:
        assert twins.find(session, "dev-2").reported == well
