"""The upgrade of this agent: fetched, installed and proven beside the one that runs, then switched to, once.

How an upgrade ended is on the disk before anything else happens (`launch.files`), and an order that has ended is not
begun again. What is switched is the record alone: the supervisor then ends in order, and the launcher starts the other
agent. Whether that is healthy it says itself (`agent_trial`). Decides nothing about models.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

from msgspec.structs import replace

from skerry_agent import log
from skerry_agent.deployment.context import DeviceContext
from skerry_agent.deployment.preparation import CRASH_PAUSE_S, seconds_left
from skerry_agent.deployment.unit import Unit
from skerry_agent.launch import files
from skerry_agent.launch.start import own_folder
from skerry_agent.launch.table import (
    SUCCEEDED,
    Agent,
    Ended,
    Event,
    Healthy,
    Ordered,
    Record,
    Refused,
    Skipped,
    Trial,
    Withdrawn,
)
from skerry_agent.machine import events
from skerry_agent.machine.records import Deployment
from skerry_agent.ports.interfaces import Timer
from skerry_agent.ports.jobs import AgentReady, Answer, InstallAgent, Refusal
from skerry_agent.state.disk import os_error_text
from skerry_agent.state.runtimes import PLACE, folder_name
from skerry_agent.supervisor import order_log
from skerry_agent.supervisor.agent_transfer import AgentTransfer
from skerry_agent.supervisor.agent_trial import AgentTrial, serves
from skerry_agent.supervisor.order_log import OrderLog
from skerry_agent.supervisor.upgrade_words import issue_of, report_of
from skerry_agent.wire.upgrades import AgentOrder, UpgradeReport, UpgradeState

MOST_INSTALLS = 3
"""So often an installation may be cut off, by want of memory or of power, before its order has failed."""
REST_POLL_S, SKIP_POLL_S, SETTLED_S = 1.0, 5.0, 60.0


class AgentUpgrade:
    """Carries out the host's orders for the agent itself, one at a time.

    `end` ends this supervisor so that the launcher runs, which waits while it is `busy`. `own` is the folder of agents
    that this code runs from, found out where it is not given.
    """

    def __init__(
        self,
        context: DeviceContext,
        units: Mapping[str, Unit],
        end: Callable[[], None],
        busy: Callable[[], bool],
        own: str | None = None,
    ) -> None:
        self._end_for_another, self._busy = end, busy
        self._context, self._units = context, units
        self._folder = files.folder_of(context.config.state_dir)
        self._own = _own_name(self._folder) if own is None else own
        self._record, self._issue = Record(), ""
        self._wanted: AgentOrder | None = None
        self._order: AgentOrder | None = None
        self._log = OrderLog("", 0.0)
        self._state: UpgradeState = "idle"
        self._transfer: AgentTransfer | None = None
        self._trial: AgentTrial | None = None
        self._timers: list[Timer] = []
        self._cancel_updater: Callable[[], None] = _nothing
        self._was_linked = False

    def start(self) -> None:
        """Take up where the record stands: on trial, or at rest."""
        self._record, self._issue = files.read(self._folder)
        self._context.collect()  # what an earlier run has left
        trial = self._record.trial
        if trial is not None and trial.agent.folder == self._own:
            log.info("this agent is on trial", release=trial.agent.release, deployment=trial.deployment)
            self._trial = AgentTrial(trial, self._context, self._units, self._judged)
        elif trial is not None:
            self._skip_trial()
        elif self._own and self._own == self._record.current.folder:
            self._context.clock.after(SETTLED_S, self._settled)

    def _settled(self) -> None:
        self._write(Healthy(self._own))

    def _skip_trial(self) -> None:
        """A candidate whose start could not be counted is given up, once that can be written down."""
        skipped = Skipped("another agent runs: its start could not be written down, or a person has started this one")
        if self._write(skipped):
            self.order(self._wanted)  # which may have come meanwhile
        else:
            self._context.clock.after(SKIP_POLL_S, self._skip_trial)

    # -- orders --------------------------------------------------------------------------------------------------------

    def order(self, order: AgentOrder | None) -> None:
        """What the host wants now; None where the agent is to stay what it is."""
        self._wanted = order
        if self._order is not None and (order is None or order.deployment != self._order.deployment):
            self._drop()
        if self._trial is not None and (order is None or order.deployment != self._trial.trial.deployment):
            self._give_up_trial()
        elif order is not None and not self.active and not self._has_ended(order):
            self._begin(order)

    def _has_ended(self, order: AgentOrder) -> bool:
        ended = self._record.ended
        return ended is not None and ended.deployment == order.deployment

    def _begin(self, order: AgentOrder) -> None:
        self._order, self._log = order, order_log.known(self._folder, order, self._context.clock.wall())
        if self._own == folder_name(order.manifest.sha256, PLACE.tag):
            self._end(SUCCEEDED)
            return
        deployment = self._deployment(order)
        remaining_s, limit_s = seconds_left(deployment, self._context.clock.wall()), order.policy.deadline_s
        self._after(remaining_s, lambda: self._end("timed_out", "deadline", f"not installed within {limit_s:g} s"))
        self._enter("fetching")
        self._transfer = AgentTransfer(self._context, deployment, self._folder, self._fetched)
        self._transfer.start()

    def _deployment(self, order: AgentOrder) -> Deployment:
        return Deployment(
            id=order.deployment,
            release=order.release,
            target="cpu",
            manifest=order.manifest,
            policy=order.policy,
            ordered_at=self._log.ordered_at,
            http=order.http,
            asked=order.asked,
        )

    def _fetched(self, event: events.Event) -> None:
        match event:
            case events.Fetched():
                self._install()
            case events.Rejected():
                self._end("rejected", event.reason, event.detail)
            case events.FetchFailed():
                self._end("failed", event.reason, event.detail)

    # -- installation --------------------------------------------------------------------------------------------------

    def _install(self) -> None:
        order = self._order
        if order is None:
            return
        if self._log.installs >= MOST_INSTALLS:
            self._end("failed", "agent_install", f"the installation was cut off {self._log.installs} times")
            return
        try:
            self._log = order_log.counted(self._folder, self._log)
        except OSError as error:  # what cannot be counted is not begun
            self._end("failed", "disk", os_error_text(error))
            return
        self._enter("installing")
        job = InstallAgent(
            release=order.release,
            manifest_file=str(self._context.blobs.path(order.manifest.sha256)),
            root=str(self._folder),
            blobs_dir=str(self._context.blobs.folder),
            config=str(Path(self._context.config.file).absolute()),
            models=tuple(sorted(name for name, unit in self._units.items() if serves(unit))),
        )
        self._cancel_updater = self._context.processes.run_updater(job, self._installed)

    def _installed(self, answer: Answer) -> None:
        self._cancel_updater = _nothing
        match answer:
            case AgentReady():
                self._enter("waiting")
                self._switch_at_rest(answer)
            case Refusal(kind="crashed"):
                log.warning("the updater ended while it installed an agent", reason=answer.reason, detail=answer.detail)
                self._after(CRASH_PAUSE_S * self._log.installs, self._install)
            case Refusal(kind="rejected"):
                self._end("rejected", answer.reason, answer.detail)
            case Refusal():
                self._end("failed", answer.reason, answer.detail)

    # -- the switch ----------------------------------------------------------------------------------------------------

    def _switch_at_rest(self, ready: AgentReady) -> None:
        """Not while a model is being deployed, or settings are on trial: that would be cut off.

        Nor while a connection that there was is away: the new agent would be blamed for that.
        """
        order = self._order
        if order is None:
            return
        serving = tuple(sorted(name for name, unit in self._units.items() if serves(unit)))
        agent = Agent(ready.folder, order.release, ready.version)
        connected = self._context.link.connected
        trial = Trial(agent, order.deployment, order.deadline_s, connected, serving)
        away = self._was_linked and not connected
        if away or self._busy() or not self._write(Ordered(trial)):
            self._after(REST_POLL_S, lambda: self._switch_at_rest(ready))
            return
        log.info("the agent ends, so that another one can start", release=order.release, version=ready.version)
        self._order = None
        self._cancel_timers()
        self._end_for_another()

    def _judged(self, event: Event) -> bool:
        """The trial of this agent says what it lacks, or that it lacks nothing; whether the trial is over."""
        if not self._write(event) or self._record.trial is not None:
            return False
        self._trial = None
        if self._record.current.folder != self._own:
            log.warning("this agent was not healthy in time, and the one before it starts")
            self._end_for_another()
            return True
        ended = self._record.ended
        assert ended is not None
        log.info("this agent is the current one from now on", release=ended.release, outcome=ended.outcome)
        self._context.clock.after(SETTLED_S, self._settled)
        self._context.collect()
        self.order(self._wanted)
        self._context.changed()
        return True

    def _give_up_trial(self) -> None:
        """The agent before this one comes back: at once, or where that cannot be written down by its deadline."""
        if self._write(Withdrawn()):
            log.info("this agent is withdrawn by the host, and the one before it starts")
            self._end_for_another()

    def _write(self, event: Event) -> bool:
        """Change the record; False where the disk takes nothing, which is an issue until it does."""
        try:
            self._record = files.change(self._folder, event).record
        except OSError as error:
            self._issue = f"agent: what happened cannot be written down: {os_error_text(error)}"
            return False
        self._issue = ""
        return True

    # -- the end of an order -------------------------------------------------------------------------------------------

    def _end(self, outcome: str, reason: str = "", detail: str = "") -> None:
        """Nothing was switched."""
        order = self._order
        assert order is not None
        self._drop()
        say = log.info if outcome == SUCCEEDED else log.warning
        say("an upgrade of the agent has ended", release=order.release, outcome=outcome, reason=reason, detail=detail)
        ended = Ended(order.deployment, order.release, outcome, reason, detail)
        if not self._write(Refused(ended)):
            self._record = self._record._replace(ended=ended)  # until a restart, then it is tried once more
        self._context.collect()
        self._context.changed()

    def _drop(self) -> None:
        self._order = None
        self._cancel_timers()
        self._cancel_updater()
        self._cancel_updater = _nothing
        if self._transfer is not None:
            self._transfer.stop()
            self._transfer = None
        self._enter("idle")

    def _enter(self, state: UpgradeState) -> None:
        if state != self._state:
            self._state = state
            self._context.changed()

    def _after(self, seconds: float, call: Callable[[], None]) -> None:
        self._timers.append(self._context.clock.after(seconds, call))

    def _cancel_timers(self) -> None:
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()

    # -- the link ------------------------------------------------------------------------------------------------------

    def link_up(self) -> None:
        """The broker is there (again)."""
        self._was_linked = True
        if self._transfer is not None:
            self._transfer.link_up()

    def message(self, topic: str, payload: bytes) -> None:
        """Something came from the broker."""
        if self._transfer is not None:
            self._transfer.message(topic, payload)

    def reported(self, token: int | None) -> None:
        """A reported state was sent under this token."""
        if self._trial is not None:
            self._trial.reported(token)

    def acked(self, token: int) -> None:
        """The broker has taken a message."""
        if self._trial is not None:
            self._trial.acked(token)

    # -- what is said --------------------------------------------------------------------------------------------------

    @property
    def on_trial(self) -> bool:
        """Whether this very agent has yet to show that it is healthy."""
        return self._trial is not None

    @property
    def active(self) -> bool:
        """Whether an upgrade is under way, so that nothing on the disk may be removed."""
        return self._order is not None or self._record.trial is not None

    @property
    def issues(self) -> tuple[str, ...]:
        """What is wrong with the agent on this device."""
        wanted = self._wanted.deployment if self._wanted is not None else ""
        return tuple(filter(None, (self._issue, issue_of(self._record, wanted))))

    def report(self) -> UpgradeReport | None:
        """For twin and status; None of a device whose agent was never upgraded."""
        return report_of(self._record, self._own, self._now())

    def _now(self) -> UpgradeReport | None:
        """What is under way, if anything is."""
        if self._trial is not None:
            trial = self._trial.trial
            return UpgradeReport(trial.deployment, trial.agent.release, "trial", detail=self._trial.lacking)
        if self._order is None:
            return None
        shown = UpgradeReport(self._order.deployment, self._order.release, self._state)
        transfer = self._transfer
        if transfer is None:
            return shown
        received, expected = transfer.received, transfer.expected
        return replace(
            shown,
            detail=transfer.waiting,
            bytes_received=received,
            bytes_expected=expected,
            transports=transfer.transports,
        )

    # -- disk ----------------------------------------------------------------------------------------------------------

    def collect(self) -> None:
        """Remove the agents that nothing names, and half-made ones; those in use, and the one before, are kept."""
        record, damage = files.read(self._folder)
        if not self.active and not damage:
            files.collect(self._folder, record, self._own)


def _own_name(folder: Path) -> str:
    """The name of the folder of agents that this code runs from, empty for the base environment."""
    own = own_folder()
    return own.name if own.parent == folder.resolve() else ""


def _nothing() -> None:
    """There is nothing to do."""
