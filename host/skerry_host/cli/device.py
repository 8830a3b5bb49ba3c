"""`skerry device`: show the state of devices and watch them; who they are is in `device_enrolment` and its like."""

import sys
import time
from typing import TYPE_CHECKING

import click

from skerry_host import dates
from skerry_host.boards import list_boards
from skerry_host.cli.common import (
    ago,
    console,
    emit,
    json_option,
    micros,
    registry,
    safe,
    size,
    styled,
    table,
)
from skerry_host.cli.device_alarms import end_alarms
from skerry_host.cli.device_enrolment import claim, claims_command, provision
from skerry_host.cli.device_history import device_history
from skerry_host.cli.device_moving import move
from skerry_host.cli.device_pending import approve, deny, pending
from skerry_host.cli.device_removal import remove_model
from skerry_host.cli.device_revocation import rename, retag, retire, revoke
from skerry_host.cli.device_row import FIELDS, REPORTED_FIELDS, device_row
from skerry_host.cli.listing import PAGE, ListOptions, Part, Row, list_options, none_yet, part
from skerry_host.cli.plane import connection, known, plane_now
from skerry_host.cli.settings import commands as settings_commands
from skerry_host.cli.settings import summary
from skerry_host.fleet.device import Device
from skerry_host.plane.registry.records import devices
from skerry_host.plane.views.gather import deployments_of, device_views
from skerry_host.plane.views.known import known_by
from skerry_host.plane.views.labels import because, label, transports
from skerry_host.plane.views.plane_state import PlaneView
from skerry_host.plane.views.words import energy, reading

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table
    from sqlalchemy.orm import Session

    from skerry_host.plane.views.upgrades import UpgradeView
    from skerry_host.plane.views.views import DeploymentView, DeviceView, ModelView, Point

MOST_ISSUES = 20
"""So many are shown of what a device says; JSON has all."""


@click.group()
def device() -> None:
    """Provision, approve, list, show, watch and revoke devices."""


for command in (
    device_history,
    end_alarms,
    remove_model,
    provision,
    claim,
    move,
    pending,
    approve,
    deny,
    revoke,
    retire,
    rename,
    retag,
    *settings_commands("device"),
):
    device.add_command(command)
device.add_command(claims_command, "claims")


@device.command()
@json_option
def boards(as_json: bool) -> None:
    """List the boards that are known."""
    names = list_boards()
    emit(names, as_json, lambda: "\n".join(names))


@device.command(name="list")
@list_options(*FIELDS, example="'tag:lab and state=offline'", sort=("seen",))
@click.option("--retired", is_flag=True, help="Those that have left the fleet, in place of those that are in it.")
@json_option
def list_devices(options: ListOptions, retired: bool, as_json: bool) -> None:
    """List devices, by name if nothing else is said, a page at a time; with --json all, each with its newest interval.

    The state in --where is online, offline or unknown, or what a model does: serving, not_serving, fetching, ... A
    device is known by its identity, no_identity, revoked, or awaited while its board has not come.
    """
    most = options.limit or (sys.maxsize if as_json else PAGE)
    with registry() as opened, opened.read() as session:
        plane = plane_now(session)
        enrolled = devices.retired(session) if retired else devices.all_devices(session)
        shown = _some_devices(session, enrolled, options, plane, most)
        views = device_views(session, shown.items, history=1 if as_json else 0)
    emit([known(view, plane) for view in views], as_json, lambda: _listed(views, plane, shown.more("devices"), options))


def _some_devices(
    session: "Session", enrolled: "list[Device]", options: ListOptions, plane: PlaneView, most: int
) -> "Part[Device]":
    """A page of some devices; what they report is read only if something is chosen by it."""
    if not options.uses(*REPORTED_FIELDS):
        return part(enrolled, _enrolled_row, options, most)
    views = {view.id: view for view in device_views(session, enrolled, history=0)}
    return part(enrolled, lambda each: device_row(known(views[each.id], plane)), options, most)


