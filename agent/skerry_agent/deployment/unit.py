"""One model on the device: performs the effects of its update machine and feeds back what happened as events.

Writes the journal before any effect. Decides nothing: `machine` does. Knows no broker: the link is a port. Bundles are
made in `preparation` and tried in `trial`.
"""

from collections import deque
from collections.abc import Callable

from msgspec.structs import replace

from skerry_agent import log
from skerry_agent.deployment import causes
from skerry_agent.deployment.context import DeviceContext
from skerry_agent.deployment.exchange import Exchange
from skerry_agent.deployment.factory_search import FactorySearch
from skerry_agent.deployment.launcher import EXCLUSIVE_POLL_S, Launcher, Listeners, exclusive, unusable
from skerry_agent.deployment.observed import Observed
from skerry_agent.deployment.preparation import Preparation, seconds_left
from skerry_agent.deployment.service import ACCELERATOR_HUNG, Service, ServiceCallbacks
from skerry_agent.deployment.spare import SpareCallbacks, SpareService
from skerry_agent.deployment.transfer import Transfer
from skerry_agent.deployment.trial import Trial, TrialCallbacks
from skerry_agent.deployment.waiting import WaitingOrder
from skerry_agent.log.transitions import Transition, line_of
from skerry_agent.machine import events
from skerry_agent.machine.causes import TRIED_AGAIN
from skerry_agent.machine.events import Effect, Event
from skerry_agent.machine.records import Deployment, Record, Slot, State
from skerry_agent.machine.table import removed_by_order, step
from skerry_agent.ports.interfaces import Timer
from skerry_agent.ports.runner_protocol import Heartbeat
from skerry_agent.state.disk import DiskError
from skerry_agent.state.journal import Journal

HEALTHY_AFTER_S = 10.0
PAUSE_S = 2.0
"""Before a candidate is tried again that was lost for a reason outside it; longer each time."""
RESUME_ORDER_S = 10.0
"""How long the host may take to withdraw a model whose only release was removed by an order on the device."""
FIRST_BACKOFF_S, MAX_BACKOFF_S = 0.25, 30.0
TRYING = {State.STAGED, State.PROBATION}
AT_REST = {State.IDLE, State.ROLLING_BACK}
ACTIVE = {State.FETCHING, State.VERIFYING, State.STAGED, State.PROBATION}

_FORWARD = (events.Ordered, events.Fetched, events.Verified, events.CandidateReady, events.ProbationPassed)
"""Events that must be journalled before anything happens; all others keep the old model serving and happen anyway."""


