"""A supervisor that takes settings from afar, between fakes, over a real folder; `restart` is what a power cut leaves.

No tests here. The link reaches the brokers in `reachable`, and whoever is there confirms reports if it is the `host`.
"""

import msgspec

from skerry_agent.cli.settings import keep_settings
from skerry_agent.config import AgentConfig, AgentSection, BoardSection, BrokerSection, DeviceSection
from skerry_agent.machine.records import Record, Slots
from skerry_agent.ports.jobs import Payload, Refusal, VerifyMessage
from skerry_agent.state.disk import make_folder
from skerry_agent.state.journal import Journal
from skerry_agent.state.slots import write_bundle
from skerry_agent.supervisor.loop import Supervisor
from skerry_agent.supervisor.settings_keeper import SettingsKeeper
from skerry_agent.wire import codec, envelope, topics
from skerry_agent.wire.broker_url import parse
from skerry_agent.wire.envelope import Envelope
from skerry_agent.wire.settings import SettingsOrder, SettingsReport
from skerry_agent.wire.telemetry import Receipt, Report, Stored
from skerry_agent.wire.twin import Assignment, Desired, Reported
from tests.kit.link import FakeLink
from tests.kit.processes import FakeProcesses
from tests.kit.site import BUNDLE, DESIRED, SLOT, NoMeters, QueueClock, signed

HERE, THERE, NOWHERE, STRANGE = "mqtt://here:1883", "mqtt://there:1883", "mqtt://nowhere:1883", "mqtt://strange:1883"


class MovableLink(FakeLink):
    """Connects at once to where somebody is."""

    def __init__(self, place: str) -> None:
        super().__init__()
        self.place, self.reachable, self.up = place, {HERE, THERE, STRANGE}, lambda: None
        self.connected = False
        self.places: list[str] = []
        self.old_way = ""

    @property
    def broker(self):
        return parse(self.old_way or self.place)

    def relocate(self, broker, *, metered):
        self.place, self.metered = str(broker), metered
        self.places.append(self.place)
        self.connect()

    def connect(self):
        self.connected = self.place in self.reachable
        self.why_offline = "" if self.connected else "the connection is refused"
        self.connection += 1
        if self.connected:
            self.up()


class SettingsSite:
    """Of the models in `installed` each has a current release; their runners do what they are told in `turn`."""

    def __init__(self, folder, models=None, installed=(), **agent):
        self.folder, self.models, self.agent_values, self.boots = folder, models or {}, agent, 0
        self.generation, self.hosts = 0, {HERE, THERE}
        self.lost_receipts = self._heard = 0
        self.answers = self.starts = True
        for model in installed:
            self._install(model)
        self.boot()

    def _install(self, model):
        bundle = self.folder / "state" / "bundles" / SLOT.bundle
        if not bundle.exists():
            make_folder(bundle)
            write_bundle(bundle, BUNDLE)
        make_folder(self.folder / "state" / "models" / model)
        slot = msgspec.structs.replace(SLOT, release=f"{model}@1.0.0")
        Journal(self.folder / "state" / "models" / model / "journal.json").write(Record(slots=Slots(current=slot)))

    def boot(self):
        """Start the agent anew on what the disk has."""
        self.boots += 1
        self.clock = QueueClock()
        self.processes = FakeProcesses(self._answer)
        own = AgentConfig(
            DeviceSection("dev-1"),
            BrokerSection(HERE),
            BoardSection("test"),
            AgentSection(**self.agent_values),
            models=self.models,
            folder=str(self.folder),
        )
        self.keeper = SettingsKeeper(own, self.clock)
        self.link = MovableLink(str(self.keeper.config.broker_address))
        self.agent = Supervisor(self.keeper.config, self.clock, self.link, self.processes, NoMeters(), f"b{self.boots}")
        self.link.up = self.agent.link_up
        self.agent.start()
        keep_settings(self.keeper, self.agent, self.clock, self.link)
        self.link.connect()
        self.turn(1.0)

    restart = boot

    def _answer(self, job):
        if isinstance(job, VerifyMessage):
            return Payload(codec.decode(job.raw, Envelope).payload)
        return Refusal("failed", "never")

    def order(self, name, values, *assignments: Assignment, trial_s=60.0):
        """What the host sets from now on."""
        self.generation = max(self.generation, self.keeper_generation) + 1
        settings = SettingsOrder(name, values, trial_s) if name is not None else None
        desired = Desired("dev-1", self.generation, 1.0, assignments, settings=settings)
        self.agent.message(DESIRED, signed(envelope.DESIRED, desired))
        self.turn(0.5)

    @property
    def keeper_generation(self):
        return self.agent.desired.generation if self.agent.desired is not None else 0

    def turn(self, seconds=1.0):
        """Let time pass, a little at a time: runners work, and the host confirms what reaches it."""
        for _ in range(max(1, round(seconds * 4))):
            self.clock.advance(0.25)
            for runner in [each for each in self.processes.runners if not each.killed]:
                self._work(runner)
            if self.link.connected and self.link.place in self.hosts:
                self._confirm()

    def _work(self, runner):
        service = runner.listener
        if not service.ready and not service.gone and self.starts:
            runner.validate()
        runner.follow()
        if service.accepting:
            said = self.issues_of(runner.job)
            runner.heartbeat(inferences=1 if self.answers and not said else 0, source_issues=said)

    def issues_of(self, job):
        """What a runner says of its sources: a test may say otherwise."""
        lost = [each for each in job.sources if "77" in each.path]
        return tuple(f"source_failed: {each.label} cannot be opened" for each in lost)

    def _confirm(self):
        sent = [codec.decode(raw, Report) for topic, raw in self.link.published if topic == topics.telemetry("dev-1")]
        if sent and self.lost_receipts:
            self.lost_receipts -= len(sent) > self._heard
            self._heard = len(sent)
        elif sent:
            spans = {each.boot: (0, each.sequence) for each in sent}
            receipt = Receipt(tuple(Stored(boot, (span,)) for boot, span in spans.items()))
            self.agent.message(topics.receipt("dev-1"), codec.encode(receipt))

    @property
    def report(self) -> SettingsReport:
        return self.keeper.report()

    @property
    def told(self) -> SettingsReport:
        """What the host was told last."""
        said = [raw for topic, raw in self.link.published if topic == topics.reported("dev-1")]
        return codec.decode(said[-1], Reported).settings

    @property
    def outcome(self):
        return self.report.outcome, self.report.code
