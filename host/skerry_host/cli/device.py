"""`skerry device`: enrol devices, show their state and watch them."""

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from skerry_host.boards import list_boards, load_board
from skerry_host.cli.common import (
    after_option,
    ago,
    console,
    emit,
    json_option,
    micros,
    registry,
    safe,
    size,
    table,
    warn,
)
from skerry_host.cli.device_history import device_history
from skerry_host.fleet.device import Device
from skerry_host.home import open_home
from skerry_host.plane import provision as provisioning
from skerry_host.plane.broker.listening import only_this_machine, without_password
from skerry_host.plane.registry.records import devices
from skerry_host.plane.views.gather import deployments_of, device_views
from skerry_host.plane.views.labels import label, transports
from skerry_host.plane.views.words import energy, reading

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

    from skerry_host.plane.views.views import DeploymentView, DeviceView, ModelView, Point, SampleView


TABLE_ROWS = 100
"""Devices of one table, unless it is said otherwise: a table of thousands takes seconds to lay out."""


@click.group()
def device() -> None:
    """Provision, list, show and watch devices."""


device.add_command(device_history)


@device.command()
@click.argument("name")
@click.option("--board", required=True, help="The device's board; `skerry device boards` lists them.")
@click.option("--tag", "tags", multiple=True, help="A tag to select it by; may be given several times.")
@click.option("--broker", metavar="URL", help="The broker's address for the device [that of `skerry serve`].")
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), help="The folder to write [HOME/devices/NAME]."
)
@json_option
def provision(
    name: str, board: str, tags: tuple[str, ...], broker: str | None, out: Path | None, as_json: bool
) -> None:
    """Enrol a device and write its configuration: agent.toml and trust.json."""
    provisioning.check_id(name)
    home = open_home()
    hardware = load_board(board)
    enrolled = Device(name, hardware.name, frozenset(map(provisioning.check_tag, tags)), hardware.targets)
    folder = out or home.devices / name
    url = broker or provisioning.broker_of(home)
    with registry(home) as opened, opened.write() as session:
        devices.add(session, enrolled, time.time())
        provisioning.write_folder(home, folder, name, hardware, url)
    install = provisioning.install_command(hardware)
    shown = without_password(url)
    data = {"id": name, "board": board, "tags": sorted(tags), "folder": str(folder), "broker": shown}
    emit(data | {"install": install}, as_json, lambda: _provisioned(name, folder, shown, install))
    if only_this_machine(url):
        words = "only this machine can call that; for devices elsewhere run `skerry serve --listen auto` first, or give"
        warn([f"{folder}/agent.toml says that the broker is at {shown}: {words} --broker"])


def _provisioned(name: str, folder: Path, broker: str, install: str) -> str:
    """What to do next, each with the values filled in."""
    return "\n".join(
        [
            f"device {name} is enrolled; it calls {broker}; its configuration is {folder}",
            f"here:       skerry-agent run --config {folder}/agent.toml",
            f"elsewhere:  copy that folder, then: {safe(install)} && skerry-agent run --config {name}/agent.toml",
        ]
    )


@device.command()
@json_option
def boards(as_json: bool) -> None:
    """List the boards that are known."""
    names = list_boards()
    emit(names, as_json, lambda: "\n".join(names))


@device.command(name="list")
@click.option("--where", default="all", metavar="EXPR", help="Which ones, for instance tag:lab [all].")
@click.option(
    "--limit", type=click.IntRange(min=1), metavar="N", help="How many at most [100; with --json all of them]."
)
@after_option
@json_option
def list_devices(where: str, limit: int | None, after: str, as_json: bool) -> None:
    """List devices by name, a page at a time; with --json all, each with its newest interval."""
    most = limit or (sys.maxsize if as_json else TABLE_ROWS)
    with registry() as opened, opened.read() as session:
        found = [each for each in devices.members(session, where) if each.id > after]
        views = device_views(session, found[:most], history=1 if as_json else 0)
    emit(views, as_json, lambda: _listed(views, len(found)))


def _listed(views: "tuple[DeviceView, ...]", found: int) -> "RenderableType":
    from rich.console import Group  # noqa: PLC0415

    if not views:
        return "no devices: `skerry device provision NAME --board B` enrols one"
    rest = found - len(views)
    more = [f"{rest} more devices: --after {views[-1].id}, or --limit {found}"] if rest else []
    return Group(_device_table(views), *more)