def _enrolled_row(each: Device) -> Row:
    return {"id": each.id, "board": each.board, "tags": tuple(sorted(each.tags))}


def _listed(
    views: "tuple[DeviceView, ...]", plane: PlaneView, more: list[str], options: ListOptions
) -> "RenderableType":
    from rich.console import Group  # noqa: PLC0415

    if not views:
        return none_yet(options, "devices", "`skerry device provision NAME --board B` enrols one")
    return Group(_device_table(views, plane), *more)


@device.command()
@click.argument("name")
@json_option
def show(name: str, as_json: bool) -> None:
    """Show one device: its desired and reported state, newest measurements and deployments."""
    with registry() as opened, opened.read() as session:
        found = devices.find(session, name)
        plane = plane_now(session)
        view = device_views(session, [found])[0]
        past = deployments_of(session, name)
    data = {"device": known(view, plane), "deployments": past, "plane": plane}
    emit(data, as_json, lambda: _card(view, past, plane))


@device.command()
@click.argument("name")
@click.option("--seconds", type=click.FloatRange(1, 3600), default=600.0, help="For how long [600].")
@json_option
def watch(name: str, seconds: float, as_json: bool) -> None:
    """Have a device report every 10 s, and show its reports as they come. Ctrl-C ends it."""
    from skerry_host.cli.device_watch import watch as watch_device  # noqa: PLC0415 - keeps the other commands quick
    from skerry_host.cli.lines import write_json  # noqa: PLC0415

    def answered(detail: str) -> None:
        if not as_json:
            console().print(f"{name}: {safe(detail)}")

    def show_report(view: "DeviceView") -> None:
        if as_json:
            write_json(view, indent=None)
        else:
            console().print("\n".join(_report_lines(view)), soft_wrap=True)

    with registry() as opened:
        watch_device(opened, name, seconds, answered, show_report)


def _report_lines(view: "DeviceView") -> list[str]:
    """A line for each model, and one for what the board measures."""
    lines = [_model_line(model) for model in view.models if model.points]
    samples = ", ".join(
        f"{safe(s.name)} {reading(s.value, safe(s.unit), s.relative_uncertainty)}" for s in view.samples
    )
    return [
        dates.local(view.measured, "%H:%M:%S") if view.measured is not None else dates.NO_DATE,
        *(f"  {line}" for line in lines),
        f"  {samples}",
    ]


def _model_line(model: "ModelView") -> str:
    newest = model.points[-1]
    latency = f"p50 {micros(newest.p50_us)}, p95 {micros(newest.p95_us)}, p99 {micros(newest.p99_us)}"
    rate = f"{newest.inferences_per_s:.1f}/s"
    return (
        f"{safe(newest.release)} ({label(model.condition)}): {rate}, {latency}{_energy(newest, model)}{_errors(model)}"
    )


def _errors(model: "ModelView") -> str:
    """The errors of the newest interval: the model's own, and inputs that no model could answer."""
    errors = f", {model.errors} errors" if model.errors else ""
    return errors + (f", {model.input_errors} bad inputs" if model.input_errors else "")


def _energy(newest: "Point", model: "ModelView") -> str:
    """Energy per inference, where it is known."""
    if newest.energy_uj is None:
        return ""
    return f", {energy(newest.energy_uj, newest.energy_relative_uncertainty)} an inference ({model.energy_source})"


def _device_table(views: "tuple[DeviceView, ...]", plane: PlaneView) -> "Table":
    now = time.time()
    made = table("device", "board", "tags", "state", "release", "known by", "last seen")
    for view in views:
        running = ", ".join(f"{m.release or '-'} ({_state(m)})" for m in view.models) or "-"
        state = styled(*connection(view, plane, now))
        by = known_by(view.known, now)
        made.add_row(view.id, view.board, " ".join(view.tags), state, running, by, ago(view.last_seen, now))
    return made


