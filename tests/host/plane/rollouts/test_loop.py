"""The rollout loop over a real registry: desired states, closed deployments, and how an ordered rollback ends."""

import pytest
from msgspec.structs import replace
from sqlalchemy.exc import OperationalError

from skerry_agent.wire import codec
from skerry_agent.wire.envelope import COMMAND, Envelope
from skerry_agent.wire.errors import WireError
from skerry_agent.wire.names import MAX_COUNT
from skerry_agent.wire.twin import Command, CommandResult, DeploymentReport, ModelReport
from skerry_host.fleet.device import Device
from skerry_host.fleet.errors import FleetError
from skerry_host.fleet.policy import Policy
from skerry_host.plane.errors import PlaneError, UnknownError
from skerry_host.plane.registry.database import open_registry
from skerry_host.plane.registry.records import devices, events, orders, rollouts
from skerry_host.plane.registry.tables import DeploymentRow, OrderRow
from skerry_host.plane.rollouts import rollback
from skerry_host.plane.rollouts.director import next_generation
from skerry_host.plane.rollouts.intake import (
    RolloutRequest,
    abort_rollout,
    end_watch,
    order_rollback,
    order_watch,
    start_rollout,
)
from skerry_host.plane.views.gather import device_views
from tests.kit.home import add_release, model_bytes
from tests.kit.rollouts import Rig, two_releases


@pytest.fixture
def rig(tmp_path):
    made = Rig(tmp_path / "home")
    yield made
    made.registry.close()


def test_a_device_that_rolled_back_is_not_updated_again(rig):
    rig.start("1.0.0")
    good = rig.end("succeeded")
    bad = rig.start("1.1.0")
    rig.end("rolled_back", previous=good.current)
    row, deployment = rig.row(bad)
    assert (row.state, deployment.outcome, deployment.reason) == ("failed", "rolled_back", "because")
    generation = rig.twin.generation
    for _ in range(5):
        rig.turn()
    assert (rig.wanted, rig.twin.generation) == ("fashion@1.1.0", generation)


def test_a_device_with_a_weak_power_supply_does_not_blame_the_release_and_is_tried_again_when_ordered(rig):
    rig.start("1.0.0")
    good = rig.end("succeeded")
    first = rig.start("1.1.0")
    rig.end("rolled_back", previous=good.current, reason="power_supply")
    row, deployment = rig.row(first)
    assert (row.state, deployment.outcome, deployment.reason) == ("failed", "rolled_back", "power_supply")
    assert row.reason == "nothing to judge the release by; 1 more ended for causes outside the release"
    again = rig.start("1.1.0")
    assert rig.twin.assignment("fashion").deployment == rig.row(again)[1].id
    rig.end("succeeded")
    assert rig.row(again)[0].state == "succeeded"


def test_a_closed_deployment_falls_back_to_the_last_that_succeeded(rig):
    """What rolled back must not come back when the next rollout times out."""
    rig.start("1.0.0")
    good = rig.end("succeeded")
    rig.start("1.1.0")
    rig.end("rolled_back", previous=good.current)
    silent = rig.start("1.2.0")
    assert rig.wanted == "fashion@1.2.0"
    rig.now += 100
    rig.turn()
    assert rig.row(silent)[1].outcome == "timed_out"
    assert rig.wanted == "fashion@1.0.0"


def test_an_aborted_first_deployment_leaves_no_desired_release(rig):
    started = rig.start("1.0.0")
    with rig.registry.write() as session:
        abort_rollout(session, started[:9], rig.now)
    rig.turn()
    assert rig.row(started)[0].state == "aborted"
    assert rig.wanted is None
    with rig.registry.write() as session, pytest.raises(FleetError, match="has ended: aborted"):
        abort_rollout(session, started, rig.now)


def test_a_newer_rollout_supersedes_an_open_one(rig):
    first = rig.start("1.0.0")
    second = rig.start("1.1.0")
    rig.turn()
    row, deployment = rig.row(first)
    assert (row.state, deployment.outcome, deployment.reason) == ("failed", "cancelled", "superseded by fashion@1.1.0")
    rig.end("succeeded")
    assert rig.row(second)[0].state == "succeeded"


