"""An order that a device refuses ends its deployment at once with the code, and no other deployment."""

import hashlib

import pytest
from msgspec import Struct
from msgspec.structs import replace

from skerry_agent.wire import codec, topics
from skerry_agent.wire.refusals import REFUSALS, RefusedOrder, message_sha256
from skerry_agent.wire.twin import CommandResult, Reported
from skerry_host.fleet.device import Device
from skerry_host.plane.registry.records import devices, events
from skerry_host.plane.rollouts.intake import fitting_targets, order_rollback, order_watch
from skerry_host.plane.views.labels import LABELS, because
from tests.kit.device import FakeDevice
from tests.kit.home import add_release
from tests.kit.rollouts import Rig, two_releases


@pytest.fixture
def rig(tmp_path):
    made = Rig(tmp_path / "home")
    yield made
    made.registry.close()


def refuse(rig, code="stale_generation", message=None, kind="desired", detail="desired generation 1 was ignored"):
    """The device says so of its desired state, or of another message."""
    digest = message_sha256(rig.twin.envelope) if message is None else message
    rig.device.kept.refused = (*rig.device.kept.refused, RefusedOrder(kind, code, digest, 5.0, detail, 1))[-4:]
    rig.device.say()
    rig.turn()
    rig.turn()


def told(rig):
    with rig.registry.read() as session:
        return [event.text for event in events.latest(session, 50) if event.kind == "order_refused"]


@pytest.mark.parametrize("code", [code for code, about in REFUSALS.items() if about.outcome == "rejected"])
def test_a_refused_order_ends_its_deployment_at_once_with_the_code_and_what_to_do(rig, code):
    started = rig.start("1.0.0")
    refuse(rig, code)
    rollout, row = rig.row(started)
    assert (row.outcome, row.reason, rollout.state) == ("rejected", code, "failed")
    assert row.detail == f"desired generation 1 was ignored; {REFUSALS[code].hint}"
    assert told(rig) == [f"{code}: {row.detail}"]
    assert rig.wanted is None
    assert because(row.reason, row.detail).startswith(LABELS[code])


def test_every_code_of_a_refusal_has_its_word():
    assert set(REFUSALS) <= set(LABELS)


def test_a_refusal_of_another_message_ends_nothing(rig):
    """Something else published on the topic, or it is of a desired state of before."""
    started = rig.start("1.0.0")
    refuse(rig, "untrusted", message="0" * 64)
    assert rig.row(started)[1].outcome is None
    assert len(told(rig)) == 1


def test_a_refusal_of_the_desired_state_before_does_not_end_the_next_deployment(rig):
    rig.start("1.0.0")
    old = message_sha256(rig.twin.envelope)
    second = rig.start("1.1.0")
    refuse(rig, message=old)
    assert rig.row(second)[1].outcome is None


def test_a_refusal_ends_only_what_is_under_way(rig):
    """A device that has ended its deployment cannot change how, by refusing the order again."""
    started = rig.start("1.0.0")
    rig.end("succeeded")
    refuse(rig)
    assert rig.row(started)[1].outcome == "succeeded"
    assert rig.wanted == "fashion@1.0.0"


def test_a_refusal_that_is_said_again_is_one_event(rig):
    rig.start("1.0.0")
    refuse(rig)
    for _ in range(3):
        rig.device.say()
        rig.turn()
    assert len(told(rig)) == 1
    assert not any(rig.rollout_loop.tick() for _ in range(3))


def test_the_release_that_ran_before_is_wanted_again(rig):
    rig.start("1.0.0")
    rig.end("succeeded")
    started = rig.start("1.1.0")
    refuse(rig)
    assert rig.row(started)[1].reason == "stale_generation"
    assert rig.wanted == "fashion@1.0.0"


def test_after_a_stale_generation_the_next_order_is_above_what_the_device_has_accepted(rig):
    """As after a restored backup: the host's clock is above it."""
    rig.start("1.0.0")
    rig.device.kept.generation = 22
    refuse(rig)
    again = rig.start("1.0.0")
    assert rig.twin.generation > 22
    rig.end("succeeded")
    assert rig.row(again)[1].outcome == "succeeded"


