"""One model on a device: a unit with fakes behind its ports, over a real folder."""

from msgspec.structs import replace

from skerry_agent.config import AgentConfig, BoardSection, BrokerSection, DeviceSection, ModelSection
from skerry_agent.deployment.accelerator import NoAccelerator
from skerry_agent.deployment.context import DeviceContext
from skerry_agent.deployment.launcher import Listeners
from skerry_agent.deployment.unit import Unit
from skerry_agent.machine import events
from skerry_agent.machine.records import Deployment
from skerry_agent.ports.jobs import PlanJob, Planned, Staged, StageJob
from skerry_agent.ports.runner_protocol import ReplaySource
from skerry_agent.state.blobs import BlobStore
from skerry_agent.state.journal import Journal
from skerry_agent.state.slots import BundleFolders, write_bundle
from skerry_agent.wire import topics
from skerry_agent.wire.blobs import describe
from skerry_agent.wire.manifest import Artifact, Bundle, Probation, TensorSpec
from skerry_agent.wire.twin import TransferPolicy
from tests.kit.clock import FakeClock
from tests.kit.link import FakeLink
from tests.kit.processes import FakeProcesses

SPEC = TensorSpec("x", "int8", (1, 4))
BUDGET = Probation(min_inferences=10, max_seconds=20.0, latency_p95_us=5000.0)


def manifest_of(version: str) -> bytes:
    return f"manifest {version}".encode()


def order(version: str, number: int = 1, **policy) -> Deployment:
    manifest = describe(manifest_of(version))
    rules = TransferPolicy(**policy)
    return Deployment(f"d{number}", f"m@{version}", "cpu", manifest, rules, ordered_at=1_700_001_000.0)


class Device:
    """A unit with everything around it; `restart` makes a new one over the same disk."""

    def __init__(self, folder, *, targets=("cpu",)):
        self.folder = folder
        self.targets = targets
        self.low_supply = None
        self.max_seconds = BUDGET.max_seconds
        self.clock = FakeClock()
        blobs = {topics.chunk(describe(manifest_of(v)).sha256, 0): manifest_of(v) for v in ("1.0.0", "1.1.0", "1.2.0")}
        self.link = FakeLink(blobs)
        self.plan = Planned("full", ())
        self.stage = Staged("f" * 64)
        self.accelerator = NoAccelerator()
        self.boot()

    def boot(self):
        self.changes = []
        self.processes = FakeProcesses(self.answer)
        config = AgentConfig(
            DeviceSection("dev-1"),
            BrokerSection("mqtt://localhost"),
            BoardSection("test", self.targets),
            models={"m": ModelSection(sources=(ReplaySource("x.npz"),), api_values="raw")},
        )
        self.folders = BundleFolders(self.folder / "bundles", self.folder / "factory")
        context = DeviceContext(
            config,
            self.clock,
            lambda call: call(),
            self.link,
            self.processes,
            BlobStore(self.folder / "blobs"),
            self.folders,
            changed=lambda: self.changes.append(1),
            collect=lambda: None,
            heartbeat=lambda *_: None,
            undervoltage_since=lambda at: "hwmon rpi_volt" if at <= (self.low_supply or -1.0) else None,
            accelerator=self.accelerator,
        )
        self.journal = Journal(self.folder / "journal.json")
        self.unit = Unit("m", context, self.journal, Listeners())
        self.unit.handle(events.Booted())

    def answer(self, job):
        match job:
            case PlanJob():
                return Planned("full", ()) if job.force_full else self.plan
            case StageJob() if isinstance(self.stage, Staged):
                self._write(job.bundle_dir)
                if self.stage.spare_sha256:
                    self._write(job.spare_dir)
        return self.stage

    def _write(self, bundle_dir):
        model = Artifact("m.tflite", "model", describe(b"m"))
        budget = replace(BUDGET, max_seconds=self.max_seconds)
        bundle = Bundle("cpu", (model,), (SPEC,), (SPEC,), probation=budget)
        folder = self.folders.folder(bundle_dir.rsplit("/", 1)[1])
        folder.mkdir(exist_ok=True)
        write_bundle(folder, bundle)

    def pump(self):
        self.link.pump(lambda *message: self.unit.transfer.message(*message))  # noqa: PLW0108 - the transfer changes

    def install(self, version, number):
        """Take a release all the way to commit; the runner that serves it."""
        self.unit.order(order(version, number))
        self.pump()
        candidate = self.processes.runners[-1]
        candidate.validate()
        candidate.follow()
        candidate.heartbeat(inferences=20)
        candidate.follow()
        assert self.unit.record.deployment.outcome == "succeeded"
        return candidate

    @property
    def deployment(self):
        return self.unit.record.deployment
