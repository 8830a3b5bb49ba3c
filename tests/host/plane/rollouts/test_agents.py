"""Rollouts of the agent: ordered beside what the models are to run, ended by report, abort or silence."""

import pytest
from msgspec.structs import replace

from skerry_agent.state.runtimes import PLACE
from skerry_agent.wire import codec, envelope
from skerry_agent.wire.admission import DeviceFacts
from skerry_agent.wire.blobs import describe
from skerry_agent.wire.runtimes import RuntimeManifest, Wheelhouse
from skerry_agent.wire.upgrades import UpgradeReport
from skerry_host.fleet.errors import FleetError
from skerry_host.fleet.policy import Policy
from skerry_host.plane.delivery.required_blobs import RequiredBlobsReader
from skerry_host.plane.registry.records import devices, rollouts, twins
from skerry_host.plane.registry.tables import TwinRow
from skerry_host.plane.rollouts.agents import AgentRequest, fitting_devices, start_agent_rollout
from skerry_host.plane.rollouts.intake import abort_rollout
from skerry_host.plane.views.gather import device_views
from skerry_host.release import keys
from skerry_host.release.runtime_store import RuntimeStore
from tests.kit.rollouts import Rig

FACTS = DeviceFacts(machine=PLACE.machine, python=PLACE.python, glibc="2.36", agent="0.8.0")
OTHER = "aarch64" if PLACE.machine != "aarch64" else "x86_64"


class AgentRig(Rig):
    """A rig with two agent releases in its store, and a device that may be upgraded."""

    def __init__(self, folder):
        super().__init__(folder)
        self.runtimes = RuntimeStore(self.store)
        self.made = {version: self._release(version) for version in ("0.9.0", "0.9.1")}
        self.hear(facts=FACTS)

    def _release(self, version):
        houses = []
        for machine in (PLACE.machine, OTHER):
            ref = self.store.put(f"wheels {version} {machine}".encode(), 65536)
            houses.append(Wheelhouse(machine, PLACE.python, ref, {"skerry-agent": version}, installed_bytes=9))
        manifest = RuntimeManifest("agent", "agent", version, "2026-11-30T00:00:00Z", tuple(houses))
        self.runtimes.add(manifest, keys.load(self.home.keys, "release").sign(envelope.RUNTIME, codec.encode(manifest)))
        return manifest

    def hear(self, **fields):
        """The device reports itself with these fields."""
        kept = self.device.kept
        kept.generation = self.twin.generation
        for name, value in fields.items():
            setattr(kept, name, value)
        self.device.say()

    def upgrade(self, version, **policy):
        with self.registry.write() as session:
            able = fitting_devices(session, self.runtimes, self.made[version], devices.all_devices(session))
            request = AgentRequest(self.made[version], list(able.done.values()), "all", Policy(silence_s=60, **policy))
            started = start_agent_rollout(session, request, self.now)
        self.turn()
        return started

    def report(self, outcome=None, reason="", state="idle", **fields):
        wanted = self.twin.desired.agent
        said = UpgradeReport(wanted.deployment, wanted.release, state, outcome, reason, **fields)
        self.hear(upgrade=said)
        self.turn()
        return said

    @property
    def agent(self):
        wanted = self.twin.desired.agent if self.twin.desired else None
        return wanted.release if wanted else None

    def required(self):
        with self.registry.read() as session:
            return set(RequiredBlobsReader(self.store, self.clock).read(session).blobs)

    def twin_row_settled(self):
        with self.registry.read() as session:
            return session.get_one(TwinRow, "dev-1").settled

    def view(self):
        with self.registry.read() as session:
            return device_views(session, devices.all_devices(session), history=0)[0].upgrade


@pytest.fixture
def rig(tmp_path):
    made = AgentRig(tmp_path / "home")
    yield made
    made.registry.close()


def test_an_agent_is_ordered_beside_what_the_models_are_to_run(rig):
    rig.start("1.0.0")
    rig.end("succeeded")
    started = rig.upgrade("0.9.0", trial_s=42.0)
    order = rig.twin.desired.agent
    assert (order.release, order.deadline_s) == ("agent@0.9.0", 42.0)
    assert order.manifest.sha256 == describe(rig.runtimes.envelope("agent@0.9.0")).sha256
    assert rig.wanted == "fashion@1.0.0"
    assert rig.view().wanted == "agent@0.9.0"
    rig.report(state="trial")
    assert rig.row(started)[1].state == "probation"
    rig.report("succeeded", runs="agent@0.9.0", bytes_received=17, bytes_expected=17)
    row, deployment = rig.row(started)
    assert (row.state, deployment.outcome, deployment.bytes_received) == ("succeeded", "succeeded", 17)
    view = rig.view()
    assert (view.wanted, view.runs, view.outcome) == ("", "agent@0.9.0", "succeeded")
    rig.start("1.1.0")
    assert (rig.agent, rig.wanted) == ("agent@0.9.0", "fashion@1.1.0"), "an order for a model keeps it"