def test_a_release_that_the_store_lost_ends_its_rollout(rig):
    release = rig.store.release("fashion@1.0.0")
    (rig.home.store / "releases" / "fashion" / "1.0.0.json").unlink()
    with rig.registry.write() as session:
        started = start_rollout(
            session, RolloutRequest(release, devices.all_devices(session), "all", Policy()), rig.now
        )
    rig.turn()
    rig.turn()
    row, deployment = rig.row(started)
    assert (row.state, deployment.outcome) == ("failed", "failed")
    assert "there is no release fashion@1.0.0" in deployment.reason


def test_a_report_on_a_deployment_that_the_host_has_closed_is_ignored(rig):
    started = rig.start("1.0.0")
    said = rig.twin.assignment("fashion")
    rig.now += 100
    rig.turn()
    report = DeploymentReport(said.deployment, said.release, "idle", "succeeded")
    rig.say(ModelReport("idle", True, current=rig.slot(said.release), deployment=report))
    assert rig.row(started)[1].outcome == "timed_out"


def test_generations_go_on_above_what_a_device_has_accepted_though_it_says_nothing(rig):
    """A registry that was made anew must not be ignored by devices that know the old one: the clock went on."""
    rig.start("1.0.0")
    first = rig.twin.generation
    rig.now -= 500
    rig.start("1.1.0")
    assert rig.twin.generation == first + 1, "a clock that is set back takes nothing back"
    rig.now += 1000
    rig.start("1.2.0")
    assert rig.twin.generation >= int(rig.now * 1000)


@pytest.mark.parametrize("said", [0, 41, 2**31, 2**52, MAX_COUNT])
def test_what_a_device_says_of_its_generation_does_not_decide_the_next(rig, said):
    """Case T1 of the threat table: one message with the highest number once took all generations above it away."""
    rig.device.kept.generation = said
    rig.device.say()
    rig.start("1.0.0")
    assert rig.twin.generation == int(rig.now * 1000)


@pytest.mark.parametrize(("signed", "now"), [(MAX_COUNT, 1e9), (2**63 - 1, 1e9), (5, 1e15), (5, -1e15)])
def test_a_device_without_a_generation_above_is_named_and_gets_none(signed, now):
    if signed < MAX_COUNT and now < 0:
        assert next_generation("dev-1", signed, now) == signed + 1
        return
    with pytest.raises(PlaneError, match="device dev-1 can be given no generation above"):
        next_generation("dev-1", signed, now)


@pytest.mark.parametrize("text", ["\x1b[2J", "../x", "a" * 64])
def test_what_a_device_could_not_read_is_not_signed(rig, text):
    director = rig.rollout_loop._director
    with pytest.raises(WireError):
        director.command(Command("dev-1", "c-1", "rollback", 1.0, model=text))


def test_an_ordered_rollback_settles_on_what_the_device_runs(rig):
    model = two_releases(rig)
    with rig.registry.write() as session:
        order_rollback(session, "dev-1", None, rig.now)
    rig.turn()
    order = rig.order()
    envelope = codec.decode(order.envelope, Envelope)
    command = codec.decode(envelope.payload, Command)
    assert (envelope.payload_type, command.kind, command.model, order.state) == (COMMAND, "rollback", "fashion", "sent")

    for _ in range(2):
        rig.device.answer(order.id, ok=True)
    rig.turn()
    assert (rig.order().state, rig.wanted) == ("answered", "fashion@1.1.0"), "the device has yet to say what it runs"

    rig.say(replace(model, state="rolling_back"))
    rig.turn()
    rig.say(replace(model, state="idle", current=model.previous, previous=None))
    rig.turn()
    assert (rig.order().state, rig.wanted) == ("done", "fashion@1.0.0")
    assert not any(rig.rollout_loop.tick() for _ in range(3))


def test_what_another_process_changes_is_seen(rig):
    started = rig.start("1.0.0")
    rig.turn()
    with open_registry(rig.home.registry) as other, other.write() as session:
        abort_rollout(session, started, rig.now)
    rig.turn()
    assert rig.row(started)[0].state == "aborted"


def test_a_row_that_was_deleted_is_forgotten(rig):
    started = rig.start("1.0.0")
    rig.turn()
    with open_registry(rig.home.registry) as other, other.write() as session:
        session.delete(session.get_one(DeploymentRow, rig.row(started)[1].id))
    rig.turn()
    rig.turn()
    with rig.registry.read() as session:
        assert rollouts.find(session, started).state == "succeeded"


