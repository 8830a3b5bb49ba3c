"""What becomes of the record of a device's agents when something happens, and which agent runs then. Pure.

    at rest ──ordered──> on trial ──healthy──> at rest, the candidate is the current agent
                            └──deadline, or started too often──> at rest, the current agent is what it was

A start is counted before the agent runs, so that no crash, hang or power cut makes a loop: a candidate has
`MOST_ATTEMPTS` starts to become healthy, and a committed agent that does not stay up for `MOST_STARTS` starts in a row
gives way to the one before it, then to that of the base environment, which is always there.
"""

from collections.abc import Callable
from typing import NamedTuple, TypeVar

MOST_ATTEMPTS = 3
"""Starts of a candidate: power may be cut, or a person may restart it, without any fault of its own."""
MOST_STARTS = 5
"""Starts in a row of a committed agent, none of which lasted until it was settled."""

ROLLED_BACK, SUCCEEDED, CANCELLED = "rolled_back", "succeeded", "cancelled"


class Agent(NamedTuple):
    """An agent on this device. `folder` is below STATE/agents, empty for that of the base environment."""

    folder: str = ""
    release: str = ""
    version: str = ""


BASE = Agent()


class Trial(NamedTuple):
    """A candidate that was switched to. `linked`: there was a connection then; `serving`: the models that answered.

    `waiting` is what it says it still lacks, `last` how its last start ended.
    """

    agent: Agent
    deployment: str
    deadline_s: float
    linked: bool = False
    serving: tuple[str, ...] = ()
    attempts: int = 0
    waiting: str = ""
    last: str = ""


class Ended(NamedTuple):
    """How the latest upgrade ended; `outcome` is as of a model's deployment."""

    deployment: str = ""
    release: str = ""
    outcome: str = ""
    reason: str = ""
    detail: str = ""


class Record(NamedTuple):
    """All that is known of the agents of a device. `sequence` rises with each write; `starts` are the current one's."""

    sequence: int = 0
    current: Agent = BASE
    previous: Agent | None = None
    trial: Trial | None = None
    ended: Ended | None = None
    starts: int = 0


class Ordered(NamedTuple):
    """A candidate is installed and proven, and is to run from the next start on."""

    trial: Trial


class Refused(NamedTuple):
    """An upgrade ended before anything was switched."""

    ended: Ended


class Started(NamedTuple):
    """The agent is to be started. `present`: the folders of agents that are there and whole enough to be tried."""

    present: frozenset[str] = frozenset()


class Waits(NamedTuple):
    """The candidate is not healthy yet, and says what it lacks."""

    waiting: str


class Healthy(NamedTuple):
    """The agent that runs has all that it needs. `folder` says which one that is."""

    folder: str = ""


class Died(NamedTuple):
    """The candidate's process ended by itself."""

    detail: str = ""


class Skipped(NamedTuple):
    """Another agent runs than the candidate that was to."""

    detail: str


class Withdrawn(NamedTuple):
    """The host wants the candidate no more."""


class Late(NamedTuple):
    """The candidate was not healthy by its deadline."""


Event = Ordered | Refused | Started | Waits | Healthy | Died | Skipped | Withdrawn | Late


class Step(NamedTuple):
    """The record afterwards, and which agent runs: None where the event starts none."""

    record: Record
    run: Agent | None = None


class IllegalError(Exception):
    """An event that cannot be in this state; nothing changes."""


def after(record: Record, event: Event) -> Step:
    """The step that an event makes. Raises `IllegalError` for a pair that cannot be."""
    state = "trial" if record.trial is not None else "rest"
    handle = TABLE.get((state, type(event)))
    if handle is None:
        raise IllegalError(f"{type(event).__name__} while {state}")
    step = handle(record, event)
    if step.record == record:
        return step
    return step._replace(record=step.record._replace(sequence=record.sequence + 1))


def candidate(record: Record) -> Trial:
    """Its trial, of a record that has one."""
    if record.trial is None:
        raise IllegalError("no candidate is on trial")
    return record.trial


# -- at rest -----------------------------------------------------------------------------------------------------------


def _ordered(record: Record, event: Ordered) -> Step:
    return Step(record._replace(trial=event.trial._replace(attempts=0, waiting="", last="")))


def _refused(record: Record, event: Refused) -> Step:
    return Step(record._replace(ended=event.ended))


