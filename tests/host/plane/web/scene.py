"""A fleet with a history for the tests of the pages, made by device messages through ingest. No tests here."""

import math
import random
import time

from msgspec.structs import replace

from skerry_agent.wire.sketch import Recorder
from skerry_agent.wire.telemetry import ModelStats, Sample
from skerry_agent.wire.twin import DeploymentReport, ModelReport, SlotReport
from skerry_host.fleet.device import Device
from skerry_host.fleet.policy import Policy
from skerry_host.plane.broker.link import Incoming
from skerry_host.plane.ingest.ingest import Ingest
from skerry_host.plane.registry.database import Registry, open_registry
from skerry_host.plane.registry.records import devices, rollouts, twins
from skerry_host.plane.rollouts.director import Director
from skerry_host.plane.rollouts.intake import RolloutRequest, start_rollout
from skerry_host.plane.rollouts.loop import RolloutLoop
from skerry_host.release import keys
from skerry_host.release.store import Store
from tests.kit.device import DirectPort, FakeDevice
from tests.kit.home import add_release, make_home, model_bytes

BOARDS = {
    "shelf-01": "raspberry-pi-4",
    "shelf-02": "raspberry-pi-5",
    "door-cam": "coral-dev-board",
    "dock-07": "imx8m-plus",
}
SPEED = {"shelf-01": 2300.0, "shelf-02": 980.0, "door-cam": 640.0, "dock-07": 1500.0}
INTERVAL_S = 10.0


class Scene:
    """A registry, and a clock that can be turned."""

    def __init__(self, folder) -> None:
        self.home = make_home(folder)
        old, new = model_bytes("old", 412_000), model_bytes("new", 412_000)
        add_release(self.home, "1.0.0", old)
        add_release(self.home, "1.1.0", new, base=old, patch=model_bytes("p", 31_000))
        add_release(self.home, "1.2.0", model_bytes("bad", 412_000), base=new, patch=model_bytes("q", 29_500))
        self.registry: Registry = open_registry(self.home.registry)
        self.now = time.time() - 1900
        self.store = Store(self.home.store)
        self.ingest = Ingest(self.registry, self.clock)
        director = Director(keys.load(self.home.keys, "director"), self.store, self.clock)
        self.rollout_loop = RolloutLoop(self.registry, director, self.clock)
        self.random = random.Random(7)
        self.devices = {name: FakeDevice(name, DirectPort(self.take), board=board) for name, board in BOARDS.items()}

    def clock(self) -> float:
        """Seconds since 1970, of the scene."""
        return self.now

    def take(self, topic: str, payload: bytes) -> None:
        """A message arrives."""
        self.ingest.apply([Incoming(topic, payload)])

    def enrol(self) -> None:
        """All devices, with tags, online."""
        with self.registry.write() as session:
            for name, board in BOARDS.items():
                tags = frozenset({"lab"} if name.startswith("shelf") else {"site-b"})
                devices.add(session, Device(name, board, tags, ("cpu",)), self.now)
            devices.add_group(session, "everything", "all", self.now)
        for device in self.devices.values():
            device.connect()

    def roll_out(
        self, version: str, ends: dict[str, tuple[str, str, str]] | None = None, transfer: str = "patch"
    ) -> str:
        """Order a release for all; each device ends as `ends` says, else succeeds."""
        release = self.store.release(f"fashion@{version}")
        with self.registry.write() as session:
            request = RolloutRequest(release, devices.all_devices(session), "group everything", Policy())
            rollout = start_rollout(session, request, self.now)
        self.rollout_loop.tick()
        for name in BOARDS:
            self.now += 2.3
            self._deploy(name, release, (ends or {}).get(name, ("succeeded", "", "")), transfer)
        self.rollout_loop.tick()
        return rollout

    def measure(self, intervals: int) -> None:
        """Telemetry of all that are online."""
        for _ in range(intervals):
            self.now += INTERVAL_S
            for name in BOARDS:
                with self.registry.read() as session:
                    online = twins.find(session, name).online
                if online:
                    self._measure(self.devices[name])

    def lose(self, name: str) -> None:
        """The broker speaks the device's will."""
        self.devices[name].crash()

    def _deploy(self, name, release, end, transfer) -> None:
        outcome, reason, detail = end
        with self.registry.read() as session:
            row = next(
                d for r in rollouts.active(session) for d in rollouts.deployments(session, r.id) if d.device == name
            )
            deployment, target, full = row.id, row.target, row.full_bytes
        received = full if transfer == "full" else release.patches[0].blob.size + 1200
        state = "idle" if outcome else "probation"
        report = DeploymentReport(
            deployment, release.name, state, outcome, reason, detail, transfer, received, received, 3.1, 1
        )
        device = self.devices[name]
        known = device.kept.models.get("fashion", ModelReport("idle", serving=False))
        slot = SlotReport(release.name, target, self.store.manifest_ref(release.name).sha256, "0" * 64)
        moved = {"current": slot, "previous": known.current} if outcome == "succeeded" else {}
        device.kept.models["fashion"] = replace(known, state=state, serving=True, deployment=report, **moved)
        with self.registry.read() as session:
            device.kept.generation = twins.find(session, name).generation
        device.say()

    def _measure(self, device: FakeDevice) -> None:
        name, current = device.id, device.current
        assert current is not None
        slow = SPEED[name] * (0.82 if current.endswith("1.1.0") else 1.0)
        slow *= 1 + 0.05 * math.sin(self.now / 70 + len(name))
        recorder, count = Recorder(), self.random.randint(480, 520)
        for _ in range(count):
            recorder.add(slow * self.random.lognormvariate(0, 0.09) * (1.5 if self.random.random() < 0.015 else 1))
        stats = ModelStats(
            "fashion", current, count, 0, latency=recorder.take(), load_us=8100.0, rss_bytes=43_500_000,
            energy_uj=slow * 2.1, energy_source="measured" if name == "dock-07" else "modelled",
            energy_method="INA219 on the 5 V rail" if name == "dock-07" else "board coefficients, ±25 %",
        )  # fmt: skip
        source = "measured" if name == "dock-07" else "modelled"
        samples = (
            Sample("power", 2.9 + slow / 4000, "W", source, stats.energy_method),
            Sample("temperature", 47 + slow / 400, "°C", "measured", "thermal_zone0"),
            Sample("cpu", 0.31, "1", "measured", "/proc/stat"),
            Sample("memory", 412e6, "B", "measured", "/proc/meminfo"),
        )
        device.report((stats,), samples, self.now)


def whole_story(folder) -> Scene:
    """Full release, patch, bad release that three devices roll back, one device lost."""
    scene = Scene(folder)
    scene.enrol()
    scene.roll_out("1.0.0", transfer="full")
    scene.measure(16)
    scene.roll_out("1.1.0")
    scene.measure(20)
    why = ("rolled_back", "latency_over_budget", "p95 9.8 ms is over 4 ms")
    scene.roll_out("1.2.0", dict.fromkeys(BOARDS, why))
    scene.measure(6)
    scene.lose("door-cam")
    scene.now = time.time() - INTERVAL_S
    scene.measure(1)
    return scene