def test_what_could_not_be_written_is_planned_again(rig, monkeypatch):
    started = rig.start("1.0.0")
    rig.end("succeeded")
    rig.start("1.1.0")
    failing = rig.rollout_loop._director

    def fail(*_):
        raise OperationalError("UPDATE", {}, Exception("disk I/O error"))

    monkeypatch.setattr(failing, "assign", fail)
    started = ordered(rig, "1.2.0")
    with pytest.raises(OperationalError):
        rig.rollout_loop.tick()
    assert rig.row(started)[1].sent is None
    monkeypatch.undo()
    rig.turn()
    assert (rig.wanted, rig.row(started)[1].sent) == ("fashion@1.2.0", rig.now)


def ordered(rig, version):
    with rig.registry.write() as session:
        everyone = devices.all_devices(session)
        request = RolloutRequest(rig.store.release(f"fashion@{version}"), everyone, "all", Policy(silence_s=60))
        return start_rollout(session, request, rig.now)


def test_devices_are_admitted_a_few_at_a_time(rig, monkeypatch):
    """Others wait for the write lock meanwhile."""
    monkeypatch.setattr("skerry_host.plane.rollouts.loop.MAX_ADMITTED", 2)
    with rig.registry.write() as session:
        for number in range(2, 6):
            devices.add(session, Device(f"dev-{number}", "generic-x86", targets=("cpu",)), 1.0)
    started = ordered(rig, "1.0.0")
    sent = []
    while rig.rollout_loop.tick():
        with rig.registry.read() as session:
            sent.append(sum(row.sent is not None for row in rollouts.deployments(session, started)))
    assert sent == [2, 4, 5]


def test_silence_ends_a_deployment_though_nothing_changes(rig):
    started = rig.start("1.0.0")
    assert not rig.rollout_loop.tick()
    rig.now += 59
    assert not rig.rollout_loop.tick()
    rig.now += 2
    assert rig.rollout_loop.tick()
    assert rig.row(started)[1].outcome == "timed_out"


def test_a_refused_order_changes_nothing(rig):
    two_releases(rig)
    with rig.registry.write() as session:
        order_rollback(session, "dev-1", "fashion", rig.now)
    rig.turn()
    rig.device.answer(rig.order().id, ok=False, detail="no previous release")
    rig.turn()
    assert (rig.order().state, rig.order().detail, rig.wanted) == ("failed", "no previous release", "fashion@1.1.0")


def test_an_order_without_an_answer_expires(rig):
    two_releases(rig)
    with rig.registry.write() as session:
        order_rollback(session, "dev-1", None, rig.now)
    rig.turn()
    rig.now += rollback.ANSWER_S + 1
    rig.turn()
    assert rig.order().state == "failed"


@pytest.mark.parametrize("answered", [False, True])
def test_an_order_of_a_clock_that_was_ahead_ends_when_the_clock_is_set_back(rig, answered):
    two_releases(rig)
    rig.now += 10 * rollback.ANSWER_S
    with rig.registry.write() as session:
        order_rollback(session, "dev-1", None, rig.now)
    rig.turn()
    with rig.registry.write() as session:
        if answered:
            orders.answer(session, CommandResult("dev-1", rig.order().id, ok=True), rig.now)
    rig.now -= 10 * rollback.ANSWER_S
    rig.turn()
    assert rig.order().state == ("done" if answered else "failed")


def test_one_command_at_a_time(rig):
    two_releases(rig)
    with rig.registry.write() as session:
        order_rollback(session, "dev-1", None, rig.now)
        order_rollback(session, "dev-1", None, rig.now + 1)
    rig.turn()
    rig.turn()
    with rig.registry.read() as session:
        assert [order.state for order in orders.open_orders(session)] == ["sent", "pending"]


def rolled_back_on_the_spot(rig):
    """1.0.0, then 1.1.0, then back to 1.0.0 by somebody at the device; returns the rollout that it left."""
    rig.start("1.0.0")
    first = rig.end("succeeded")
    left = rig.start("1.1.0")
    model = rig.end("succeeded", previous=first.current)
    went = replace(model.deployment, outcome="rolled_back", reason="ordered")
    rig.say(replace(model, current=first.current, previous=None, deployment=went))
    rig.turn()
    return left


@pytest.mark.parametrize("how", ["aborted", "timed_out"])
def test_a_device_that_was_rolled_back_on_the_spot_keeps_what_it_has_when_a_deployment_is_closed(rig, how):
    """Nobody has ordered the release that it left again, and none that is older by its word alone."""
    rolled_back_on_the_spot(rig)
    started = rig.start("1.2.0")
    if how == "aborted":
        with rig.registry.write() as session:
            abort_rollout(session, started, rig.now)
    rig.now += 100
    rig.turn()
    assert rig.wanted is None


