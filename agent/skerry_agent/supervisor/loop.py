"""The supervisor: owns the link, the units, the outbox and the orders, and passes each message to the right one.

Resident and small: no numpy, no inference runtime, no cryptography. Everything here runs in one thread, from one queue.
"""

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

from msgspec.structs import astuple

from skerry_agent import __version__, log
from skerry_agent.config import UNENROLLED, AgentConfig, keep_copy
from skerry_agent.deployment.accelerator import EdgeTpu, NoAccelerator
from skerry_agent.deployment.context import DeviceContext
from skerry_agent.deployment.launcher import exclusive
from skerry_agent.deployment.unit import Unit
from skerry_agent.identity.ports import IdentityStatus
from skerry_agent.machine import events
from skerry_agent.machine.records import Deployment, Slot, State
from skerry_agent.ports.clock import EventQueue
from skerry_agent.ports.interfaces import Link, Meters, Processes
from skerry_agent.ports.runner_protocol import Heartbeat
from skerry_agent.state.blobs import BlobStore
from skerry_agent.state.disk import make_folder
from skerry_agent.state.identity import incarnation_of
from skerry_agent.state.install import InstallError, read_export
from skerry_agent.state.journal import Journal
from skerry_agent.state.outbox import Outbox
from skerry_agent.state.ports import KeptPorts
from skerry_agent.state.slots import BundleFolders
from skerry_agent.supervisor import removal
from skerry_agent.supervisor.device_orders import install, logged, not_done, roll_back
from skerry_agent.supervisor.facts import FactsReader
from skerry_agent.supervisor.issues import IssueLog, SupplyIssue
from skerry_agent.supervisor.keys import WatchedKeys
from skerry_agent.supervisor.listeners import ModelListeners, close_unix, urls
from skerry_agent.supervisor.local import Done, InstallRequest, Reply, Request, RollbackRequest, Status
from skerry_agent.supervisor.order_request import OrderRequest
from skerry_agent.supervisor.orders import Orders
from skerry_agent.supervisor.report import EnergyStatus, FactoryStatus, LocalStatus, model_report
from skerry_agent.supervisor.report_interval import ReportInterval
from skerry_agent.supervisor.report_sender import ReportSender
from skerry_agent.supervisor.results import ResultSender
from skerry_agent.supervisor.settings_keeper import SettingsKeeper
from skerry_agent.supervisor.telemetry import Telemetry
from skerry_agent.supervisor.telemetry_reports import TelemetryReports
from skerry_agent.supervisor.upgrades import Upgrades
from skerry_agent.wire import codec, schemas, topics
from skerry_agent.wire.admission import DeviceFacts
from skerry_agent.wire.manifest import PATCH_FORMAT
from skerry_agent.wire.names import is_model_name
from skerry_agent.wire.targets import TARGETS
from skerry_agent.wire.twin import Assignment, Command, CommandResult, Desired, DeviceState, Reported

REPORT_DELAY_S = 0.05
PROGRESS_S = 1.0
ON_TRIAL = frozenset({State.STAGED, State.PROBATION, State.ROLLING_BACK})


