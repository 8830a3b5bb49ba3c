"""The record of settings from afar: what is kept, what is on trial, what has failed, and how each follows. Pure.

    ordered ──> trial ──proven──> kept
                  └──failed, superseded, or begun too often──> rolled back: what was kept before holds again

The record is written before anything is done by it, so a device that is killed at any moment starts with what was kept
or with the trial; a trial is begun `MAX_ATTEMPTS` times at most, however often the device starts.
"""

from typing import Any, Literal

from msgspec import Struct
from msgspec.structs import replace

from skerry_agent.wire.settings import Outcome, SettingsOrder

MAX_ATTEMPTS = 3
REMEMBERED = 8
"""So many orders that have failed are known, so that none is tried again when it comes again."""

AGENT_RESTARTS = "agent_restarts"


class Overlay(Struct, frozen=True):
    """What is set by one order. `moved`: it was tried when the host had moved the device, with another broker."""

    id: str = ""
    values: dict[str, Any] = {}
    moved: bool = False


class OnTrial(Struct, frozen=True):
    """An order on trial, for at most `trial_s` seconds each time; `attempts` counts the times that it was begun."""

    overlay: Overlay
    trial_s: float
    attempts: int = 1


class Ended(Struct, frozen=True):
    """An order that was rolled back or refused, and why."""

    overlay: Overlay
    outcome: Literal["rolled_back", "refused"]
    code: str = ""
    detail: str = ""


class SettingsRecord(Struct, frozen=True):
    """All that a device remembers of settings. `sequence` rises with each change: of two copies the later counts."""

    sequence: int = 0
    kept: Overlay = Overlay()
    trial: OnTrial | None = None
    ended: tuple[Ended, ...] = ()
    newest: str = ""

    @property
    def overlay(self) -> Overlay:
        """What is in effect."""
        return self.trial.overlay if self.trial is not None else self.kept

    @property
    def failed(self) -> Ended | None:
        """The newest order, if it has failed."""
        return next((each for each in self.ended if each.overlay.id == self.newest), None)

    @property
    def outcome(self) -> Outcome:
        """How the newest order stands."""
        if self.trial is not None:
            return "trial"
        if self.failed is not None:
            return self.failed.outcome
        return "kept" if self.newest else "none"

    def knows(self, order: str) -> bool:
        """Whether an order was taken, or has failed, so that it is not to be tried."""
        known = {self.kept.id, *(each.overlay.id for each in self.ended)}
        return bool(order) and (order in known or (self.trial is not None and self.trial.overlay.id == order))


def ordered(record: SettingsRecord, order: SettingsOrder, *, moved: bool) -> SettingsRecord:
    """A new order is on trial, in the place of one that was."""
    trial = OnTrial(Overlay(order.id, order.values, moved), order.trial_s)
    return _next(record, trial=trial, newest=order.id)


def known_again(record: SettingsRecord, order: str) -> SettingsRecord:
    """An order that was taken before is the newest again: a host that was restored from a backup says so."""
    return record if record.newest == order else _next(record, newest=order)


def started(record: SettingsRecord) -> SettingsRecord:
    """The device starts: a trial that was under way is begun once more, or not any more."""
    trial = record.trial
    if trial is None:
        return record
    if trial.attempts >= MAX_ATTEMPTS:
        return failed(record, AGENT_RESTARTS, f"the agent was started {trial.attempts} times during the trial")
    return _next(record, trial=replace(trial, attempts=trial.attempts + 1))


def proven(record: SettingsRecord) -> SettingsRecord:
    """The trial has passed: it is kept."""
    assert record.trial is not None
    return _next(record, kept=record.trial.overlay, trial=None)


def failed(record: SettingsRecord, code: str, detail: str) -> SettingsRecord:
    """The trial has failed: what was kept holds again."""
    assert record.trial is not None
    ended = Ended(record.trial.overlay, "rolled_back", code, detail)
    return _next(record, trial=None, ended=_remembered(record, ended))


def refused(record: SettingsRecord, order: SettingsOrder, code: str, detail: str) -> SettingsRecord:
    """An order is not tried at all."""
    ended = Ended(Overlay(order.id, order.values), "refused", code, detail)
    return _next(record, ended=_remembered(record, ended), newest=order.id)


def _remembered(record: SettingsRecord, ended: Ended) -> tuple[Ended, ...]:
    others = [each for each in record.ended if each.overlay.id != ended.overlay.id]
    return (*others, ended)[-REMEMBERED:]


def _next(record: SettingsRecord, **changes: Any) -> SettingsRecord:
    return replace(record, sequence=record.sequence + 1, **changes)
