"""Settings from afar on a device: takes an order, tries it, and keeps it, or goes back to what held before by itself.

Whatever happens to the device during a trial, the values before come back without a network: the record on disk says
what is on trial, and how often that was begun (`machine.settings`). An order that has failed is not tried again. What
must be shown is in `settings_proofs`, what a change does in `settings_effects`.
"""

import contextlib
import errno
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
from msgspec.structs import replace

from skerry_agent import log
from skerry_agent.config import AgentConfig, ConfigError
from skerry_agent.machine import settings as machine
from skerry_agent.machine.settings import SettingsRecord
from skerry_agent.overlay import changed_keys, effective, overlaid, value_of
from skerry_agent.ports.interfaces import Clock
from skerry_agent.state.settings import read_settings, write_settings
from skerry_agent.supervisor.settings_effects import Effects, make_folders
from skerry_agent.supervisor.settings_proofs import Failure, HostHears, Open, Proof, Shown
from skerry_agent.wire import settings
from skerry_agent.wire.settings import Difference, SettingsOrder, SettingsReport

STOOD_S = 5.0
"""What lies between two looks and is longer counts as so much: the process itself stood still."""

KEPT_HERE = "kept_here"


class Ties:
    """How the keeper is tied to its supervisor."""

    def __init__(
        self,
        effects: Effects,
        proofs: Callable[[set[str]], list[Proof]],
        busy: Callable[[set[str]], bool],
        models: Callable[[], set[str]],
        changed: Callable[[], None],
    ) -> None:
        self.effects, self.proofs, self.busy, self.models, self.changed = effects, proofs, busy, models, changed


class _Trial:
    """One trial under way, from a configuration to another."""

    def __init__(self, before: AgentConfig, after: AgentConfig, trial_s: float, now: float) -> None:
        self.before, self.keys = before, changed_keys(before, after)
        self.proofs: list[Proof] = []
        self._left_s, self._looked_at = trial_s, now

    def verdict(self, now: float, *, held_up: bool) -> Failure | Shown | None:
        """None while it is open. While something else is on trial that it waits for, its time stands still."""
        gap_s, self._looked_at = now - self._looked_at, now
        self._left_s -= 0.0 if held_up else min(gap_s, STOOD_S)
        states = [proof.state() for proof in self.proofs]
        failed = next((state for state in states if isinstance(state, Failure)), None)
        still = next((state for state in states if isinstance(state, Open)), None)
        if failed is not None or still is None:
            return failed or Shown()
        return still.why if self._left_s <= 0 else None