@pytest.mark.parametrize("how", ["aborted", "timed_out"])
@pytest.mark.parametrize("said", ["1.0.0", "1.2.0", "9.9.9"])
def test_a_forged_report_of_another_release_is_not_signed_when_a_deployment_is_closed(rig, how, said):
    """Case T1 of the threat table: with a huge sequence and an old release, the host once signed the downgrade."""
    model = two_releases(rig)
    started = rig.start("1.2.0")
    current = replace(model.current, release=f"fashion@{said}", manifest_sha256="f" * 64)
    rig.device._sequence = 2**20
    rig.say(replace(model, current=rig.slot(f"fashion@{said}") if said != "9.9.9" else current, previous=None))
    if how == "aborted":
        with rig.registry.write() as session:
            abort_rollout(session, started, rig.now)
    rig.now += 100
    rig.turn()
    assert rig.wanted == "fashion@1.1.0", "what was assigned before"


def test_the_past_of_a_device_is_the_hosts_record_whatever_it_says_of_it(rig):
    """By turning an old deployment back and forth, a forger once made it the newest that had succeeded."""
    rig.start("1.0.0")
    first = rig.end("succeeded")
    rig.start("1.1.0")
    model = rig.end("succeeded", previous=first.current)
    rig.say(replace(model, deployment=replace(first.deployment, outcome="rolled_back", reason="ordered")))
    with rig.registry.read() as session:
        assert session.get_one(DeploymentRow, first.deployment.id).outcome == "succeeded"


@pytest.mark.parametrize("said", ["0.9.0", "1.2.0"])
def test_an_ordered_rollback_adopts_nothing_that_it_cannot_have_led_to(rig, said):
    """Case T1 of the threat table: a forged report after the order once chose any release that the store holds."""
    add_release(rig.home, "0.9.0", model_bytes("0.9.0", 3000))
    rig.start("0.9.0")
    rig.end("succeeded")
    model = two_releases(rig)
    with rig.registry.write() as session:
        order_rollback(session, "dev-1", None, rig.now)
    rig.turn()
    rig.device.answer(rig.order().id, ok=True)
    rig.say(replace(model, current=rig.slot(f"fashion@{said}"), previous=None))
    for _ in range(3):
        rig.turn()
    assert (rig.order().state, rig.wanted) == ("done", "fashion@1.1.0")
    with rig.registry.read() as session:
        assert any("cannot have led there" in event.text for event in events.latest(session))


def test_a_rollback_at_the_device_ends_its_deployment_anew_and_is_shown(rig):
    left = rolled_back_on_the_spot(rig)
    row, deployment = rig.row(left)
    assert (row.state, deployment.outcome, deployment.reason) == ("succeeded", "rolled_back", "ordered")
    with rig.registry.read() as session:
        (model,) = device_views(session, devices.all_devices(session))[0].models
    assert (model.release, model.attempted, model.outcome) == ("fashion@1.0.0", "fashion@1.1.0", "rolled_back")
    assert (model.desired, model.diverged) == ("fashion@1.0.0", False), "what it gave up is not wanted any more"


def test_a_device_whose_rollback_fails_has_succeeded_after_all(rig):
    left = rolled_back_on_the_spot(rig)
    said = rig.twin.reported.models["fashion"]
    rig.say(replace(said, deployment=replace(said.deployment, outcome="succeeded", reason="rollback_failed")))
    assert rig.row(left)[1].outcome == "succeeded"


def test_commands_to_a_device_are_numbered_upwards_and_expire(rig):
    """Also where the host's clock was set back between them."""
    two_releases(rig)
    sent = []
    for step in (0, -500, 0):
        with rig.registry.write() as session:
            order_rollback(session, "dev-1", None, rig.now)
        rig.now += step
        rig.turn()
        with rig.registry.read() as session:
            order = orders.open_orders(session)[0]
        sent.append(codec.decode(codec.decode(order.envelope, Envelope).payload, Command))
        rig.device.answer(order.id, ok=False, detail="no previous release")
    sequences = [command.sequence for command in sent]
    assert sequences == sorted(set(sequences))
    assert [command.expires for command in sent] == [command.issued + rollback.ANSWER_S for command in sent]