class Supervisor:
    """The resident process of a device."""

    def __init__(
        self, config: AgentConfig, queue: EventQueue, link: Link, processes: Processes, meters: Meters, boot: str
    ) -> None:
        self.config = config
        self.device, self.boot = config.device.id or UNENROLLED, boot
        self.identity: Callable[[], IdentityStatus | None] = lambda: None
        self.identity_issues: Callable[[], tuple[str, ...]] = tuple
        self.on_desired: Callable[[Desired], None] = lambda _desired: None
        self.reconnect: Callable[[], None] = lambda: None
        self._report_due = False
        self._keys = WatchedKeys(config, processes)
        self._queue, self._link, self._processes = queue, link, self._keys
        state = config.state_dir
        self._orders = Orders(self.device, state, self._processes, queue, self._changed, self._keys.first_look)
        self.settings: SettingsKeeper | None = None
        self._outbox = Outbox(state / "outbox", config.agent.outbox_bytes, config.agent.outbox_reports)
        self._report_sender = ReportSender(self._outbox, link, self.device, state / "outbox" / "receipts")
        self._results = ResultSender(link, self.device)
        self._telemetry = Telemetry(self.device, boot, queue, meters)
        self._interval = ReportInterval(config.agent, queue.monotonic)
        self._reports = TelemetryReports(self._telemetry, self._report_sender, self._interval, queue, self._pids)
        self._blobs = BlobStore(state / "blobs")
        self._folders = BundleFolders(state / "bundles", config.factory_dir)
        self._facts = FactsReader(config)
        self._accelerator = self._accelerator_of(config, processes)
        self._context = self._device_context(meters)
        self._supply = SupplyIssue(meters.undervoltage_since, queue, self._changed)
        self._units: dict[str, Unit] = {}
        self.upgrades = Upgrades(self._context, self._units, self._is_trying)
        self._sequence = 0
        self._order_request = OrderRequest(self.device, link, queue, metered=config.agent.metered)
        self.log_place = ""
        self._issue_log = IssueLog()
        self._disk_issue: str | None = None
        self._removal_issue: str | None = None
        self._ports = KeptPorts(state)
        self._listeners: dict[str, ModelListeners] = {}

    def _device_context(self, meters: Meters) -> DeviceContext:
        """What all units share."""
        return DeviceContext(
            self.config,
            self._queue,
            self._queue.post,
            self._link,
            self._processes,
            self._blobs,
            self._folders,
            self._changed,
            self._collect,
            self._heartbeat,
            meters.undervoltage_since,
            lambda: self._orders.generation,
            self._results.put,
            lambda: self.device,
            self._device_facts,
            self._accelerator,
        )

    def _accelerator_of(self, config: AgentConfig, processes: Processes) -> NoAccelerator:
        """That of the board, if one of its targets needs one."""
        if not any(TARGETS[target].exclusive for target in config.board.targets):
            return NoAccelerator()
        return EdgeTpu(config.state_dir, self._queue, processes.look_at_accelerator, self._changed)

    def _device_facts(self) -> DeviceFacts:
        return self._facts.facts(self._accelerator.now)

    # -- life ----------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Take up where the journals stand. Serves before it has a network."""
        with contextlib.suppress(OSError):  # a disk that takes nothing: the file itself is whole
            keep_copy(self.config)
        known, removed = self._known_models(), removal.removed_models(self._orders.desired)
        for name in sorted((known | set(self.config.models) | self._folders.factory.models()) - removed):
            self._unit(name)
        self.upgrades.start()
        if self._orders.desired is not None:
            self._apply(self._orders.desired)
        self._reports.plan()
        self._queue.after(PROGRESS_S, self._progress_due)
        self._supply.watch()
        self._accelerator.begin()

    def _is_trying(self) -> bool:
        """Whether something is on trial, or about to be: a model, or settings."""
        settings = self.settings is not None and self.settings.record.trial is not None
        return settings or any(unit.active for unit in self._units.values())

    def _known_models(self) -> set[str]:
        models = self.config.state_dir / "models"
        try:
            make_folder(models)
            return {path.name for path in list(models.iterdir()) if is_model_name(path.name)}
        except OSError as error:
            self._disk_issue = f"models: {error.strerror}"
            return set()

    def stop(self) -> None:
        """Keep a last report, say goodbye and end the children; `queue.run` returns when they are gone."""
        log.info("the agent ends", device=self.device)
        self._reports.put(most_quiet_s=0.0)
        self._say_state(online=False)
        for unit in self._units.values():
            unit.shut_down()
            close_unix(unit.listeners)
        self._queue.after(0.2, self._queue.stop)

    def _unit(self, model: str) -> Unit:
        if model not in self._units:
            folder = self.config.state_dir / "models" / model
            with contextlib.suppress(OSError):  # the journal's first write says what is wrong
                make_folder(folder)
            opened = self._listeners[model] = ModelListeners(self.config, model, self._ports)
            journal = Journal(folder / "journal.json")
            unit = self._units[model] = Unit(model, self._context, journal, opened.sockets)
            unit.handle(events.Booted())
        return self._units[model]

    def named(self, device: str, incarnation: str) -> None:
        """The host calls this device so from now on, and its orders name this state folder. What serves goes on."""
        self.device = device
        parts = (self._orders, self._report_sender, self._results, self._telemetry, self._order_request)
        for part in parts:
            part.device = device
        self._orders.enrolled_as = incarnation

    def use(self, config: AgentConfig) -> None:
        """Work by another configuration, in all that takes neither a runner nor a connection."""
        self.config = self._context.config = config
        agent = config.agent
        self._interval.use(agent)
        self._outbox.limit(agent.outbox_bytes, agent.outbox_reports)
        self._order_request.use(metered=agent.metered)
        for unit in self._units.values():
            unit.use_limits()

    @property
    def units(self) -> dict[str, Unit]:
        """The models of this device."""
        return self._units

    @property
    def listeners(self) -> dict[str, ModelListeners]:
        """Where each of them is served."""
        return self._listeners

    def report_now(self) -> tuple[str, int]:
        """Make a telemetry report now; its boot and sequence, by which the host names it once it is stored."""
        self._reports.put(most_quiet_s=0.0)
        return self.boot, self._telemetry.newest

    def leave_broker(self) -> None:
        """Say goodbye to the broker: the next connection is to another."""
        self._say_state(online=False)

    def identity_changed(self) -> None:
        """There is something to show of this device's identity."""
        self._changed()

    # -- the link ------------------------------------------------------------------------------------------------------

    def link_up(self) -> None:
        """The broker is there (again): say who we are, ask what is wanted, go on with what was under way."""
        self._say_state(online=True)
        self._order_request.begin()
        for unit in self._units.values():
            if unit.transfer is not None:
                unit.transfer.link_up()
        self.upgrades.link_up()
        self._report_sender.link_up()
        self._results.link_up()
        if self.settings is not None:
            self.settings.link_up()
        self._changed()

    def message(self, topic: str, payload: bytes) -> None:
        """Something came from the broker."""
        if topic == topics.desired(self.device):
            self._orders.desired_message(payload, self._apply)
        elif topic == topics.command(self.device):
            self._orders.command_message(payload, self._run_command, self._reply)
        elif topic == topics.receipt(self.device):
            self._report_sender.receipt(payload)
            if self.settings is not None:
                self.settings.receipt(payload)
        else:
            for unit in self._units.values():
                if unit.transfer is not None:
                    unit.transfer.message(topic, payload)
            self.upgrades.message(topic, payload)

    def acked(self, token: int) -> None:
        """The broker has taken a message."""
        self._report_sender.acked(token)
        self._results.acked(token)
        self.upgrades.acked(token)

    def _say_state(self, *, online: bool) -> None:
        state = device_state(self.device, self.boot, self._link.connection, online=online)
        self._link.publish(topics.state(self.device), codec.encode(state), retain=True)

    # -- orders --------------------------------------------------------------------------------------------------------

    def _apply(self, desired: Desired) -> None:
        for model in removal.removed_models(desired):
            self._remove(model)
        for assignment in desired.assignments:
            self._unit(assignment.model).order(self._deployment(assignment))
        for model in set(self._units) - {a.model for a in desired.assignments}:
            self._units[model].withdraw()
        self.upgrades.order(desired.agent)
        if self.settings is not None:
            self.settings.order(desired.settings)
        self.on_desired(desired)
        self._changed()

    @property
    def desired(self) -> Desired | None:
        """The newest desired state that was accepted."""
        return self._orders.desired

    def _remove(self, model: str) -> None:
        """Take a model off this device; nothing, if it is not there."""
        unit, listeners = self._units.pop(model, None), self._listeners.pop(model, None)
        if unit is not None and listeners is not None:
            removal.end(unit, listeners.sockets)
        self._removal_issue = removal.forget(self.config.state_dir / "models" / model)
        self._collect()

    def _resume_orders(self) -> None:
        """Install again what is desired of a model that serves nothing, where no release has failed."""
        for assignment in self._orders.desired.assignments if self._orders.desired else ():
            unit = self._units[assignment.model]
            if unit.may_resume(assignment.deployment):
                unit.handle(events.Ordered(self._deployment(assignment)))

    def _deployment(self, assignment: Assignment) -> Deployment:
        return Deployment(
            id=assignment.deployment,
            release=assignment.release,
            target=assignment.target,
            manifest=assignment.manifest,
            policy=assignment.policy,
            ordered_at=self._queue.wall(),
            http=assignment.http,
            asked=assignment.asked,
            runtime=assignment.runtime,
        )

    def _run_command(self, command: Command) -> tuple[bool, str]:
        if command.kind == "rollback":
            done = self.roll_back(command.model)
            return done.ok, done.detail
        return True, self._reports.watch(command.seconds or 0.0)

    def _reply(self, result: CommandResult) -> None:
        self._link.publish(topics.command_result(self.device), codec.encode(result))

    def roll_back(self, model: str | None, *, factory: bool = False) -> Done:
        """Go back to the previous bundle of a model, or have its factory release verified."""
        if model is None and len(self._units) == 1:
            model = next(iter(self._units))
        unit = self._units.get(model or "")
        if unit is None:
            return Done(ok=False, detail=f"name one of its models: {', '.join(sorted(self._units)) or 'none'}")
        return roll_back(unit, self._folders.factory.release(unit.model), factory=factory)

    def local(self, request: Request) -> Reply:
        """Answer the command line of this device."""
        if isinstance(request, RollbackRequest):
            return logged("rollback", self.roll_back(request.model, factory=request.factory))
        if isinstance(request, InstallRequest):
            return logged("install", self._install(Path(request.folder)))
        return Status(self.status())

    def _install(self, folder: Path) -> Done:
        try:
            export = read_export(folder)
            model = export.release.model
            if model in removal.removed_models(self._orders.desired):
                return Done(ok=False, detail=f"the host has taken {model} off this device: only the host can order it")
            unit = self._unit(model)
        except (InstallError, OSError) as error:
            return not_done(error)
        return install(unit, export, self._blobs, self._queue.wall())

    def status(self) -> LocalStatus:
        """What the device knows of itself."""
        units = self._units
        return LocalStatus(
            device=self.device,
            connected=self._link.connected,
            waiting_reports=self._report_sender.waiting,
            models={name: model_report(unit) for name, unit in units.items()},
            http=_where(units, "http"),
            unix=_where(units, "unix"),
            pids={name: unit.current.pid for name, unit in units.items() if unit.current},
            issues=self._issues(),
            energy={name: EnergyStatus(*astuple(each)) for name, each in self._telemetry.energies().items()},
            why_offline=self._link.why_offline,
            log=self.log_place,
            identity=self.identity(),
            results=self._results.counts,
            trials={name: unit.trial_progress for name, unit in units.items() if unit.trial_progress},
            version=__version__,
            upgrade=self.upgrades.report(),
            factory={n: FactoryStatus(self._folders.factory.release(n), u.factory.busy) for n, u in units.items()},
            settings=self.settings.report() if self.settings is not None else None,
        )

    # -- reporting -----------------------------------------------------------------------------------------------------

    def _changed(self) -> None:
        """Something worth reporting happened; several changes at once make one report."""
        if not self._report_due:
            self._report_due = True
            self._queue.after(REPORT_DELAY_S, self._report)

    def _report(self) -> None:
        self._report_due = False
        self._sequence += 1
        self._issue_log.note(self._issues(), own_line={order.detail for order in self._orders.refused.newest})
        reported = Reported(
            device=self.device,
            boot=self.boot,
            sequence=self._sequence,
            generation=self._orders.generation,
            agent=__version__,
            board=self.config.board.name,
            targets=self.config.board.targets,
            models={name: model_report(unit) for name, unit in self._units.items()},
            issues=self._issues(),
            patch_format=PATCH_FORMAT,
            refused=self._orders.refused.newest,
            manifest_schema=schemas.NEWEST,
            facts=self._facts.told(self._accelerator.now),
            upgrade=self.upgrades.report(),
            settings=self.settings.report() if self.settings is not None else None,
        )
        token = self._link.publish(topics.reported(self.device), codec.encode(reported), retain=True)
        self.upgrades.reported(token)

    def _issues(self) -> tuple[str, ...]:
        own = (
            self.config.issue,
            self._keys.issue,
            self._disk_issue,
            self._removal_issue,
            self._orders.issue,
            self._supply.issue,
            self._link.issue,
            self._ports.issue,
            self._accelerator.issue,
            self.settings.issue if self.settings is not None else None,
            *self.identity_issues(),
            *self.upgrades.issues,
        )
        return (
            *filter(None, own),
            *(issue for listeners in self._listeners.values() for issue in listeners.issues),
            *(issue for unit in self._units.values() for issue in unit.issues),
        )

    def _progress_due(self) -> None:
        self._queue.after(PROGRESS_S, self._progress_due)
        log.turn()
        self._link.check()
        if self._link.issue not in {None, *self._issue_log.said} or self._facts.outdated:
            self._changed()
        self._resume_orders()
        if self.settings is not None:
            self.settings.check()
        for unit in self._units.values():
            unit.exchange_runner()
        for listeners in self._listeners.values():
            if listeners.retry():
                self._changed()
        if self.upgrades.active or any(unit.active for unit in self._units.values()):
            self._changed()
        self._reports.check(on_trial=any(unit.record.state in ON_TRIAL for unit in self._units.values()))

    def _heartbeat(self, model: str, slot: Slot, heartbeat: Heartbeat) -> None:
        unit = self._units.get(model)
        if unit is None:  # its runner's last words
            return
        service = next((s for s in (unit.current, unit.candidate) if s and s.job.release == slot.release), None)
        loaded = service.loaded if service else None
        load_us, accelerated = loaded.load_us if loaded else None, exclusive(slot)
        self._telemetry.heartbeat(model, slot.release, load_us, heartbeat, accelerated=accelerated)

    def _pids(self) -> list[int]:
        services = [service for unit in self._units.values() for service in (unit.current, unit.candidate)]
        return [service.pid for service in services if service is not None]

    # -- disk ----------------------------------------------------------------------------------------------------------

    def _collect(self) -> None:
        """Remove what nothing needs, once every unit has read its journal."""
        self._queue.post(self._collect_now)

    def _collect_now(self) -> None:
        """While a deployment is under way everything may still be needed; what is not known may be needed too."""
        under_way = self.upgrades.active or any(unit.active for unit in self._units.values())
        if under_way or self._disk_issue or any(unit.state_lost for unit in self._units.values()):
            return
        slots = [slot for unit in self._units.values() for slot in _held(unit)]
        self._folders.collect(name for slot in slots for name in slot.folders)
        self._context.runtimes.collect(slot.runtime.folder for slot in slots if slot.runtime is not None)
        self._blobs.collect(())
        self.upgrades.collect()


def _held(unit: Unit) -> list[Slot]:
    slots = unit.record.slots
    return [slot for slot in (slots.current, slots.previous, slots.candidate, slots.superseded) if slot is not None]


def device_state(device: str, boot: str, connection: int, *, online: bool) -> DeviceState:
    """Birth or death of a connection. The death of one comes before the birth of the next, also as a last will."""
    return DeviceState(device, boot, 2 * connection + (not online), online, __version__)


def new_boot_id() -> str:
    """A name for this run of the supervisor; reports are counted within it."""
    return os.urandom(8).hex()


def _where(units: dict[str, Unit], kind: str) -> dict[str, str]:
    """Where each model's inference API listens, of those that have a socket of this kind."""
    found = {name: urls(unit.listeners) for name, unit in units.items()}
    return {name: by_kind[kind] for name, by_kind in found.items() if kind in by_kind}


def state_folder(config: AgentConfig) -> Path:
    """The state folder, made if it is not there, with a name of its own."""
    config.state_dir.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(OSError):  # a disk that takes nothing: the next start makes it
        incarnation_of(config.state_dir)
    return config.state_dir