@device.command()
@click.argument("name")
@json_option
def show(name: str, as_json: bool) -> None:
    """Show one device: its desired and reported state, newest measurements and deployments."""
    with registry() as opened, opened.read() as session:
        view = device_views(session, [devices.find(session, name)])[0]
        past = deployments_of(session, name)
    emit({"device": view, "deployments": past}, as_json, lambda: _card(view, past))


@device.command()
@click.argument("name")
@click.option("--seconds", type=click.FloatRange(1, 3600), default=600.0, help="For how long [600].")
@json_option
def watch(name: str, seconds: float, as_json: bool) -> None:
    """Have a device report every 10 s, and show its reports as they come. Ctrl-C ends it."""
    from skerry_host.cli.device_watch import watch as watch_device  # noqa: PLC0415 - keeps the other commands quick

    def answered(detail: str) -> None:
        if not as_json:
            console().print(f"{name}: {safe(detail)}")

    def show_report(view: "DeviceView") -> None:
        if as_json:
            click.echo(msgspec.json.encode(view))
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
        f"[bold]{time.strftime('%H:%M:%S', time.localtime(view.measured))}[/]",
        *(f"  {line}" for line in lines),
        f"  {samples}",
    ]


def _model_line(model: "ModelView") -> str:
    newest = model.points[-1]
    latency = f"p50 {micros(newest.p50_us)}, p95 {micros(newest.p95_us)}, p99 {micros(newest.p99_us)}"
    errors = _energy(newest, model) + (f", {model.errors} errors" if model.errors else "")
    errors += f", {model.input_errors} bad inputs" if model.input_errors else ""
    rate = f"{newest.inferences_per_s:.1f}/s"
    return f"{safe(newest.release)} ({label(model.state)}): {rate}, {latency}{errors}"


def _reading(sample: "SampleView") -> str:
    return f"{safe(sample.name)} {reading(sample.value, safe(sample.unit), sample.relative_uncertainty)}"


def _energy(newest: "Point", model: "ModelView") -> str:
    """Energy per inference, where it is known."""
    if newest.energy_uj is None:
        return ""
    return f", {energy(newest.energy_uj, newest.energy_relative_uncertainty)} an inference ({model.energy_source})"


def _device_table(views: "tuple[DeviceView, ...]") -> "Table":
    made = table("device", "board", "tags", "state", "release", "last seen")
    for view in views:
        running = ", ".join(f"{m.release or '-'} ({_state(m)})" for m in view.models) or "-"
        made.add_row(view.id, view.board, " ".join(view.tags), _online(view), running, ago(view.last_seen))
    return made


def _card(view: "DeviceView", past: "tuple[DeploymentView, ...]") -> str:
    lines = [
        f"[bold]{view.id}[/]  {view.board}  {_online(view)}, seen {ago(view.last_seen)}",
        f"agent {safe(view.agent or '-')}, runs {', '.join(view.targets)}",
        f"desired generation {view.generation}, accepted {view.accepted if view.accepted is not None else '-'}",
    ]
    if view.measured is not None and not view.is_current(time.time()):
        lines.append(f"its figures are not of now: they came {ago(view.measured)}")
    for model in view.models:
        newest = model.newest
        lines.append(f"{safe(model.model)}: {model.release or '-'} ({_state(model)}), previous {model.previous or '-'}")
        if newest:
            p50, p95 = micros(newest.p50_us), micros(newest.p95_us)
            rate = f"{newest.inferences_per_s:.1f} inferences/s{_energy(newest, model)}"
            lines.append(f"  p50 {p50}, p95 {p95}, {rate}")
    lines += [
        f"{safe(s.name)} {reading(s.value, safe(s.unit), s.relative_uncertainty)} ({s.source}: {safe(s.method)})"
        for s in view.samples
    ]
    lines += [f"issue: {safe(label(issue))}" for issue in view.issues]
    if view.reports_missing:
        dropped = f"{view.outbox_dropped} dropped by the device since its start"
        lines.append(f"telemetry reports: {view.reports_missing} missing, lost or still on the device; {dropped}")
    lines += [_past(d) for d in past]
    return "\n".join(lines)


def _state(model: "ModelView") -> str:
    return f"{label(model.state)}, desired: {model.desired}" if model.diverged else label(model.state)


def _past(d: "DeploymentView") -> str:
    result = ": ".join(filter(None, (label(d.outcome or d.state), label(d.reason))))
    transfer = " ".join(filter(None, (d.transfer, size(d.bytes_received))))
    by = transports(d.transports)
    return safe(f"{d.release} {result} ({transfer}{f' by {by}' if by else ''})")


def _online(view: "DeviceView") -> str:
    return "[green]online[/]" if view.online else "[red]offline[/]"