def test_a_device_is_sent_the_wheels_for_itself_and_for_as_long_as_it_needs_them(rig):
    assert rig.required() == set()
    rig.upgrade("0.9.0")
    mine = rig.made["0.9.0"].wheelhouses[0].artifact.sha256
    assert rig.required() == {rig.twin.desired.agent.manifest.sha256, mine}
    assert not rig.twin_row_settled()
    rig.report("rolled_back", "agent_died")
    assert (rig.required(), rig.twin_row_settled()) == (set(), True)


def test_of_a_device_that_is_not_known_all_wheels_are_sent(rig):
    rig.hear(facts=None)
    with rig.registry.read() as session:
        assert twins.find(session, "dev-1").reported.facts is None
    with pytest.raises(FleetError) as refused:
        rig.upgrade("0.9.0")
    assert refused.value.code == "agent_too_old", "an agent of before would not know the order"


def test_one_that_failed_ends_with_the_device_s_reason_and_is_not_sent_again(rig):
    started = rig.upgrade("0.9.0")
    rig.report("rolled_back", "agent_not_healthy", detail="no connection to the broker")
    row, deployment = rig.row(started)
    assert (row.state, deployment.outcome, deployment.reason) == ("failed", "rolled_back", "agent_not_healthy")
    assert deployment.detail == "no connection to the broker"
    generation = rig.twin.generation
    for _ in range(3):
        rig.turn()
    assert rig.twin.generation == generation


def test_an_aborted_rollout_takes_the_order_back(rig):
    rig.start("1.0.0")
    rig.end("succeeded")
    started = rig.upgrade("0.9.0")
    with rig.registry.write() as session:
        abort_rollout(session, started, rig.now)
    rig.turn()
    rig.turn()
    assert (rig.row(started)[1].outcome, rig.agent, rig.wanted) == ("cancelled", None, "fashion@1.0.0")


def test_a_device_that_says_nothing_is_timed_out_and_the_order_is_taken_back(rig):
    started = rig.upgrade("0.9.0")
    rig.now += 120
    rig.turn()
    rig.turn()
    assert (rig.row(started)[1].outcome, rig.agent) == ("timed_out", None)


def test_a_newer_rollout_supersedes_the_one_under_way(rig):
    first = rig.upgrade("0.9.0")
    rig.upgrade("0.9.1")
    assert (rig.row(first)[1].outcome, rig.agent) == ("cancelled", "agent@0.9.1")


def test_an_agent_that_gave_way_after_it_was_committed_is_heard_of(rig):
    started = rig.upgrade("0.9.0")
    said = rig.report("succeeded")
    rig.hear(upgrade=replace(said, outcome="rolled_back", reason="agent_keeps_dying"))
    rig.turn()
    assert rig.row(started)[1].outcome == "rolled_back"


def test_wheels_that_the_store_has_lost_end_the_deployment_with_that(rig):
    for house in rig.made["0.9.0"].wheelhouses:
        rig.store.path(house.artifact.sha256).unlink()
    started = rig.upgrade("0.9.0")
    rig.turn()
    _, deployment = rig.row(started)
    assert (deployment.outcome, deployment.reason, rig.agent) == ("failed", "missing_object", None)


@pytest.mark.parametrize(
    ("facts", "code"),
    [
        (replace(FACTS, machine="armv7l"), "no_wheelhouse"),
        (replace(FACTS, python="cp399"), "no_wheelhouse"),
    ],
)
def test_a_device_for_which_there_are_no_wheels_is_left_out(rig, facts, code):
    rig.hear(facts=facts)
    with pytest.raises(FleetError) as refused:
        rig.upgrade("0.9.0")
    assert refused.value.code == code


def test_what_was_sent_of_the_agent_is_no_model_of_the_device(rig):
    rig.upgrade("0.9.0")
    with rig.registry.read() as session:
        assert rollouts.models_sent(session, "dev-1") == set()
