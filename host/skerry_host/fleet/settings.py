"""Settings from afar as a person writes them, `KEY=VALUE`, checked before anything is signed. Pure.

Which keys there are, and which values they take, says `skerry_agent.wire.settings`; devices go by the same table.
"""

import contextlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from skerry_agent.wire import settings
from skerry_agent.wire.twin import Desired, Reported
from skerry_host.fleet.errors import FleetError
from skerry_host.nearest import did_you_mean

WORDS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}


class SettingsError(FleetError):
    """What cannot be set: the user's mistake. `code` says whether it is the key or the value."""

    code = "settings"
    exit_code = 2


@dataclass(frozen=True, slots=True)
class Change:
    """What is to be set, and what is to be agent.toml's again."""

    values: dict[str, Any] = field(default_factory=dict)
    unset: tuple[str, ...] = ()

    @property
    def keys(self) -> tuple[str, ...]:
        """All of them."""
        return (*self.values, *self.unset)

    @property
    def words(self) -> str:
        """As a person has written it, without passwords."""
        said = [f"{key}={settings.shown(value)}" for key, value in self.values.items()]
        return ", ".join([*said, *(f"{key} unset" for key in self.unset)])


def parse_change(assignments: Iterable[str], whom: str, models: Iterable[str] = ()) -> Change:
    """What `KEY=VALUE` words set. Raises `SettingsError` with everything that is wrong.

    `whom` says who would not know a key, for instance "device lab-1 does not know".
    `models` are those of the devices, to say what a mistyped key may have meant.
    """
    values: dict[str, Any] = {}
    issues: list[str] = []
    for text in assignments:
        key, equals, value = text.partition("=")
        if not equals:
            raise SettingsError(f"{text!r} sets nothing", hint="write KEY=VALUE, for instance telemetry_interval_s=30")
        if key in values:
            issues.append(f"{key} is given twice")
        if settings.find(key) is not None:
            values[key] = _value(key, value)
    require_known([text.partition("=")[0] for text in assignments], whom, models)
    issues += settings.issues_of(values)
    if issues:
        raise SettingsError("; ".join(issues), hint="docs/settings.md lists what each setting takes", code="bad_value")
    return Change(values)


def require_known(keys: Sequence[str], whom: str, models: Iterable[str] = ()) -> None:
    """Raises `SettingsError` for keys that no device knows."""
    known = [*settings.keys_for([*models, "MODEL"])]
    unknown = [f"{key!r}{did_you_mean(key, known)}" for key in keys if settings.find(key) is None]
    if unknown:
        hint = "docs/settings.md lists them; what else is in agent.toml can only be set on the device"
        raise SettingsError(f"{whom} the setting {', '.join(unknown)}", hint=hint, code="unknown_setting")


def merged(before: dict[str, Any], change: Change) -> dict[str, Any]:
    """All that is set after a change. Raises `SettingsError` where that is too much, or a key to unset is not set."""
    missing = [key for key in change.unset if key not in before]
    if missing:
        there = ", ".join(sorted(before)) or "nothing"
        raise SettingsError(f"{', '.join(missing)} is not set there", hint=f"set is {there}", code="not_set")
    left = {key: value for key, value in before.items() if key not in change.unset}
    values = dict(sorted({**left, **change.values}.items()))
    issues = settings.issues_of(values)
    if issues:
        raise SettingsError("; ".join(issues), hint="unset what is not needed", code="bad_value")
    return values


def require_able(change: Change, reported: Reported | None, desired: Desired | None) -> None:
    """Raises `FleetError` where a device could not take a change, by what it last said of itself."""
    if reported is None:
        return
    if reported.settings is None:
        hint = "install a newer skerry-agent on it"
        raise FleetError(f"its agent {reported.agent} knows no settings", hint=hint, code="settings_unknown")
    newer = [key for key in change.values if _since(key) > reported.settings.schema]
    if newer:
        hint = "install a newer skerry-agent on it"
        raise FleetError(f"its agent {reported.agent} does not know {', '.join(newer)}", hint=hint, code="key_unknown")
    there = {*reported.models, *(each.model for each in (desired.assignments if desired else ()))}
    foreign = sorted({settings.split(key)[0] for key in change.values} - {""} - there)
    if foreign:
        hint = f"it has {', '.join(sorted(there)) or 'no model yet'}"
        raise FleetError(f"it has no model {', '.join(foreign)}", hint=hint, code="no_model")


def _since(key: str) -> int:
    setting = settings.find(key)
    return setting.since if setting is not None else 0


def _value(key: str, text: str) -> Any:
    """What a text stands for: what the key takes of a number, a truth, JSON and the text itself."""
    readings = [*_readings(text)]
    return next((each for each in readings if not settings.issue_of(key, each)), readings[0])


def _readings(text: str) -> Iterable[Any]:
    if text.lower() in WORDS:
        yield WORDS[text.lower()]
    with contextlib.suppress(ValueError, RecursionError):
        yield json.loads(text, parse_constant=str)
    yield text
