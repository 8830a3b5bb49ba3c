"""`skerry rollout`: plan, start, watch and abort rollouts."""

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
from skerry_host.plane.views.gather import ROLLOUT_PAGE, rollout_view
from skerry_host.plane.views.labels import because, label, transports
from skerry_host.release.store import Store

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table

    from skerry_host.plane.registry.database import Registry
    from skerry_host.plane.views.views import DeploymentView, RolloutView

TABLE_ROWS = 100
"""Deployments of one table; those that did not succeed come into it first."""

POLL_S = 0.2


def _hours(_context: click.Context, _option: click.Parameter, text: str | None) -> tuple[int, int] | None:
    """`22:00-05:30` in minutes after midnight."""
    if text is None:
        return None
    matched = re.fullmatch(r"([01]?\d|2[0-3]):([0-5]\d)-([01]?\d|2[0-3]):([0-5]\d)", text)
    if matched is None or matched.group(1, 2) == matched.group(3, 4):
        raise click.BadParameter(f"{text!r} is not a time window; write for instance 22:00-05:30")
    start_hour, start_minute, end_hour, end_minute = map(int, matched.groups())
    return 60 * start_hour + start_minute, 60 * end_hour + end_minute


@click.group()
def rollout() -> None:
    """Roll out releases to devices: plan, start, watch, abort."""


@rollout.command()
@click.argument("release")
@click.option("--group", help="The devices of a group.")
@click.option("--device", "names", multiple=True, help="A device; may be given several times.")
@click.option("--deadline", type=click.FloatRange(min=1), default=3600.0, help="Seconds that a device may take [3600].")
@click.option(
    "--silence",
    type=click.FloatRange(min=1),
    help="Seconds without a report after which a device counts as timed out [the deadline].",
)
@click.option(
    "--full-fallback",
    type=click.Choice(["always", "unmetered", "never"]),
    default="always",
    help="Whether devices may download the full file where no patch fits [always].",
)
@click.option("--byte-budget", type=click.IntRange(min=1), help="Maximum number of bytes that a device may download.")
@click.option("--hours", callback=_hours, metavar="HH:MM-HH:MM", help="When devices may download, in their local time.")
@click.option(
    "--max-unsuccessful",
    type=click.FloatRange(0, 1),
    default=0.0,
    help="Maximum fraction of devices that may fail, from 0 to 1 [0].",
)
@click.option("--wait", is_flag=True, help="Wait until the rollout has ended; exit 1 unless it succeeded.")
@json_option
def start(release: str, group: str | None, names: tuple[str, ...], wait: bool, as_json: bool, **limits: Any) -> int:
    """Start a rollout of RELEASE (model@version) to a group or to single devices."""
    home = open_home()
    manifest = Store(home.store).release(release)
    with registry(home) as opened:
        with opened.write() as session:
            chosen, selection = chosen_devices(session, group, names)
            request = intake.RolloutRequest(manifest, chosen, selection, _policy(**limits))
            started = intake.start_rollout(session, request, time.time())
        if not wait:
            data = {"rollout": started, "release": release, "devices": [d.id for d in chosen]}
            emit(data, as_json, lambda: f"rollout {started}: {release} to {len(chosen)} devices ({selection})")
            return 0
        view = _ended(opened, started)
    emit(view, as_json, lambda: _shown(view))
    return 0 if view.state == "succeeded" else 1


@rollout.command()
@click.argument("release")
@click.option("--group", help="The devices of a group.")
@click.option("--device", "names", multiple=True, help="A device; may be given several times.")
@json_option
def plan(release: str, group: str | None, names: tuple[str, ...], as_json: bool) -> None:
    """Show how many bytes each device would download for RELEASE, by patch or in full; starts nothing."""
    store = Store(open_home().store)
    manifest = store.release(release)
    with registry() as opened, opened.read() as session:
        chosen, _ = chosen_devices(session, group, names)
        rows = forecast(session, store, manifest, chosen)
    emit(rows, as_json, lambda: _planned(rows))


def _planned(rows: "list[Forecast]") -> "Table":
    made = table("device", "target", "runs", "transfer", ">bytes", ">of full")
    for row in rows:
        share = f"{row.bytes_expected / row.full_bytes:.1%}"
        made.add_row(row.device, row.target, row.holds or "-", row.path, size(row.bytes_expected), share)
    total, full = sum(row.bytes_expected for row in rows), sum(row.full_bytes for row in rows)
    made.add_section()
    made.add_row(f"{len(rows)} devices", "", "", "", size(total), f"{total / full:.1%}" if full else "-")
    return made


@rollout.command()
@click.argument("rollout_id", required=False)
@click.option("--watch", "watched", is_flag=True, help="Show the progress until the rollout has ended.")
@json_option
def status(rollout_id: str | None, watched: bool, as_json: bool) -> None:
    """Show one rollout device by device, or a list of the newest."""
    if watched:
        _watch(rollout_id, as_json)
        return
    with registry() as opened, opened.read() as session:
        if rollout_id is not None:
            view = rollout_view(session, rollouts.find(session, rollout_id))
            emit(view, as_json, lambda: _shown(view))
            return
        views = [rollout_view(session, row, ROLLOUT_PAGE) for row in rollouts.latest(session)]
    if as_json:
        emit_json(views)
        return
    made = table("rollout", "release", "devices", "state", "result", "started")
    for view in views:
        state, reason = label(view.state), safe(label(view.reason))
        made.add_row(view.id, view.release, view.selection, state, reason, ago(view.created))
    emit(views, False, lambda: made if views else "no rollouts yet: `skerry rollout start RELEASE --group G`")


def _watch(rollout_id: str | None, as_json: bool) -> None:
    if rollout_id is None or as_json:
        raise click.UsageError("--watch shows one rollout in a terminal: give its id, and leave out --json")
    with registry() as opened:
        view = watch(opened, rollout_id, console())
    console().print(_shown(view))


@rollout.command()
@click.argument("rollout_id")
@json_option
def abort(rollout_id: str, as_json: bool) -> None:
    """Abort a rollout: deployments in progress are cancelled, and their devices keep what they run."""
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
            row = rollouts.find(session, rollout_id)
            if row.state in ENDED:
                return rollout_view(session, row)
        time.sleep(POLL_S)


def _shown(view: "RolloutView") -> "Group":
    from rich.console import Group  # noqa: PLC0415

    made = table("device", "state", "outcome", "transfer", "transport", ">bytes", ">of full", ">seconds", "reason")
    shown = sorted(view.deployments, key=lambda d: d.outcome == "succeeded")[:TABLE_ROWS]
    for row in sorted(shown, key=lambda d: (d.wave, d.device)):
        made.add_row(*_cells(row))
    result = f"[bold]{label(view.state)}[/] {safe(label(view.reason))}"
    rest = view.devices - len(shown)
    more = [f"{rest} more devices: --json has them all"] if rest else []
    return Group(f"{view.id}  {view.release} for {view.selection}: {result}", made, *more)


def _cells(row: "DeploymentView") -> tuple[str, ...]:
    share = f"{row.bytes_received / row.full_bytes:.0%}" if row.full_bytes and row.bytes_received else ""
    colour = {"succeeded": "green", None: "cyan"}.get(row.outcome, "red")
    return (
        row.device,
        label(row.state),
        f"[{colour}]{label(row.outcome or '')}[/]",
        row.transfer or "",
        safe(transports(row.transports)),
        size(row.bytes_received),
        share,
        f"{row.seconds:.1f}",
        safe(because(row.reason, row.detail)),
    )
