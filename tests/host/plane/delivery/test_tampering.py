"""Orders that somebody else writes over are noticed, put right a bounded number of times, and told once."""

from itertools import pairwise

import pytest

from skerry_agent.wire import topics
from skerry_host.plane.broker.link import Incoming
from skerry_host.plane.delivery.tampering import AT_ONCE, FORGOTTEN_S, LONGEST_S, MOST, Tampering
from skerry_host.plane.registry.records import alarms, events
from skerry_host.plane.rollouts.intake import order_watch
from tests.kit.publishing import Rig

TOPIC = topics.desired("dev-1")


class Watched:
    def __init__(self):
        self.now = 1000.0
        self.tampering = Tampering(lambda: self.now)

    def publish(self, payload):
        self.tampering.publishing(TOPIC, payload)

    def hear(self, payload, topic=TOPIC, *, retained=False):
        self.tampering.heard(Incoming(topic, payload, qos=0, retained=retained))

    @property
    def due(self):
        return [each.topic for each in self.tampering.due()]


@pytest.fixture
def watched():
    return Watched()


def test_our_own_messages_are_no_tampering(watched):
    for n in range(20):
        watched.publish(b"%d" % n)
        watched.hear(b"%d" % n)
        watched.hear(b"%d" % n)
    assert watched.due == []


def test_what_is_heard_before_our_message_comes_back_was_replaced_by_it(watched):
    """The retained message of a life before, our last but one, and one that somebody wrote a moment too early."""
    watched.hear(b"before", retained=True)
    watched.publish(b"1")
    watched.publish(b"2")
    for payload in (b"before", b"theirs", b"1", b"2"):
        watched.hear(payload)
    assert watched.due == []


@pytest.mark.parametrize("payload", [b"", b"theirs", b"1"])
def test_what_others_write_after_ours_is_put_right(watched, payload):
    """Also our own order of before: whoever replays it would have the device refuse it for ever."""
    watched.publish(b"1")
    watched.hear(b"1")
    watched.publish(b"2")
    watched.hear(b"2")
    watched.hear(payload)
    assert watched.due == [TOPIC]
    assert watched.due == [], "once"


def test_an_order_on_a_topic_that_never_had_one_is_anothers(watched):
    watched.hear(b"", topics.command("dev-2"))
    watched.hear(b"theirs", topics.command("dev-2"))
    assert watched.due == [topics.command("dev-2")]


def test_what_is_written_over_all_the_time_is_put_right_every_few_seconds(watched):
    """Case T3 of the threat table: neither a flood of ours, nor none."""
    restored = []
    for _ in range(1200):
        watched.now += 0.1
        watched.publish(b"1") if not restored else None
        watched.hear(b"1")
        watched.hear(b"theirs")
        if watched.due:
            restored.append(watched.now)
            watched.publish(b"1")
    gaps = [later - earlier for earlier, later in pairwise(restored)]
    assert max(gaps) <= LONGEST_S + 0.2
    assert len(restored) <= 120 / LONGEST_S + 5


def test_what_is_remembered_is_bounded_and_forgotten(watched):
    for n in range(MOST + 10):
        watched.hear(b"theirs", topics.desired(f"dev-{n}"))
    assert len(watched.tampering._overwritten) == MOST
    assert len(watched.due) == AT_ONCE
    watched.now += FORGOTTEN_S + 1
    assert watched.due == []
    assert not watched.tampering.pending


@pytest.fixture
def rig(tmp_path):
    made = Rig(tmp_path / "home")
    yield made
    made.registry.close()


def told(rig):
    with rig.registry.read() as session:
        return [alarm.kind for alarm in alarms.every(session)], [
            event.subject for event in events.latest(session) if event.kind == "tampering"
        ]


def overwrite(rig, topic, payload):
    tampering = rig.publisher.tampering
    tampering.heard(Incoming(topic, rig.link.retained_messages.get(topic, b""), qos=0))
    rig.link.retained_messages[topic] = payload
    tampering.heard(Incoming(topic, payload, qos=0))


@pytest.mark.parametrize("payload", [b"", b"{}"])
def test_a_cleared_or_foreign_desired_state_is_put_right_at_once_and_told_once(rig, payload):
    """One empty retained message once stalled a rollout until the plane had another connection."""
    rig.start()
    rig.turn()
    ours = rig.link.retained_messages[TOPIC]
    for _ in range(3):
        overwrite(rig, TOPIC, payload)
        rig.turn()
        assert rig.link.retained_messages[TOPIC] == ours
        rig.now += LONGEST_S
    assert told(rig) == (["tampering"], ["dev-1"])


def test_a_command_that_somebody_clears_is_put_right_and_a_foreign_one_is_cleared(rig):
    topic, other = topics.command("dev-1"), topics.command("dev-2")
    with rig.registry.write() as session:
        order_watch(session, "dev-1", 60.0, rig.now)
    rig.turn()
    ours = rig.link.retained_messages[topic]
    overwrite(rig, topic, b"")
    overwrite(rig, other, b"theirs")
    rig.turn()
    assert rig.link.retained_messages[topic] == ours
    assert other not in rig.link.retained_messages


def test_what_the_registry_wants_is_no_tampering_whoever_has_published_it(rig):
    """Another part of the plane clears what a revoked device was to run."""
    rig.start()
    rig.turn()
    rig.link.retained_messages.pop(topics.command("dev-1"), None)
    overwrite(rig, topics.command("dev-1"), b"")
    rig.turn()
    assert told(rig) == ([], [])


def test_a_stranger_to_this_host_is_left_alone(rig):
    """Another host may serve it over the same broker."""
    topic = topics.desired("theirs-1")
    overwrite(rig, topic, b"theirs")
    rig.turn()
    assert rig.link.retained_messages[topic] == b"theirs"
    assert told(rig) == ([], [])