class SettingsKeeper:
    """One device's settings. `config` is what it works by, `own` what agent.toml says."""

    def __init__(self, own: AgentConfig, clock: Clock) -> None:
        self.own, self._clock = own, clock
        self._unsaved = False
        self._waiting: SettingsOrder | None = None
        self._trial: _Trial | None = None
        self._ties: Ties | None = None
        record, self.issue = read_settings(own.state_dir)
        self.record = self._started(record)
        if self.issue is not None:
            with contextlib.suppress(OSError):  # one copy is there, or what is desired is tried anew
                write_settings(own.state_dir, self.record)
        self.config = effective(own, self.record.overlay)

    def _started(self, record: SettingsRecord) -> SettingsRecord:
        """Count the start before anything is done by it. A trial that cannot be counted is not begun."""
        begun = machine.started(record)
        if begun is record:
            return record
        try:
            write_settings(self.own.state_dir, begun)
        except OSError as error:
            self._unsaved = True
            if begun.trial is not None:
                return machine.failed(record, _disk_code(error), f"it could not be counted: {error.strerror}")
        return begun

    @property
    def on_trial(self) -> bool:
        """Whether a trial is under way."""
        return self._trial is not None

    def begin(self, ties: Ties) -> None:
        """The supervisor runs; a trial from before its start goes on."""
        self._ties = ties
        if self.record.trial is not None:
            before = effective(self.own, self.record.kept)
            self._watch(_Trial(before, self.config, self.record.trial.trial_s, self._clock.monotonic()), ties)

    # -- orders --------------------------------------------------------------------------------------------------------

    def order(self, order: SettingsOrder | None) -> None:
        """What the host has set; None: it says nothing, and everything stays as it is."""
        self._waiting = None
        if order is None or self._ties is None:
            return
        if self._trial is not None and self.record.overlay.id != order.id:
            self._fail(self._trial, Failure("superseded", "another order has come"), self._ties)
        if self.record.knows(order.id):
            self.record = machine.known_again(self.record, order.id)
            return
        try:
            after = self._checked(order, self._ties)
        except ConfigError as error:
            self._refuse(order, error.code, error.message)
            return
        if self._ties.busy(changed_keys(self.config, after)):
            self._waiting = order
        else:
            self._try(order, after, self._ties)

    def _checked(self, order: SettingsOrder, ties: Ties) -> AgentConfig:
        """The configuration that is ordered. Raises `ConfigError`."""
        unknown = sorted({settings.split(key)[0] for key in order.values} - {""} - ties.models())
        if unknown:
            raise ConfigError(f"there is no model {', '.join(unknown)} on this device", code="unknown_model")
        return overlaid(self.own, order.values)

    def _refuse(self, order: SettingsOrder, code: str, detail: str) -> None:
        log.warning("settings were refused", order=order.id, reason=code, detail=detail)
        self._take(machine.refused(self.record, replace(order, values=_keepable(order.values)), code, detail))

    def _try(self, order: SettingsOrder, after: AgentConfig, ties: Ties) -> None:
        """Write the trial down, then begin it. Where nothing changes there is nothing to try."""
        before = self.config
        record = machine.ordered(self.record, order, moved=self.own.before is not None)
        if not changed_keys(before, after):
            record = machine.proven(record)
        try:
            make_folders(after, order.values)
            write_settings(self.own.state_dir, record)
        except OSError as error:
            self._refuse(order, _disk_code(error), f"the order could not be written down: {error.strerror}")
            return
        self.record, self._unsaved = record, False
        log.info("settings were ordered", order=order.id, keys=",".join(sorted(order.values)) or "none")
        if record.trial is not None:
            self._begin(_Trial(before, after, order.trial_s, self._clock.monotonic()), after, ties)
        else:
            self.config = after
            ties.changed()

    def _begin(self, trial: _Trial, after: AgentConfig, ties: Ties) -> None:
        self._watch(trial, ties)
        self.config = after
        failure = ties.effects.apply(after, trial.keys)
        if failure is not None:
            self._fail(trial, failure, ties)
        ties.changed()

    def _watch(self, trial: _Trial, ties: Ties) -> None:
        """What is to be shown is looked at before the change, to tell what is new."""
        self._trial = trial
        trial.proofs = ties.proofs(trial.keys)

    # -- the trial -----------------------------------------------------------------------------------------------------

    def check(self) -> None:
        """Look how the trial goes; call it every second or so."""
        if self._ties is None:
            return
        if self._unsaved:
            self._save()
        if self._waiting is not None:
            self.order(self._waiting)
        trial = self._trial
        if trial is None:
            return
        match trial.verdict(self._clock.monotonic(), held_up=self._ties.busy(trial.keys)):
            case Failure() as failure:
                self._fail(trial, failure, self._ties)
            case Shown():
                self._keep(self._ties)

    def link_up(self) -> None:
        """There is a connection."""
        for proof in self._host_proofs():
            proof.link_up()

    def receipt(self, payload: bytes) -> None:
        """The host has stored reports."""
        for proof in self._host_proofs():
            proof.receipt(payload)

    def _host_proofs(self) -> Iterator[HostHears]:
        yield from (each for each in (self._trial.proofs if self._trial else ()) if isinstance(each, HostHears))

    def _keep(self, ties: Ties) -> None:
        """It is written down first; until the disk takes that, the trial goes on."""
        record = machine.proven(self.record)
        try:
            write_settings(self.own.state_dir, record)
        except OSError as error:
            self.issue = f"settings that have passed their trial cannot be kept: {error.strerror}"
            return
        self.record, self._trial, self.issue, self._unsaved = record, None, None, False
        ties.effects.settle()
        log.info("settings are kept", order=record.kept.id)
        ties.changed()

    def _fail(self, trial: _Trial, failure: Failure, ties: Ties) -> None:
        order = self.record.newest
        log.warning("settings are rolled back", order=order, reason=failure.code, detail=failure.detail)
        self._take(machine.failed(self.record, failure.code, failure.detail))
        self._back(trial, ties)

    def _back(self, trial: _Trial, ties: Ties) -> None:
        self._trial, self.config = None, trial.before
        ties.effects.take_back(trial.before, trial.keys)
        ties.changed()

    # -- the record ----------------------------------------------------------------------------------------------------

    def _take(self, record: SettingsRecord) -> None:
        """What has failed has failed, also where the disk does not take it now."""
        self.record, self._unsaved = record, True
        self._save()
        if self._ties is not None:
            self._ties.changed()

    def _save(self) -> None:
        with contextlib.suppress(OSError):  # tried again each second
            write_settings(self.own.state_dir, self.record)
            self._unsaved = False

    # -- what is said --------------------------------------------------------------------------------------------------

    def report(self) -> SettingsReport:
        """For the twin, and the command line of the device."""
        return settings_report(self.record, self.own, self.config)


def settings_report(record: SettingsRecord, own: AgentConfig, config: AgentConfig) -> SettingsReport:
    """What a record says, of a device that works by `config`."""
    failed = record.failed if record.trial is None else None
    wanted = failed.overlay if failed is not None else record.overlay
    return SettingsReport(
        record.newest,
        record.outcome,
        failed.code if failed is not None else "",
        failed.detail if failed is not None else "",
        tuple(_differences(wanted.values, record.overlay.values, own, config)),
        own.agent.keeps[: settings.MOST_KEYS],
        settings.NEWEST,
        record.kept.id,
    )


def _differences(
    wanted: dict[str, Any], in_effect: dict[str, Any], own: AgentConfig, config: AgentConfig
) -> Iterator[Difference]:
    for key in sorted({*wanted, *in_effect}):
        should_be = _plain(key, wanted[key]) if key in wanted else value_of(own, key)
        running = value_of(config, key)
        if should_be != running:
            why = KEPT_HERE if settings.is_kept(key, own.agent.keeps) else ""
            said = settings.shown(should_be) if key in wanted else None
            yield Difference(key, said, settings.shown(running) if running is not None else None, why)


def _plain(key: str, value: Any) -> Any:
    """A value with all that it leaves out, to compare it; as it is, where it is none of this key."""
    setting = settings.find(key)
    if setting is None or settings.issue_of(key, value):
        return value
    return msgspec.to_builtins(msgspec.convert(value, setting.kind))


def _keepable(values: dict[str, Any]) -> dict[str, Any]:
    """What is remembered of a refused order: of a value that is none of its key only what is shown of it."""
    return {key: settings.shown(value) if settings.issue_of(key, value) else value for key, value in values.items()}


def _disk_code(error: OSError) -> str:
    return "disk_full" if error.errno in {errno.ENOSPC, errno.EDQUOT} else "disk"
