"""How much a device may say: a flood in its name is dropped and counted, and takes nothing from the others."""

from collections import Counter

import pytest
from sqlalchemy.exc import OperationalError

from skerry_agent.config import AgentSection
from skerry_agent.wire import codec, topics
from skerry_agent.wire.refusals import RefusedOrder
from skerry_agent.wire.telemetry import Report
from skerry_agent.wire.twin import DeviceState, Reported
from skerry_host.fleet.device import Device
from skerry_host.plane.broker.link import Incoming
from skerry_host.plane.ingest.ingest import Ingest
from skerry_host.plane.ingest.rate_limits import EVENTS, REPORTS, USUAL, Allowance, RateLimits
from skerry_host.plane.registry.database import open_registry
from skerry_host.plane.registry.records import devices, events, twins
from skerry_host.plane.token_bucket import Rate

BURST = int(USUAL.messages.burst)


class Rig:
    def __init__(self, registry):
        self.registry, self.now = registry, 5000.0
        self.ingest = Ingest(registry, lambda: self.now)

    def say(self, *messages):
        self.ingest.apply(list(messages))

    @property
    def counts(self):
        return self.ingest.counts

    def sequence(self, device="dev-1"):
        with self.registry.read() as session:
            return codec.decode(twins.rows(session, {device})[0].reported, Reported).sequence


@pytest.fixture
def rig(tmp_path):
    with open_registry(tmp_path / "r.sqlite") as opened:
        with opened.write() as session:
            for name in ("dev-1", "dev-2"):
                devices.add(session, Device(name, "generic-x86", targets=("cpu",)), 1.0)
        yield Rig(opened)


def reported(sequence, device="dev-1"):
    twin = Reported(device, "boot-1", sequence, 0, "0.1", "generic-x86", ("cpu",))
    return Incoming(topics.reported(device), codec.encode(twin))


def report(sequence, device="dev-1"):
    return Incoming(topics.telemetry(device), codec.encode(Report(device, "boot-1", sequence, 100.0, 50.0, 10.0)))


def test_a_flood_in_the_name_of_one_device_is_dropped_and_counted_and_others_are_heard(rig, caplog):
    """Case T4: acknowledged and dropped, so that nobody's messages wait behind it."""
    rig.say(*(reported(n) for n in range(1, 1001)), reported(7, "dev-2"))
    assert rig.counts == Counter(accepted=BURST + 1, too_many=1000 - BURST)
    assert rig.sequence("dev-2") == 7
    assert len([line for line in caplog.messages if "sends too many" in line]) == 1


def test_a_flood_of_one_kind_takes_nothing_from_another(rig):
    rig.say(*(reported(n) for n in range(1, 1001)), report(1))
    assert rig.counts["accepted"] == BURST + 1


@pytest.mark.parametrize("garbage", [b"", b"\xff{", b"{}", b"[]", codec.encode({"device": "dev-1", "boot": 1})])
@pytest.mark.parametrize("topic", [topics.reported("dev-1"), topics.state("dev-1"), topics.telemetry("dev-1")])
def test_garbage_takes_nothing_from_what_a_device_says(rig, garbage, topic):
    """Case T3: else a hundred messages a second of anybody would mute it."""
    rig.say(*(Incoming(topic, garbage) for _ in range(2000)), reported(1), report(1))
    assert rig.counts == Counter(malformed=2000, accepted=2)


def test_a_device_that_was_too_loud_is_heard_again_and_its_twin_is_asked_for(rig):
    rig.say(*(reported(n) for n in range(1, 301)))
    assert rig.ingest.limits.unheard(rig.now, 10) == []
    rig.now += BURST / USUAL.messages.per_s
    assert rig.ingest.limits.unheard(rig.now, 10) == ["dev-1"]
    assert rig.ingest.limits.unheard(rig.now, 10) == []
    rig.say(reported(300))
    assert rig.sequence() == 300


def test_a_batch_that_is_tried_again_is_not_counted_twice(rig):
    batch = [reported(n) for n in range(1, BURST + 1)]
    whole = rig.ingest._apply_together

    def locked(messages):
        whole(messages)
        raise OperationalError("", {}, Exception("locked"))

    rig.ingest._apply_together = locked
    for _ in range(3):
        with pytest.raises(OperationalError):
            rig.ingest.apply(batch)
    rig.ingest._apply_together = whole
    rig.ingest.apply(batch)
    assert rig.counts["too_many"] == 0


def test_an_outbox_of_thirty_days_passes_at_once():
    """What an honest device may bring when it comes back is below every limit."""
    outbox = AgentSection()
    assert outbox.outbox_reports < REPORTS.messages.burst
    assert outbox.outbox_bytes < REPORTS.size.burst
    limits = RateLimits()
    messages = [Incoming(f"t/{n}", bytes(outbox.outbox_bytes // outbox.outbox_reports)) for n in range(43_200)]
    limits.begin(messages)
    assert all(limits.admit(each, Report, "dev-1", 0.0) for each in messages)


def test_what_cannot_pass_is_not_even_read(rig):
    """Case T4: else a gigabyte of large reports would take minutes, in which others wait."""
    rig.say(*(reported(n) for n in range(1, BURST + 1)))
    rig.say(Incoming(topics.reported("dev-1"), b"[" * 200_000))
    assert rig.counts == Counter(accepted=BURST, too_many=1)


def test_large_messages_count_by_their_size():
    """The one that goes beyond it still passes."""
    limits = RateLimits(usual=Allowance(Rate(1000, 1000), Rate(1000, 10)))
    batch = [Incoming("x", bytes(400)) for _ in range(10)]
    limits.begin(batch)
    assert [limits.admit(each, DeviceState, "dev-1", 0.0) for each in batch].count(True) == 3
    assert limits.unheard(0.0, 10) == ["dev-1"]


def noted(rig, device):
    with rig.registry.read() as session:
        return sum(event.subject == device for event in events.latest(session, 100_000))


def test_a_device_that_causes_events_without_end_fills_no_registry(rig):
    """Twenty words a second with sixteen refusals each: 300 kB of events a second, which are kept for a year."""
    number = 0
    for _ in range(10):
        rig.now += 1.0
        for _ in range(20):
            number += 1
            refused = tuple(RefusedOrder("desired", "expired", f"{number:062x}{n:02x}", 1.0) for n in range(16))
            twin = Reported("dev-1", "b", number, 9 * (number % 2), "0.1", "generic-x86", ("cpu",), refused=refused)
            state = DeviceState("dev-1", "b", number, online=bool(number % 2))
            said = ((topics.reported, twin), (topics.state, state))
            rig.say(*(Incoming(topic("dev-1"), codec.encode(message)) for topic, message in said))
    assert rig.sequence() == number, "what it says of itself is taken all the same"
    assert noted(rig, "dev-1") <= EVENTS.burst + 10 * EVENTS.per_s + 2
    before = noted(rig, "dev-2")
    rig.say(Incoming(topics.state("dev-2"), codec.encode(DeviceState("dev-2", "b", 1, online=True))))
    assert noted(rig, "dev-2") == before + 1