class Unit:
    """The update machine of one model, with its runners."""

    def __init__(self, model: str, context: DeviceContext, journal: Journal, listeners: Listeners) -> None:
        self.model = model
        self.context = context
        self.listeners = listeners
        self.record, self._damage = journal.read()
        if self._damage is not None:
            journal.repair(self.record)
        self.issue: str | None = None
        self.trouble: str | None = None
        self.factory = FactorySearch(model, context)
        self.waiting = WaitingOrder(context.clock, lambda order: self.handle(events.Ordered(order)), self._lapsed)
        self.current: Service | None = None
        self.current_slot: Slot | None = None
        self.gap_us: float | None = None
        self._journal = journal
        self._unwritten: str | None = None
        self.failure = ("", "")
        self.failures = 0
        self._known_issues: tuple[str, ...] = ()
        self._events: deque[Event] = deque()
        self._preparation = Preparation(context, self.handle)
        self._launcher = Launcher(model, context, listeners)
        resting = SpareCallbacks(self._resting_on_spare, self._accelerator_taken, context.changed)
        self._spare = SpareService(context, self._launcher, resting)
        self._tried_on_spare = ""
        self.exchange = Exchange(self._launcher)
        self._trial: Trial | None = None
        self._gap_from: float | None = None
        self._tried_from = 0.0
        self._pause_s = 0.0
        self._observed = Observed()
        self._timers: dict[str, Timer] = {}
        self._perform: dict[type[Effect], Callable[[], None]] = {
            events.Serve: self._serve,
            events.SeekFactory: self._seek_factory,
            events.Fetch: self._fetch,
            events.Stage: self._stage,
            events.StartCandidate: self._start_candidate,
            events.Admit: self._admit,
            events.Retire: self._retire,
            events.Drop: self._drop,
            events.Collect: context.collect,
        }

    # -- the machine ---------------------------------------------------------------------------------------------------

    def handle(self, event: Event) -> None:
        """Take an event. Events that effects cause are taken after them, before anything else."""
        self._events.append(event)
        if len(self._events) > 1:
            return
        while self._events:
            self._advance(self._events[0])
            self._events.popleft()
        self.context.changed()

    def _advance(self, event: Event) -> None:
        record, effects = step(self.record, event)
        record = self._stamped(record)
        if record != self.record:
            try:
                self._journal.write(record)
                self._unwritten = None
            except OSError as error:
                self._unwritten = f"journal of {self.model}: {error.strerror}"
                if isinstance(event, _FORWARD):
                    self._cannot_advance(event, self._unwritten)
                    return
        if isinstance(event, events.Ordered):
            self.waiting.forget()
        transition, self.record = Transition(self.record, event, record), record
        self._log(transition)
        for effect in effects:
            self._perform[type(effect)]()

    def _log(self, transition: Transition) -> None:
        line = line_of(transition)
        if line is not None:
            level, sentence, fields = line
            generation = self.context.generation() or None
            log.say(level, f"{self.model}: {sentence}", model=self.model, **fields, generation=generation)

    def _stamped(self, record: Record) -> Record:
        """The record with the time at which its deployment ended."""
        deployment = record.deployment
        if deployment is None or deployment.outcome is None or deployment.ended_at is not None:
            return record
        return replace(record, deployment=replace(deployment, ended_at=self.context.clock.wall()))

    def _cannot_advance(self, event: Event, why: str) -> None:
        """What cannot be journalled is not begun: the deployment fails, an order waits, and the old model goes on."""
        failure: dict[State, Event] = {
            State.FETCHING: events.FetchFailed("disk", why),
            State.VERIFYING: events.StageFailed("disk", why),
            State.STAGED: events.CandidateFailed("disk", why),
            State.PROBATION: events.CandidateFailed("disk", why),
        }
        log.warning(f"{self.model}: what happened cannot be written down", model=self.model, detail=why)
        if isinstance(event, events.Ordered):
            self.waiting.retry_later(event.deployment, seconds_left(event.deployment, self.context.clock.wall()))
        else:
            self._events.append(failure[self.record.state])

    def _lapsed(self, deployment: Deployment) -> None:
        self.handle(events.OrderLapsed(deployment, self._unwritten or ""))

    @property
    def issues(self) -> tuple[str, ...]:
        """The problems of this model, for status and twin."""
        current, waiting = self.record.slots.current, self.waiting.deployment
        retried = f"the order of {waiting.release} waits: {self._unwritten}" if waiting else self._unwritten
        stands_in = None
        if current is not None and current.factory:
            stands_in = f"{self.model} serves its factory release {current.release}: {self.record.fallback}"
        elif current is not None and self.record.fallback:
            stands_in = f"{self.model} stays at {current.release}, because {self.record.fallback}"
        gone = self.runtime_gone
        lack = causes.lack(self.model, *self._spare.lack) if self._spare.lack is not None else self.issue
        found = (self._damage, retried, lack, self.trouble, stands_in, gone, self.factory.issue, *self._stuck())
        observed = (f"{self.model}: {issue}" for issue in self._observed.issues)
        return (*filter(None, found), *observed, *self._source_issues())

    def _source_issues(self) -> tuple[str, ...]:
        """What its runners cannot feed it with: the device's own issues, never the release's."""
        services = [service for service in (self.candidate, self.current) if service is not None]
        lines = dict.fromkeys(line for service in services for line in service.source_issues)
        return tuple(f"{self.model}: {line}" for line in lines)

    def _stuck(self) -> list[str]:
        """Processes that do not end, which is no fault of a release: the board has to be started anew."""
        return [f"{_stuck_code(each)}: {self.model}: {each.stuck_detail}" for each in self._launcher.stuck]

    @property
    def runtime_gone(self) -> str | None:
        """Why the current bundle runs with the base environment's runtime, and not with its own; None where it does."""
        current = self.record.slots.current
        if current is None or current.runtime is None or self.context.runtimes.usable(current.runtime):
            return None
        what = f"its runtime {current.runtime.name} is not on this device any more, or for another Python"
        return f"runtime_gone: {self.model} runs with the base environment's runtime: {what}; order it again"

    @property
    def state_lost(self) -> bool:
        """Whether a damaged journal was read as empty, so that it is unknown which bundles are still needed."""
        return self._damage is not None and self.record.slots.current is None

    @property
    def active(self) -> bool:
        """Whether a deployment is under way."""
        return self.record.state in ACTIVE

    def order(self, deployment: Deployment) -> None:
        """Take an order of the host, unless it is the one that this record already knows."""
        known, waiting = self.record.deployment, self.waiting.deployment
        if waiting is not None and deployment.id in {waiting.id, waiting.after}:
            return
        if known is None or deployment.id not in {known.id, known.after}:
            self.handle(events.Ordered(deployment, anew=self.runtime_gone is not None))

    def may_resume(self, deployment_id: str) -> bool:
        """Whether to install again what is still desired of a model whose only release was removed by an order."""
        record = self.record
        if record.deployment is None or record.deployment.id != deployment_id or not removed_by_order(record):
            return False
        ended_at = record.deployment.ended_at or 0.0
        return abs(self.context.clock.wall() - ended_at) >= RESUME_ORDER_S

    def withdraw(self) -> None:
        """The host wants nothing of this model any more; a local install goes on."""
        if self.waiting.deployment is not None and self.waiting.deployment.folder is None:
            self.waiting.forget()
        if self.active and self.record.deployment is not None and self.record.deployment.folder is None:
            self.handle(events.Withdrawn())

    def _after(self, name: str, seconds: float, call: Callable[[], None]) -> None:
        self._cancel_timer(name)
        self._timers[name] = self.context.clock.after(seconds, call)

    def _cancel_timer(self, name: str) -> None:
        timer = self._timers.pop(name, None)
        if timer is not None:
            timer.cancel()

    # -- serving -------------------------------------------------------------------------------------------------------

    def _serve(self) -> None:
        slot = self.record.slots.current
        if slot is None:
            self._stop_current()
        elif self.current is None or self.current_slot != slot or self.current.gone:
            self._stop_current()
            if self.record.failures:
                self._after("serve", _backoff_s(self.record.failures), self._start_current)
            else:
                self._start_current()
        elif self.current.accepting:
            self.handle(events.Serving())
        elif self.current.ready:
            self.current.accept()

    def _start_current(self) -> None:
        slot = self.record.slots.current
        if slot is None or self.current is not None:
            return
        served = self._served(slot)
        hung = self._launcher.hung(served)
        if hung is not None:
            self.current_slot = slot
            self._current_failed(ACCELERATOR_HUNG, hung)
            return
        if self._launcher.must_wait(served):
            self._after("serve", EXCLUSIVE_POLL_S, self._start_current)
            return
        self.current_slot = slot
        try:
            self.current = self._launcher.start(served, self._current_callbacks(served), committed=True)
        except DiskError as error:
            self._current_failed(unusable(error), str(error))

    def _served(self, slot: Slot) -> Slot:
        """The slot as it is served: from its spare at first, where the accelerator is another one than when it worked.

        What has changed may hang; so nothing waits for it.
        """
        change = self.context.accelerator.change if exclusive(slot) and self._spare.lack is None else ""
        if change:
            self._spare.covers(slot, causes.ACCELERATOR_CHANGED, f"since it last worked it has changed: {change}")
        return self._spare.serving(slot)

    def on_spare(self, slot: Slot) -> bool:
        """Whether a slot of this model serves, or would, from its spare."""
        if slot == self.record.slots.candidate:
            return slot.spare is not None and self._tried_on_spare == self._deployment().id
        return self._spare.serving(slot) != slot

    def _resting_on_spare(self) -> Slot | None:
        slot, serves = self.record.slots.current, self.current is not None and self.current.accepting
        at_rest = self.record.state is State.IDLE and serves and self._trial is None
        return slot if at_rest and slot is not None and self.current_slot == slot and self.on_spare(slot) else None

    def _accelerator_taken(self, slot: Slot, service: Service) -> None:
        """A runner of the slot's own bundle answers, beside that of its spare, which ends."""
        self.exchange.drop()
        self.current_slot = slot
        self._took_over(service)
        self.context.changed()

    def _current_callbacks(self, slot: Slot) -> ServiceCallbacks:
        return ServiceCallbacks(
            ready=self._accept_current,
            accepting=self._current_accepting,
            heartbeat=lambda heartbeat: self._heard_of_current(slot, heartbeat),
            failed=self._current_failed,
        )

    def _heard(self, slot: Slot, heartbeat: Heartbeat) -> None:
        """Pass a heartbeat on; what it says of sources, or shows of the current slot, that is new is reported."""
        known, self._known_issues = self._known_issues, (*self._source_issues(), *self._observed.issues)
        if known != self._known_issues:
            self.context.changed()
        self.context.heartbeat(self.model, slot, heartbeat)

    def _heard_of_current(self, slot: Slot, heartbeat: Heartbeat) -> None:
        """What the runner that serves shows over time is observed; a candidate's heartbeats are not its."""
        if self.current is not None and self.current.accepting:
            now = self.context.clock.monotonic()
            self._observed.heartbeat(now, self.current.job, self.current.pid, heartbeat)
        self._heard(slot, heartbeat)

    def _accept_current(self) -> None:
        assert self.current is not None
        self.current.accept()

    def _current_accepting(self) -> None:
        self.trouble = self.factory.issue = None
        self._note_accelerator()
        self._measure_gap()
        self._after("healthy", HEALTHY_AFTER_S, lambda: self.handle(events.Healthy()))
        self.handle(events.Serving())

    def _current_failed(self, reason: str, detail: str) -> None:
        self.trouble = f"{self.model} is not served: {reason}: {detail}"
        self.failure, self.failures = (reason, detail), self.failures + 1
        self._cancel_timer("healthy")
        slot, self.current, self.current_slot = self.current_slot, None, None
        self.exchange.drop()
        if self._spare.lack is None and self._spare.covers(slot, reason, detail):
            self.trouble = None
            if self.record.state is not State.PROBATION:
                self._start_current()
            return
        if self.record.state in AT_REST and self._fell_back(reason, detail, slot):
            if reason == ACCELERATOR_HUNG:  # it may be free again before the other bundle is here
                self._after("serve", MAX_BACKOFF_S, self._start_current)
            return
        since = self.context.clock.monotonic() - causes.BLAMED_S
        self.handle(events.CurrentFailed(*self._blamed(reason, detail, since)))

    def _stop_current(self) -> None:
        self._cancel_timer("healthy")
        self._cancel_timer("serve")
        self._spare.pause()
        self.exchange.drop()
        if self.current is not None:
            self._launcher.stop(self.current)
        self.current = self.current_slot = None

    # -- other settings ------------------------------------------------------------------------------------------------

    def reload(self, listeners: Listeners | None = None, *, anew: bool = False) -> None:
        """Serve under the configuration of now, and on other sockets if any are given; `anew` as of an `Exchange`."""
        if listeners is not None:
            self.listeners = listeners
            self._launcher.listen_on(listeners)
        self._spare.pause()
        self.exchange.ask(anew=anew)
        self.exchange_runner()

    def exchange_runner(self) -> None:
        """Do it once that can be: not before the runner that serves accepts requests, nor while a candidate is tried.

        On an accelerator that admits one process nobody answers between the two, and that gap is measured.
        """
        current = self.current
        if not self.exchange.wanted or self.record.state in TRYING:
            return
        if self.current_slot is None or current is None or not current.accepting:
            return
        slot = self._spare.serving(self.current_slot)
        if not self.exchange.anew and self._is_as_wanted(slot, current):
            self.exchange.drop()
        elif exclusive(slot):
            self._gap_from = self.context.clock.monotonic()
            self._stop_current()
            self._start_current()
        else:
            self.exchange.begin(slot, self._took_over, lambda heartbeat: self._heard(slot, heartbeat))

    def _is_as_wanted(self, slot: Slot, service: Service) -> bool:
        """Whether another runner would be told just what this one was; of an unreadable bundle there is no other."""
        try:
            return self._launcher.job(slot, committed=True) == replace(service.job, committed=True)
        except DiskError:
            return False

    def _took_over(self, service: Service) -> None:
        before, slot = self.current, self.current_slot
        assert slot is not None
        service.callbacks = self._current_callbacks(self._spare.serving(slot))
        self.current = service
        if before is not None:
            self._launcher.stop(before)
        self._current_accepting()

    def use_limits(self) -> None:
        """What may hang, and for how long, follows the configuration of now also of runners that are there."""
        for service in (self.current, self.candidate):
            if service is not None:
                service.use(self.context.config.agent)

    def _seek_factory(self) -> None:
        """The last resort. On a device that never had anything, that there is none is no issue."""
        slot = self.record.slots.current
        reason, detail = self.failure if slot is not None else ("no_other_release", "")
        report_missing = slot is not None or self._damage is not None
        self.factory.begin(
            slot, lambda f: self.handle(events.FactoryFound(f, reason, detail)), report_missing=report_missing
        )

    def return_to_factory(self) -> None:
        """Go back to the factory release, by order."""
        self.factory.begin(None, lambda slot: self.handle(events.RollbackOrdered(to=slot)))

    def _measure_gap(self) -> None:
        """How long no runner answered, where the old runner had to stop before the new one could start."""
        if self._gap_from is not None:
            self.gap_us = (self.context.clock.monotonic() - self._gap_from) * 1e6
            self._gap_from = None

    # -- fetching and staging ------------------------------------------------------------------------------------------

    @property
    def transfer(self) -> Transfer | None:
        """What is being fetched, or was fetched last for the deployment under way."""
        return self._preparation.transfer

    def _fetch(self) -> None:
        self._preparation.fetch(self._deployment(), self._have())

    def _stage(self) -> None:
        slots = self.record.slots
        served = [slot for slot in (slots.current, slots.previous) if slot is not None]
        self._preparation.stage(self._deployment(), self._have(), served)

    def _have(self) -> dict[str, str]:
        slots = self.record.slots
        return self.context.folders.artifacts([slots.previous, slots.current])

    def _deployment(self) -> Deployment:
        assert self.record.deployment is not None
        return self.record.deployment

    # -- the trial of the candidate ------------------------------------------------------------------------------------

    @property
    def candidate(self) -> Service | None:
        """The candidate's runner."""
        return self._trial.service if self._trial is not None else None

    @property
    def trial_progress(self) -> str:
        """What a candidate on probation has run, real load and golden inputs apart; empty where there is none."""
        on_trial = self._trial is not None and self.record.state is State.PROBATION
        return self._trial.progress if self._trial is not None and on_trial else ""

    def _start_candidate(self) -> None:
        slot = self.record.slots.candidate
        assert slot is not None
        self._preparation.done()
        if self.exchange.under_way:  # beside a candidate it would take requests from it: later, if it is still needed
            self.exchange.ask()
        self._tried_from = self.context.clock.monotonic()
        self.gap_us = None
        callbacks = TrialCallbacks(
            begins=lambda: self._make_room(tried),
            ready=lambda: self.handle(events.CandidateReady()),
            accepting=self._candidate_accepting,
            passed=lambda: self.handle(events.ProbationPassed()),
            failed=self._candidate_failed,
            heartbeat=lambda heartbeat: self._heard(tried, heartbeat),
        )
        tried = slot.on_spare() if self.on_spare(slot) else slot
        self._trial = Trial(tried, self._launcher, self.context.clock, callbacks, self._observed.seen)
        if self._pause_s:
            self._trial.begin_after(self._pause_s)
        else:
            self._trial.begin()
        self._pause_s = 0.0

    def _make_room(self, slot: Slot) -> None:
        """On an accelerator for one process the current runner stops before a candidate starts, and not earlier."""
        current = self.record.slots.current
        if not exclusive(slot):
            return
        self._spare.pause()
        if current is None or not exclusive(self._spare.serving(current)):
            return
        if self.current is not None:
            self._gap_from = self.context.clock.monotonic()
        self._stop_current()

    def _admit(self) -> None:
        assert self._trial is not None
        self._trial.admit()

    def _candidate_accepting(self) -> None:
        self._measure_gap()
        if self.current is not None and self.current.accepting:
            self.current.drain()

    def _candidate_failed(self, reason: str, detail: str) -> None:
        if self._tried_again_on_spare(reason, detail):
            return
        if self._fell_back(reason, detail, self.record.slots.candidate):
            return
        reason, detail = self._blamed(reason, detail, self._tried_from)
        if reason in TRIED_AGAIN:
            self._pause_s = PAUSE_S * (1 + self._deployment().attempts)
            self.handle(events.CandidateLost(reason, detail))
        else:
            self.handle(events.CandidateFailed(reason, detail))

    def _tried_again_on_spare(self, reason: str, detail: str) -> bool:
        """Without its accelerator the same deployment goes on with the candidate's spare."""
        slot = self.record.slots.candidate
        if slot is None or self.on_spare(slot) or not self._spare.covers(slot, reason, detail):
            return False
        self._tried_on_spare = self._deployment().id
        if self.record.state is State.PROBATION:
            self.handle(events.CandidateLost(reason, detail))
        else:
            self._drop()
            self._serve()
            self._start_candidate()
        return True

    def _blamed(self, reason: str, detail: str, since: float) -> causes.Failure:
        return causes.blamed((reason, detail), self.context.undervoltage_since, since)

    def _fell_back(self, reason: str, detail: str, slot: Slot | None) -> bool:
        """Without its accelerator a bundle cannot run: the deployment goes on with its target's fallback."""
        fallback = causes.fallback_target(slot, reason, self.context.config.board.targets)
        if slot is None or fallback is None:
            return False
        begun = causes.deployment_of(slot, self.record.deployment, self.context.clock.wall())
        if begun is None:
            return False
        self.issue = causes.lack(self.model, reason, detail)
        self.handle(events.Ordered(replace(begun, target=fallback)))
        return True

    def _note_accelerator(self) -> None:
        """What serves from the accelerator does not lack it any more."""
        slot = self.record.slots.current
        if self.current is not None and self.current.exclusive:
            self.issue = None
            self._spare.end()
            self.context.accelerator.works()
        elif slot is not None and not exclusive(slot):
            self._spare.end()

    def _retire(self) -> None:
        """The candidate's service goes on under the name of the current one."""
        wanted = self.exchange.wanted
        self._stop_current()
        self.exchange.wanted = wanted
        self.trouble = self.factory.issue = None
        slot = self.record.slots.current
        assert self._trial is not None
        assert slot is not None
        self._observed.committed(slot.release, self._trial.looks)
        served = self._spare.serving(slot) if self._tried_on_spare == self._deployment().id else slot
        self.current, self.current_slot = self._trial.hand_over(self._current_callbacks(served)), slot
        self._trial = None
        self._note_accelerator()
        self._after("healthy", HEALTHY_AFTER_S, lambda: self.handle(events.Healthy()))
        self.handle(events.Settled())

    def _drop(self) -> None:
        self._preparation.drop()
        if self._trial is not None:
            self._trial.drop()
            self._trial = None

    def shut_down(self) -> None:
        """End every child without touching the journal."""
        self.factory.stop()
        self.waiting.forget()
        self._drop()
        self._spare.end()
        self._stop_current()


def _stuck_code(service: Service) -> str:
    return ACCELERATOR_HUNG if service.exclusive else "runner_stuck"


def _backoff_s(failures: int) -> float:
    """0.25 s after the first crash, doubled with each; a bundle may fail for weeks, so the power is bounded, too."""
    return min(MAX_BACKOFF_S, FIRST_BACKOFF_S * 2.0 ** min(failures - 1, 16))