def _start_current(record: Record, event: Started) -> Step:
    current = record.current
    if not current.folder:
        return Step(record, current)
    if current.folder not in event.present:
        return _fall_back(record, event, "agent_gone", f"its folder {current.folder} is gone or damaged")
    if record.starts >= MOST_STARTS:
        return _fall_back(record, event, "agent_keeps_dying", f"it did not stay up for {record.starts} starts")
    return Step(record._replace(starts=record.starts + 1), current)


def _fall_back(record: Record, event: Started, reason: str, detail: str) -> Step:
    """Back to the agent before, or to that of the base environment where that is not there either."""
    before = record.previous or BASE
    if before.folder and before.folder not in event.present:
        before = BASE
    latest = record.ended.deployment if record.ended is not None else ""  # whatever it was, it is not tried again
    ended = Ended(latest, record.current.release, ROLLED_BACK, reason, detail)
    starts = 1 if before.folder else 0
    return Step(Record(record.sequence, before, None, None, ended, starts), before)


def _settled(record: Record, event: Healthy) -> Step:
    return Step(record._replace(starts=0) if event.folder == record.current.folder else record)


def _nothing(record: Record, _event: Event) -> Step:
    """It has come too late to matter."""
    return Step(record)


# -- on trial ----------------------------------------------------------------------------------------------------------


def _try(record: Record, event: Started) -> Step:
    trial = candidate(record)
    if trial.agent.folder not in event.present:
        return _give_up(record, event, "agent_gone", f"its folder {trial.agent.folder} is gone or damaged")
    if trial.attempts >= MOST_ATTEMPTS:
        lacking = trial.last or trial.waiting
        detail = f"not healthy after {trial.attempts} starts" + (f": {lacking}" if lacking else "")
        return _give_up(record, event, "agent_died", detail)
    return Step(record._replace(trial=trial._replace(attempts=trial.attempts + 1)), trial.agent)


def _give_up(record: Record, event: Started, reason: str, detail: str) -> Step:
    return _start_current(_failed(record, reason, detail), event)


def _failed(record: Record, reason: str, detail: str, outcome: str = ROLLED_BACK) -> Record:
    trial = candidate(record)
    ended = Ended(trial.deployment, trial.agent.release, outcome, reason, detail)
    return record._replace(trial=None, ended=ended, starts=0)


def _late(record: Record, _event: Late) -> Step:
    trial = candidate(record)
    detail = f"not healthy within {trial.deadline_s:g} s: {trial.waiting or 'it said nothing'}"
    return Step(_failed(record, "agent_not_healthy", detail))


def _withdrawn(record: Record, _event: Withdrawn) -> Step:
    return Step(_failed(record, "withdrawn", "the host wants it no more", CANCELLED))


def _skipped(record: Record, event: Skipped) -> Step:
    return Step(_failed(record, "agent_not_started", event.detail))


def _died(record: Record, event: Died) -> Step:
    return Step(record._replace(trial=candidate(record)._replace(last=event.detail)))


def _waits(record: Record, event: Waits) -> Step:
    return Step(record._replace(trial=candidate(record)._replace(waiting=event.waiting)))


def _commit(record: Record, event: Healthy) -> Step:
    """Only the candidate itself can say so: another agent that runs, for instance by hand, proves nothing of it."""
    trial = candidate(record)
    if event.folder != trial.agent.folder:
        return Step(record)
    ended = Ended(trial.deployment, trial.agent.release, SUCCEEDED)
    return Step(record._replace(current=trial.agent, previous=record.current, trial=None, ended=ended, starts=0))


E = TypeVar("E")
Handler = Callable[[Record, E], Step]

TABLE: dict[tuple[str, type], Handler] = {  # type: ignore[type-arg]
    ("rest", Ordered): _ordered,
    ("rest", Refused): _refused,
    ("rest", Started): _start_current,
    ("rest", Healthy): _settled,
    ("rest", Late): _nothing,
    ("rest", Died): _nothing,
    ("rest", Skipped): _nothing,
    ("rest", Withdrawn): _nothing,
    ("rest", Waits): _nothing,
    ("trial", Started): _try,
    ("trial", Healthy): _commit,
    ("trial", Late): _late,
    ("trial", Died): _died,
    ("trial", Skipped): _skipped,
    ("trial", Withdrawn): _withdrawn,
    ("trial", Waits): _waits,
}