def test_an_unknown_code_of_a_newer_agent_ends_it_too_and_its_text_is_harmless(rig):
    started = rig.start("1.0.0")
    refuse(rig, "phase_of_the_moon\x1b[2J", detail="it \x1b]0;is\x07 full")
    _, row = rig.row(started)
    assert (row.outcome, row.reason) == ("rejected", "phase_of_the_moon\\x1b[2J")
    assert row.detail.isprintable()
    assert all(text.isprintable() for text in told(rig))


def test_a_command_that_could_not_be_answered_fails_at_once(rig):
    two_releases(rig)
    with rig.registry.write() as session:
        order_rollback(session, "dev-1", None, rig.now)
    rig.turn()
    refuse(rig, "untrusted", "1" * 64, "command", "no valid signature")
    assert rig.order().state == "sent"
    refuse(rig, "untrusted", hashlib.sha256(rig.order().envelope).hexdigest(), "command", "no valid signature")
    assert rig.order().state == "failed"
    assert rig.order().detail.startswith("untrusted: no valid signature; another host")


@pytest.mark.parametrize(("code", "detail"), [("older_command", "older_command: why"), ("", "why")])
def test_a_refused_command_is_told_with_its_code_also_by_an_agent_that_gives_none(rig, code, detail):
    two_releases(rig)
    with rig.registry.write() as session:
        order_watch(session, "dev-1", 60.0, rig.now)
    rig.turn()
    said = CommandResult("dev-1", rig.order().id, ok=False, detail="why", code=code)
    rig.device.publish(topics.command_result("dev-1"), codec.encode(said), retain=False)
    assert (rig.order().state, rig.order().detail) == ("failed", detail)


class OlderReported(Struct, frozen=True):
    """What a plane of before reads of a twin."""

    device: str
    boot: str
    sequence: int
    generation: int


def test_older_planes_and_older_agents_are_understood():
    newer = Reported("dev-1", "b", 1, 2, "1", "x", ("cpu",), refused=(RefusedOrder("desired", "disk", "0" * 64, 1.0),))
    assert codec.decode(codec.encode(newer), OlderReported) == OlderReported("dev-1", "b", 1, 2)
    fields = {"device": "dev-1", "boot": "b", "sequence": 1, "generation": 2, "agent": "1", "board": "x"}
    older = codec.encode({**fields, "targets": ["cpu"]})
    assert codec.decode(older, Reported) == replace(newer, refused=())
    assert codec.decode(b'{"device":"dev-1","id":"c","ok":true}', CommandResult).code == ""


def test_a_release_that_an_agent_is_too_old_for_is_not_ordered_and_the_operator_reads_why(rig):
    add_release(rig.home, "2.0.0", b"model", decoder="yolo")
    first = rig.start("1.0.0")
    rig.end("succeeded")
    started = rig.start("2.0.0")
    _rollout, row = rig.row(started)
    assert (row.outcome, row.reason) == ("failed", "unsupported_schema")
    needs = "fashion@2.0.0 needs an agent that reads schema 2 of manifests (decoder yolo); its agent reads 1"
    assert row.detail == f"{needs}; install a newer skerry-agent on the device"
    assert rig.row(first)[1].outcome == "succeeded"
    assert rig.wanted == "fashion@1.0.0"


def test_an_agent_that_reads_its_schema_is_given_it(rig):
    add_release(rig.home, "2.0.0", b"model", decoder="yolo")
    rig.device.kept.manifest_schema = 2
    rig.device.say()
    started = rig.start("2.0.0")
    assert rig.row(started)[1].outcome is None
    assert rig.wanted == "fashion@2.0.0"


def test_a_rollout_leaves_out_a_device_whose_agent_is_too_old(rig):
    """The others get the release, and their rollout does not fail by it."""
    release = add_release(rig.home, "2.0.0", b"model", decoder="yolo")
    rig.device.say()
    new, unseen = (Device(name, "generic-x86", targets=("cpu",)) for name in ("dev-2", "dev-3"))
    with rig.registry.write() as session:
        devices.add(session, new, 1.0)
        devices.add(session, unseen, 1.0)
    there = FakeDevice("dev-2", rig.device._port)
    there.kept.manifest_schema = 2
    there.say()
    with rig.registry.read() as session:
        able = fitting_targets(session, release, devices.all_devices(session))
    assert list(able.done) == ["dev-2", "dev-3"]
    assert [(one.device, one.code) for one in able.refused] == [("dev-1", "unsupported_schema")]
