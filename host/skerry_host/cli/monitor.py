"""`skerry monitor`: a live table of the fleet. Reads the registry; works also while `skerry serve` does not run."""

import time
from contextlib import suppress

import click
from rich.console import Group
from rich.live import Live

from skerry_host.cli.common import ago, console, emit_json, json_option, micros, registry, table
from skerry_host.fleet.rollout import ENDED
from skerry_host.plane.registry.database import Registry
from skerry_host.plane.views.gather import overview
from skerry_host.plane.views.labels import label
from skerry_host.plane.views.views import DeviceView, ModelView, Overview, RolloutView


@click.command()
@click.option("--once", is_flag=True, help="Print the table once and exit.")
@click.option("--interval", type=click.FloatRange(min=0.2), default=1.0, help="Seconds between two refreshes [1].")
@json_option
def monitor(once: bool, interval: float, as_json: bool) -> None:
    """Show the fleet live: state, release, latency, rate and energy of each device."""
    with registry() as opened:
        if as_json:
            emit_json(_look(opened))
        elif once:
            console().print(_page(_look(opened)))
        else:
            _watch(opened, interval)


def _watch(opened: Registry, interval: float) -> None:
    screen = Live(_page(_look(opened)), console=console(), screen=True, auto_refresh=False)
    with suppress(KeyboardInterrupt), screen as live:
        while True:
            time.sleep(interval)
            live.update(_page(_look(opened)), refresh=True)


def _look(opened: Registry) -> Overview:
    with opened.read() as session:
        return overview(session, time.time())


def _page(seen: Overview) -> Group:
    made = table("device", "", "model state", "release", ">p50", ">p95", ">inf/s", ">energy/inf", "source", ">seen")
    for device in seen.devices:
        for model in device.models or (None,):
            made.add_row(*_cells(device, model, seen.at))
    total = seen.totals
    head = f"[bold]{total.online}[/] of {total.devices} devices online, {total.inferences_per_s:.1f} inferences/s"
    return Group(head, made, *(_bar(r) for r in seen.rollouts if r.state not in ENDED))


def _cells(device: DeviceView, model: ModelView | None, now: float) -> tuple[str, ...]:
    dot = "[green]●[/]" if device.online else "[red]○[/]"
    seen = ago(device.last_seen, now)
    if model is None:
        return device.id, dot, "-", "-", "-", "-", "-", "-", "-", seen
    newest = model.newest
    if newest is None:
        return device.id, dot, label(model.state), model.release or "-", "-", "-", "-", "-", "-", seen
    return (
        device.id,
        dot,
        label(model.state),
        model.release or "-",
        micros(newest.p50_us),
        micros(newest.p95_us),
        f"{newest.inferences_per_s:.1f}",
        f"{newest.energy_uj:.0f} µJ" if newest.energy_uj is not None else "-",
        model.energy_source or "absent",
        seen,
    )


def _bar(rollout: RolloutView) -> str:
    ended = len(rollout.deployments) - rollout.count(None)
    state = f"{label(rollout.state)}, {ended} of {len(rollout.deployments)} ended"
    return f"rollout {rollout.id}  {rollout.release}: {state}"