def test_a_cancelled_deployment_that_is_resumed_has_succeeded(rig):
    """An old order ended it at a device that had forgotten; what the host itself ended stays ended."""
    started = rig.start("1.0.0")
    wanted = rig.twin.assignment("fashion")
    report = DeploymentReport(wanted.deployment, wanted.release, "idle", "cancelled", "ordered")
    rig.say(ModelReport("idle", False, deployment=report))
    rig.say(ModelReport("fetching", False, deployment=replace(report, state="fetching", outcome=None, reason="")))
    assert rig.row(started)[1].outcome == "cancelled"
    rig.end("succeeded")
    assert rig.row(started)[1].outcome == "succeeded"


# -- a watch ---------------------------------------------------------------------------------------------------------


def ordered_watch(rig, seconds):
    with rig.registry.write() as session:
        order = order_watch(session, "dev-1", seconds, rig.now)
    rig.turn()
    return order


def answer(rig, order, *, ok, detail="it reports every 10 s for 90 s"):
    rig.device.answer(order, ok=ok, detail=detail)
    rig.turn()
    with rig.registry.read() as session:
        row = session.get_one(OrderRow, order)
        return row.state, row.detail


def test_a_watch_is_done_once_it_is_answered(rig):
    order = ordered_watch(rig, 90.0)
    row = rig.order()
    command = codec.decode(codec.decode(row.envelope, Envelope).payload, Command)
    assert (command.kind, command.seconds, command.model) == ("watch", 90.0, None)
    assert command.expires == command.issued + rollback.LEAST_WATCH_ANSWER_S
    assert answer(rig, order, ok=True) == ("done", "it reports every 10 s for 90 s")
    assert rig.twin.generation == 0, "nothing else is desired now"


def test_an_agent_that_knows_no_watch_refuses_it(rig):
    detail = "this agent does not know the command 'watch'"
    assert answer(rig, ordered_watch(rig, 600.0), ok=False, detail=detail) == ("failed", detail)


def test_a_watch_that_nobody_answers_is_over_when_its_time_is(rig):
    ordered_watch(rig, 600.0)
    rig.now += 599
    rig.turn()
    assert rig.order().state == "sent"
    rig.now += 5
    rig.turn()
    assert (rig.order().state, rig.order().detail) == ("failed", "no answer within 600 s")


def test_a_watch_that_ends_early_is_ended_on_the_device_unless_it_never_began(rig):
    begun = ordered_watch(rig, 600.0)
    answer(rig, begun, ok=True)
    with rig.registry.write() as session:
        end_watch(session, begun, rig.now)
        last = session.query(OrderRow).order_by(OrderRow.created.desc()).first()
        assert (last.kind, last.seconds, last.state) == ("watch", 0.0, "pending")
        waiting = order_watch(session, "dev-1", 600.0, rig.now)
        end_watch(session, waiting, rig.now)
        assert session.get_one(OrderRow, waiting).state == "failed"


def test_of_two_who_watch_neither_ends_it_for_the_other(rig):
    def ordered(order):
        with rig.registry.read() as session:
            envelope = session.get_one(OrderRow, order).envelope
        return codec.decode(codec.decode(envelope, Envelope).payload, Command).seconds

    def end(order):
        with rig.registry.write() as session:
            end_watch(session, order, rig.now)
            newest = session.query(OrderRow).filter_by(state="pending").one().id
        rig.turn()
        seconds = ordered(newest)
        answer(rig, newest, ok=True)
        return seconds

    first = ordered_watch(rig, 600.0)
    answer(rig, first, ok=True)
    rig.now += 100
    second = ordered_watch(rig, 60.0)
    assert ordered(second) == pytest.approx(500, abs=9)
    answer(rig, second, ok=True)
    rig.now += 10
    assert end(second) == pytest.approx(490, abs=20)
    rig.now += 10
    assert end(first) == 0.0


def test_a_device_that_is_not_known_cannot_be_watched(rig):
    with rig.registry.write() as session, pytest.raises(UnknownError):
        order_watch(session, "nobody", 60.0, rig.now)


def test_a_rollback_without_a_model_is_of_one_that_was_sent_there(rig):
    """A forged report of another model beside it would make the order ambiguous, or be the one that is signed for."""
    model = two_releases(rig)
    rig.device.kept.models["aaa-forged"] = model
    rig.say(model)
    with rig.registry.write() as session:
        order_rollback(session, "dev-1", None, rig.now)
    rig.turn()
    assert rig.order().model == "fashion"
