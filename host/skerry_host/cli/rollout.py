"""`skerry rollout`: move devices to a release, and what became of it."""

import re
import time
from typing import TYPE_CHECKING, Any

import click

from skerry_agent.wire.twin import Fallback, TransferPolicy
from skerry_host.cli.chosen import chosen_devices
from skerry_host.cli.common import ago, console, emit, emit_json, json_option, registry, safe, size, table
from skerry_host.cli.watch import watch
from skerry_host.fleet.policy import Policy
from skerry_host.fleet.rollout import ENDED
from skerry_host.home import open_home
from skerry_host.plane.registry.records import rollouts
from skerry_host.plane.rollouts import intake
from skerry_host.plane.rollouts.forecast import Forecast, forecast
from skerry_host.plane.views.gather import rollout_view
from skerry_host.release.store import Store

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table

    from skerry_host.plane.registry.database import Registry
    from skerry_host.plane.views.views import DeploymentView, RolloutView

POLL_S = 0.2


def _hours(_context: click.Context, _option: click.Parameter, text: str | None) -> tuple[int, int] | None:
    """`22:00-05:30` as minutes after midnight."""
    if text is None:
        return None
    matched = re.fullmatch(r"([01]?\d|2[0-3]):([0-5]\d)-([01]?\d|2[0-3]):([0-5]\d)", text)
    if matched is None or matched.group(1, 2) == matched.group(3, 4):
        raise click.BadParameter(f"{text!r} is no window of hours; write for instance 22:00-05:30")
    start_hour, start_minute, end_hour, end_minute = map(int, matched.groups())
    return 60 * start_hour + start_minute, 60 * end_hour + end_minute


@click.group()
def rollout() -> None:
    """Move devices to a release."""


@rollout.command()
@click.argument("release")
@click.option("--group", help="A group's devices.")
@click.option("--device", "names", multiple=True, help="One device; may be given several times.")
@click.option("--deadline", type=click.FloatRange(min=1), default=3600.0, help="Seconds that a device may take.")
@click.option(
    "--silence", type=click.FloatRange(min=1), help="Seconds without a word until it is timed out [deadline]."
)
@click.option("--full-fallback", type=click.Choice(["always", "unmetered", "never"]), default="always")
@click.option("--byte-budget", type=click.IntRange(min=1), help="Bytes that a device may receive for it.")
@click.option("--hours", callback=_hours, metavar="HH:MM-HH:MM", help="When devices may fetch, by their own clocks.")
@click.option("--max-unsuccessful", type=click.FloatRange(0, 1), default=0.0, help="Share that may end otherwise.")
@click.option("--wait", is_flag=True, help="Wait until it has ended; exit 1 unless it succeeded.")
@json_option
def start(release: str, group: str | None, names: tuple[str, ...], wait: bool, as_json: bool, **limits: Any) -> int:
    """Move devices to RELEASE (model@version)."""
    home = open_home()
    manifest = Store(home.store).release(release)
    with registry(home) as opened:
        with opened.write() as session:
            chosen, selection = chosen_devices(session, group, names)
            wish = intake.Wish(manifest, chosen, selection, _policy(**limits))
            started = intake.start_rollout(session, wish, time.time())
        if not wait:
            data = {"rollout": started, "release": release, "devices": [d.id for d in chosen]}
            emit(data, as_json, lambda: f"rollout {started}: {release} to {len(chosen)} devices ({selection})")
            return 0
        view = _ended(opened, started)
    emit(view, as_json, lambda: _shown(view))
    return 0 if view.state == "succeeded" else 1


@rollout.command()
@click.argument("release")
@click.option("--group", help="A group's devices.")
@click.option("--device", "names", multiple=True, help="One device; may be given several times.")
@json_option
def plan(release: str, group: str | None, names: tuple[str, ...], as_json: bool) -> None:
    """Show what RELEASE would cost each device in bytes, and by which path; starts nothing."""
    store = Store(open_home().store)
    manifest = store.release(release)
    with registry() as opened, opened.read() as session:
        chosen, _ = chosen_devices(session, group, names)
        rows = forecast(session, store, manifest, chosen)
    emit(rows, as_json, lambda: _planned(rows))


