"""`skerry device|group set | unset | settings`: what is set on devices from afar, and what became of it."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from zoneinfo import available_timezones

import click

from skerry_agent.wire.settings import DEFAULT_TRIAL_S, LEAST_TRIAL_S, MOST_TRIAL_S
from skerry_host.cli.chosen import EXIT_STATUS, Chosen, chosen_devices, of_all, refused_lines
from skerry_host.cli.common import ago, emit, json_option, registry, safe, styled, table
from skerry_host.cli.plane import PlaneWatcher, plane_now
from skerry_host.fleet.settings import Change, SettingsError, parse_change, require_known
from skerry_host.nearest import did_you_mean
from skerry_host.plane.registry.records import devices, twins
from skerry_host.plane.rollouts.settings import Ordered, SettingsRequest, order_settings
from skerry_host.plane.views.gather import device_views
from skerry_host.plane.views.labels import because, label

if TYPE_CHECKING:
    from rich.console import RenderableType
    from sqlalchemy.orm import Session

    from skerry_host.fleet.several import Several
    from skerry_host.plane.registry.database import Registry
    from skerry_host.plane.views.settings import SettingsView
    from skerry_host.plane.views.views import DeviceView

POLL_S = 0.3
GRACE_S = 60.0
"""How long after the time of a trial a device is waited for: it says what became of it once it is back."""

ENDED = frozenset({"kept", "rolled_back", "refused"})

trial_option = click.option(
    "--trial",
    "trial_s",
    type=click.FloatRange(LEAST_TRIAL_S, MOST_TRIAL_S),
    default=DEFAULT_TRIAL_S,
    metavar="SECONDS",
    help=f"How long a device may take to show itself healthy [{DEFAULT_TRIAL_S:g}].",
)
wait_option = click.option(
    "--wait", is_flag=True, help="Wait until it is kept or rolled back; exit 1 unless it is kept."
)


@dataclass(frozen=True, slots=True)
class Asked:
    """What a command line asks for, of whom."""

    group: str | None
    names: tuple[str, ...]
    trial_s: float
    wait: bool
    as_json: bool

    @property
    def nobody(self) -> str:
        """Who would not know a setting, where there is one."""
        return f"device {self.names[0]} does not know" if self.names else f"no device of group {self.group} knows"


def commands(kind: str) -> list[click.Command]:
    """`set`, `unset` and `settings` for a `device` or a `group`."""

    def asked(name: str, trial_s: float, wait: bool, as_json: bool) -> Asked:
        of_group = kind == "group"
        return Asked(name if of_group else None, () if of_group else (name,), trial_s, wait, as_json)

    @click.command("set", epilog=EXIT_STATUS)
    @click.argument("name", metavar=kind.upper())
    @click.argument("assignments", metavar="KEY=VALUE...", nargs=-1, required=True)
    @trial_option
    @wait_option
    @json_option
    def set_command(name: str, assignments: tuple[str, ...], trial_s: float, wait: bool, as_json: bool) -> int:
        """Set something in the place of agent.toml's, for instance telemetry_interval_s=30 (docs/settings.md).

        All of it together is signed, checked by the device and tried; what is not healthy under it goes back by itself.
        """
        request = asked(name, trial_s, wait, as_json)
        return _order(request, lambda models, nobody: parse_change(assignments, nobody, models))

    @click.command("unset", epilog=EXIT_STATUS)
    @click.argument("name", metavar=kind.upper())
    @click.argument("keys", metavar="KEY...", nargs=-1, required=True)
    @trial_option
    @wait_option
    @json_option
    def unset_command(name: str, keys: tuple[str, ...], trial_s: float, wait: bool, as_json: bool) -> int:
        """Let something be as agent.toml has it again. It is tried as what is set is."""

        def change(models: set[str], nobody: str) -> Change:
            require_known(keys, nobody, models)
            return Change(unset=tuple(dict.fromkeys(keys)))

        return _order(asked(name, trial_s, wait, as_json), change)

    @click.command("settings")
    @click.argument("name", metavar=kind.upper())
    @json_option
    def settings_command(name: str, as_json: bool) -> None:
        """Show what is set from afar, what is in effect, and where the two differ."""
        request = asked(name, DEFAULT_TRIAL_S, wait=False, as_json=as_json)
        with registry() as opened, opened.read() as session:
            plane_now(session)
            found = [devices.find(session, name)] if kind == "device" else _chosen(session, request).devices
            views = device_views(session, found, history=0)
        data: Any = [{"device": view.id, "settings": view.settings} for view in views]
        shown = (lambda: _card(views[0])) if kind == "device" else (lambda: _listed(views))
        emit(data[0] if kind == "device" else data, as_json, shown)

    return [set_command, unset_command, settings_command]


def _chosen(session: "Session", asked: Asked) -> Chosen:
    return chosen_devices(session, asked.group, asked.names)


def _order(asked: Asked, change_for: Callable[[set[str], str], Change]) -> int:
    with registry() as opened:
        with opened.write() as session:
            chosen = _chosen(session, asked)
            nobody = asked.nobody.replace("no device of", f"none of the {len(chosen.devices)} devices of")
            change = change_for(_models(session, chosen), nobody)
            _require_time_zone(change)
            _require_devices(chosen)
            request = SettingsRequest(change, chosen.devices, asked.trial_s, chosen.refused)
            ordered = order_settings(session, request, time.time())
            plane = None if asked.wait else plane_now(session)
        views = _ended(opened, ordered, asked.trial_s) if asked.wait else []
    if asked.wait:
        data: Any = [{"device": view.id, "settings": view.settings} for view in views]
        emit({"devices": data, "refused": ordered.refused}, asked.as_json, lambda: _listed(views))
        return ordered.exit_code if all(view.settings.outcome == "kept" for view in views) else 1
    orders = [{"device": name, "order": each.id, "kept_here": each.kept_here} for name, each in ordered.done.items()]
    data = {"set": change.values, "unset": change.unset, "orders": orders, "refused": ordered.refused, "plane": plane}
    emit(data, asked.as_json, lambda: "\n".join(_ordered_lines(change, chosen, ordered)))
    return ordered.exit_code


def _require_time_zone(change: Change) -> None:
    """One that this machine does not know is mistyped, where it knows any."""
    name = change.values.get("time_zone")
    known = available_timezones() if name is not None else set()
    if name is not None and known and name not in known:
        near = did_you_mean(name, known) or did_you_mean(name.title(), known)
        raise SettingsError(f"time_zone: there is no {name!r}{near}", code="bad_value")


def _require_devices(chosen: Chosen) -> None:
    if not chosen.devices and not chosen.refused:
        raise SettingsError(f"{chosen.selection} selects no devices", code="no_devices")


def _models(session: "Session", chosen: Chosen) -> set[str]:
    """Those that any of the devices has."""
    known = twins.of(session, [device.id for device in chosen.devices])
    return {model for twin in known.values() if twin.reported is not None for model in twin.reported.models}


def _ordered_lines(change: Change, chosen: Chosen, ordered: "Several[Ordered]") -> list[str]:
    head = f"{change.words} ordered for {of_all(ordered)} ({chosen.selection})"
    kept = [
        f"{name} keeps {', '.join(each.kept_here)} for itself (agent.toml)"
        for name, each in ordered.done.items()
        if each.kept_here
    ]
    return [safe(line) for line in (head, *kept, *refused_lines("not ordered for", ordered.refused))]


def _ended(opened: "Registry", ordered: "Several[Ordered]", trial_s: float) -> "Sequence[DeviceView]":
    """The devices once each has kept the order or not, or time is over; one that was ordered anew has ended, too."""
    watcher, ends = PlaneWatcher(opened), time.monotonic() + trial_s + GRACE_S
    seen: dict[str, DeviceView] = {}
    waiting = list(ordered.done)
    while waiting:
        watcher.look()
        began = time.monotonic()
        with opened.read() as session:
            views = device_views(session, [devices.find(session, name) for name in waiting], history=0)
        seen |= {view.id: view for view in views}
        waiting = [view.id for view in views if _is_open(view.settings, ordered.done[view.id])]
        if time.monotonic() > ends:
            break
        time.sleep(max(POLL_S, time.monotonic() - began) if waiting else 0.0)
    return [seen[name] for name in ordered.done]


def _is_open(found: "SettingsView", order: Ordered) -> bool:
    return found.order == order.id and found.outcome not in ENDED


def _card(view: "DeviceView") -> "RenderableType":
    from rich.console import Group  # noqa: PLC0415

    found = view.settings
    head = [f"device {view.id}: {summary(found)}"]
    if found.keeps:
        head.append(f"agent.toml keeps for itself: {', '.join(found.keeps)}")
    if not found.lines:
        return "\n".join(map(safe, head))
    made = table("setting", "wanted", "running", "difference")
    for line in found.lines:
        why = label(line.why) if line.why else "differs"
        difference = styled(why, "yellow") if line.differs else "-"
        made.add_row(line.key, line.wanted or "agent.toml's", line.running or "unknown", difference)
    return Group(*map(safe, head), made)


def _listed(views: "Sequence[DeviceView]") -> "RenderableType":
    made = table("device", "settings", ">set", ">differ", "ordered", "why")
    now = time.time()
    for view in views:
        found = view.settings
        when = ago(found.ordered, now) if found.ordered is not None else "-"
        wanted = sum(line.wanted is not None for line in found.lines)
        made.add_row(view.id, _word(found), str(wanted), str(found.differing), when, because(found.code, found.detail))
    return made


def summary(found: "SettingsView") -> str:
    """How the newest order stands, with why."""
    if not found.outcome:
        return "its agent knows no settings" if found.knows is False else "nothing is set from afar"
    why = because(found.code, found.detail)
    return f"{_word(found)}{f': {why}' if why else ''}"


def _word(found: "SettingsView") -> str:
    if not found.outcome:
        return "unknown to its agent" if found.knows is False else "none"
    return "ordered, not sent yet" if found.outcome == "waiting" else label(found.outcome)
