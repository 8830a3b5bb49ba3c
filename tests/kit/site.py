"""A whole supervisor between fakes, over a real folder."""

from skerry_agent.config import AgentConfig, AgentSection, BoardSection, BrokerSection, DeviceSection
from skerry_agent.machine.records import Slot
from skerry_agent.ports.jobs import Payload, PlanJob, Refusal, VerifyMessage
from skerry_agent.supervisor.loop import Supervisor
from skerry_agent.wire import codec, envelope, topics
from skerry_agent.wire.blobs import describe
from skerry_agent.wire.envelope import Envelope, Signature
from skerry_agent.wire.manifest import Artifact, Bundle
from skerry_agent.wire.twin import Desired
from tests.kit.clock import FakeClock
from tests.kit.link import FakeLink
from tests.kit.processes import FakeProcesses

DESIRED = topics.desired("dev-1")
BUNDLE = Bundle("cpu", (Artifact("m.tflite", "model", describe(b"m")),), (), ())
SLOT = Slot("held", "m@1.0.0", "cpu", "a" * 64, "b" * 64)


class QueueClock(FakeClock):
    """A clock that is also the supervisor's queue."""

    def post(self, call):
        self.after(0.0, call)

    def stop(self):
        """Nothing runs here."""


class NoMeters:
    def samples(self, pids, duration_s, accelerator_s=0.0):
        return []

    def active_energy(self, cpu_s, accelerator_s=0.0):
        return None

    def undervoltage_since(self, at):
        return None


def signed(kind, message):
    """An envelope that nobody verifies here."""
    return codec.encode(Envelope(kind, codec.encode(message), (Signature("0" * 64, b"s"),)))


class Site:
    """A supervisor on a folder, whose updater believes everything and never plans."""

    def __init__(self, folder, models=None, meters=None, **agent):
        self.clock, self.link = QueueClock(), FakeLink()
        self.processes = FakeProcesses(self.answer)
        config = AgentConfig(
            DeviceSection("dev-1"),
            BrokerSection("mqtt://x"),
            BoardSection("test"),
            AgentSection(**agent),
            models=models or {},
            folder=str(folder),
        )
        self.agent = Supervisor(config, self.clock, self.link, self.processes, meters or NoMeters(), "boot")
        self.agent.start()

    def answer(self, job):
        match job:
            case VerifyMessage():
                return Payload(codec.decode(job.raw, Envelope).payload)
            case PlanJob():
                return self.plan
        return Refusal("failed", "never")

    plan = None

    def want(self, generation, *assignments):
        desired = Desired("dev-1", generation, 1.0, assignments)
        self.agent.message(DESIRED, signed(envelope.DESIRED, desired))
        self.clock.advance(0.1)

    def deployment(self, model="m"):
        self.clock.advance(0.1)
        return self.agent.status().models[model].deployment