def _planned(rows: "list[Forecast]") -> "Table":
    made = table("device", "target", "runs", "path", ">bytes", ">of full")
    for row in rows:
        share = f"{row.bytes_expected / row.full_bytes:.1%}"
        made.add_row(row.device, row.target, row.holds or "-", row.path, size(row.bytes_expected), share)
    total, full = sum(row.bytes_expected for row in rows), sum(row.full_bytes for row in rows)
    made.add_section()
    made.add_row(f"{len(rows)} devices", "", "", "", size(total), f"{total / full:.1%}" if full else "-")
    return made


@rollout.command()
@click.argument("rollout_id", required=False)
@click.option("--watch", "watched", is_flag=True, help="Show how it goes on until it has ended.")
@json_option
def status(rollout_id: str | None, watched: bool, as_json: bool) -> None:
    """One rollout device by device, or all in short."""
    if watched:
        _watch(rollout_id, as_json)
        return
    with registry() as opened, opened.read() as session:
        if rollout_id is not None:
            view = rollout_view(session, rollouts.find(session, rollout_id))
            emit(view, as_json, lambda: _shown(view))
            return
        views = [rollout_view(session, row) for row in rollouts.latest(session)]
    if as_json:
        emit_json(views)
        return
    made = table("rollout", "release", "devices", "state", "outcome", "started")
    for view in views:
        made.add_row(view.id, view.release, view.selection, view.state, view.reason, ago(view.created))
    emit(views, False, lambda: made if views else "no rollouts yet: `skerry rollout start RELEASE --group G`")


def _watch(rollout_id: str | None, as_json: bool) -> None:
    if rollout_id is None or as_json:
        raise click.UsageError("--watch shows one rollout in a terminal: name it, and leave --json out")
    with registry() as opened:
        view = watch(opened, rollout_id, console())
    console().print(_shown(view))


@rollout.command()
@click.argument("rollout_id")
@json_option
def abort(rollout_id: str, as_json: bool) -> None:
    """End a rollout: open deployments are cancelled, their devices stay with what they had."""
    with registry() as opened, opened.write() as session:
        whole = intake.abort_rollout(session, rollout_id, time.time())
    emit({"rollout": whole, "state": "aborting"}, as_json, lambda: f"rollout {whole} is being aborted")


def _policy(
    deadline: float,
    silence: float | None,
    full_fallback: Fallback,
    byte_budget: int | None,
    hours: tuple[int, int] | None,
    max_unsuccessful: float,
) -> Policy:
    transfer = TransferPolicy(full_fallback, byte_budget, deadline, hours)
    return Policy(transfer, silence or deadline, max_unsuccessful)


def _ended(opened: "Registry", rollout_id: str) -> "RolloutView":
    """Wait until a rollout has ended."""
    while True:
        with opened.read() as session:
            view = rollout_view(session, rollouts.find(session, rollout_id))
        if view.state in ENDED:
            return view
        time.sleep(POLL_S)


def _shown(view: "RolloutView") -> "Group":
    from rich.console import Group  # noqa: PLC0415

    made = table("device", "state", "outcome", "transfer", ">bytes", ">of full", ">seconds", "reason")
    for row in view.deployments:
        made.add_row(*_cells(row))
    return Group(f"{view.id}  {view.release} for {view.selection}: [bold]{view.state}[/] {safe(view.reason)}", made)


def _cells(row: "DeploymentView") -> tuple[str, ...]:
    share = f"{row.bytes_received / row.full_bytes:.0%}" if row.full_bytes and row.bytes_received else ""
    colour = {"succeeded": "green", None: "cyan"}.get(row.outcome, "red")
    outcome = f"[{colour}]{row.outcome or ''}[/]"
    why = safe(": ".join(filter(None, (row.reason, row.detail))))
    return (
        row.device,
        row.state,
        outcome,
        f"{row.transfer or ''} {safe(row.ways)}".strip(),
        size(row.bytes_received),
        share,
        f"{row.seconds:.1f}",
        why,
    )