def _card(view: "DeviceView", past: "tuple[DeploymentView, ...]", plane: PlaneView) -> "RenderableType":
    from rich.console import Group  # noqa: PLC0415

    from skerry_host.cli.terminal import joined  # noqa: PLC0415

    now = time.time()
    seen = f", seen {ago(view.last_seen, now)}"
    head = joined(styled(view.id, "bold"), f"  {view.board}  ", styled(*connection(view, plane, now)), seen)
    return Group(head, *map(safe, _details(view, plane, now)), *map(_past, past))


def _details(view: "DeviceView", plane: PlaneView, now: float) -> list[str]:
    lines = [
        f"known by: {known_by(view.known, now)}",
        f"agent {view.agent or '-'}, runs {', '.join(view.targets)}",
        *_upgrade(view.upgrade),
        f"desired generation {view.generation}, accepted {view.accepted if view.accepted is not None else '-'}",
    ]
    lines += [f"ALARM: {label(alarm.kind)}: {alarm.text}" for alarm in view.alarms]
    if view.measured is not None and not (plane.running and view.is_current(now)):
        lines.append(f"its figures are not of now: they came {ago(view.measured, now)}")
    for model in view.models:
        newest = model.newest
        runs = _with_runtime(model.release, model.runtime)
        before = _with_runtime(model.previous, model.previous_runtime)
        gone = ", its runtime is gone: the base environment's stands in" if model.runtime_gone else ""
        lines.append(f"{model.model}: {safe(runs)} ({_state(model)}{gone}), previous {safe(before)}")
        if newest:
            p50, p95 = micros(newest.p50_us), micros(newest.p95_us)
            rate = f"{newest.inferences_per_s:.1f} inferences/s{_energy(newest, model)}{_errors(model)}"
            lines.append(f"  p50 {p50}, p95 {p95}, {rate}")
    lines += [
        f"{s.name} {reading(s.value, s.unit, s.relative_uncertainty)} ({s.source}: {s.method})" for s in view.samples
    ]
    if view.settings.outcome:
        lines.append(f"settings from afar: {summary(view.settings)}{_differing(view)}")
    lines += [f"issue: {label(issue)}" for issue in view.issues[:MOST_ISSUES]]
    if len(view.issues) > MOST_ISSUES:
        lines.append(f"and {len(view.issues) - MOST_ISSUES} more issues: `skerry device show {view.id} --json`")
    if view.reports_missing:
        dropped = f"{view.outbox_dropped} dropped by the device since its start"
        lines.append(f"telemetry reports: {view.reports_missing} missing, lost or still on the device; {dropped}")
    return lines


def _differing(view: "DeviceView") -> str:
    differ = view.settings.differing
    return f", {differ} differ: `skerry device settings {view.id}`" if differ else ""


def _upgrade(upgrade: "UpgradeView") -> list[str]:
    """Which agent is wanted, which runs, and what became of the latest upgrade; nothing where there never was one."""
    if not upgrade.known:
        return []
    runs = upgrade.runs or "the base environment's"
    wanted = f", {upgrade.wanted} is wanted" if upgrade.wanted else ""
    ended = f"; {upgrade.attempted} {label(upgrade.outcome or upgrade.state)}" if upgrade.attempted else ""
    why = f": {because(upgrade.reason, upgrade.detail)}" if upgrade.reason or upgrade.detail else ""
    return [f"  agent release: {runs}{wanted}{ended}{why}"]


def _with_runtime(release: str | None, runtime: str) -> str:
    return f"{release} with runtime {runtime}" if release and runtime else release or "-"


def _state(model: "ModelView") -> str:
    state = label(model.condition)
    if model.diverged:
        return f"{state}, desired: {model.desired}"
    what = f"{model.attempted} with another runtime" if model.attempted_runtime else model.attempted
    return f"{state}; {what} {label(model.outcome or '')}" if model.missed else state


def _past(d: "DeploymentView") -> str:
    result = ": ".join(filter(None, (label(d.outcome or d.state), label(d.reason))))
    transfer = " ".join(filter(None, (d.transfer, size(d.bytes_received))))
    by = transports(d.transports)
    return safe(f"{_with_runtime(d.release, d.runtime)} {result} ({transfer}{f' by {by}' if by else ''})")
