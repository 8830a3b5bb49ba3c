"""The rollout loop over a real registry, with one device that says what a test lets it say. No tests here."""

from skerry_agent.wire.twin import DeploymentReport, ModelReport, SlotReport
from skerry_host.fleet.device import Device
from skerry_host.fleet.policy import Policy
from skerry_host.plane.broker.link import Incoming
from skerry_host.plane.ingest.ingest import Ingest
from skerry_host.plane.registry.database import open_registry
from skerry_host.plane.registry.records import devices, rollouts, twins
from skerry_host.plane.registry.tables import OrderRow
from skerry_host.plane.rollouts.director import Director
from skerry_host.plane.rollouts.intake import (
    RolloutRequest,
    start_rollout,
)
from skerry_host.plane.rollouts.loop import RolloutLoop
from skerry_host.release import keys
from skerry_host.release.store import Store
from tests.kit.device import DirectPort, FakeDevice
from tests.kit.home import add_release, make_home, model_bytes


class Rig:
    """The rollout loop, one device, and what the device says."""

    def __init__(self, folder, where=None):
        self.home, self.now = make_home(folder), 1000.0
        for version in ("1.0.0", "1.1.0", "1.2.0"):
            add_release(self.home, version, model_bytes(version, 3000))
        self.registry, self.store = open_registry(where or self.home.registry), Store(self.home.store)
        director = Director(keys.load(self.home.keys, "director"), self.store, self.clock)
        self.rollout_loop = RolloutLoop(self.registry, director, self.clock)
        self.ingest = Ingest(self.registry, self.clock)
        self.device = FakeDevice("dev-1", DirectPort(lambda topic, raw: self.ingest.apply([Incoming(topic, raw)])))
        with self.registry.write() as session:
            devices.add(session, Device("dev-1", "generic-x86", targets=("cpu",)), 1.0)

    def clock(self):
        return self.now

    def start(self, version, **policy):
        with self.registry.write() as session:
            everyone = devices.all_devices(session)
            request = RolloutRequest(
                self.store.release(f"fashion@{version}"), everyone, "all", Policy(silence_s=60, **policy)
            )
            started = start_rollout(session, request, self.now)
        self.turn()
        return started

    def turn(self):
        self.now += 1
        self.rollout_loop.tick()

    def say(self, model):
        self.device.kept.generation, self.device.kept.models["fashion"] = self.twin.generation, model
        self.device.say()

    def end(self, outcome, previous=None, reason="because"):
        """The device ends what it was told; returns its model."""
        wanted = self.twin.assignment("fashion")
        report = DeploymentReport(wanted.deployment, wanted.release, "idle", outcome, reason)
        current = self.slot(wanted.release) if outcome == "succeeded" else previous
        model = ModelReport("idle", True, current=current, previous=previous, deployment=report)
        self.say(model)
        self.turn()
        return model

    def slot(self, release):
        return SlotReport(release, "cpu", self.store.manifest_ref(release).sha256, "0" * 64)

    @property
    def twin(self):
        with self.registry.read() as session:
            return twins.find(session, "dev-1")

    @property
    def wanted(self):
        assignment = self.twin.assignment("fashion")
        return assignment.release if assignment else None

    def row(self, rollout):
        with self.registry.read() as session:
            return rollouts.find(session, rollout), rollouts.deployments(session, rollout)[0]

    def order(self):
        with self.registry.read() as session:
            return session.query(OrderRow).one()


def two_releases(rig):
    rig.start("1.0.0")
    first = rig.end("succeeded")
    rig.start("1.1.0")
    return rig.end("succeeded", previous=first.current)
