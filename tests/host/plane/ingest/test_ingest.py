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
from skerry_host.plane.registry.records import devices, events, twins
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


UNREADABLE = {
    "a model that no release could have": _changed(model="My Model!"),
    "a value that rounds to one beyond all measure": {
        **_changed(), "samples": [{"name": "x", "value": 1e30, "unit": "", "source": "measured"}]
    },
}  # fmt: skip


@pytest.mark.parametrize("message", UNREADABLE.values(), ids=UNREADABLE)
def test_a_report_that_could_not_be_read_again_is_refused_and_spoils_no_other(registry, ingest, message):
    """It is kept in its packed form, which says no to what JSON lets through."""
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
    few, many = (asked(registry, ingest, [*reports(some, 1), *births(some, "b")]) for some in (names[:2], names[2:]))
    assert many <= few


def reports(names, sequence):
    return [sent(report(sequence, device=name), topics.telemetry(name)) for name in names]


def births(names, boot):
    return [sent(DeviceState(name, boot, 1, online=True), topics.state(name)) for name in names]


def asked(registry, ingest, messages):
    """How many SELECT statements these messages cost."""
    statements = []
    note = lambda _connection, _cursor, statement, *_: statements.append(statement)  # noqa: E731
    event.listen(registry._engine, "before_cursor_execute", note)
    ingest.apply(messages)
    event.remove(registry._engine, "before_cursor_execute", note)
    return sum(statement.startswith("SELECT") for statement in statements)


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
