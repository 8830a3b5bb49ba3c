"""`skerry monitor`: a live table of the fleet. Reads the registry; works also while `skerry serve` does not run."""

import time
from collections.abc import Callable
from contextlib import suppress

import click
from rich.console import Group
from rich.live import Live

from skerry_host.cli.common import (
    after_option,
    ago,
    console,
    emit_json,
    json_option,
    limit_option,
    micros,
    registry,
    table,
)
from skerry_host.fleet.rollout import ENDED
from skerry_host.plane.views.gather import Page, overview
from skerry_host.plane.views.labels import label
from skerry_host.plane.views.newest import NewestIntervals
from skerry_host.plane.views.views import DeviceView, ModelView, Overview, RolloutView
from skerry_host.plane.views.words import energy


@click.command()
@click.option("--once", is_flag=True, help="Print the table once and exit.")
@click.option("--interval", type=click.FloatRange(min=0.2), default=1.0, help="Seconds between two refreshes [1].")
@limit_option
@after_option
@json_option
def monitor(once: bool, interval: float, limit: int, after: str, as_json: bool) -> None:
    """Show the fleet live: state, release, latency, rate and energy of each device, a page of devices at a time."""
    newest = NewestIntervals()
    with registry() as opened:

        def look() -> Overview:
            with opened.read() as session:
                return overview(session, time.time(), Page(after, limit), newest)

        if as_json:
            emit_json(look())
        elif once:
            console().print(_page(look()))
        else:
            _watch(look, interval)


def _watch(look: Callable[[], Overview], interval: float) -> None:
    screen = Live(_page(look()), console=console(), screen=True, auto_refresh=False)
    with suppress(KeyboardInterrupt), screen as live:
        while True:
            time.sleep(interval)
            live.update(_page(look()), refresh=True)


def _page(seen: Overview) -> Group:
    made = table("device", "", "model state", "release", ">p50", ">p95", ">inf/s", ">energy/inf", "source", ">seen")
    for device in seen.devices:
        for model in device.models or (None,):
            made.add_row(*_cells(device, model, seen.at))
    total = seen.totals
    head = f"[bold]{total.online}[/] of {total.devices} devices online, {total.inferences_per_s:.1f} inferences/s"
    more = [f"more devices: --after {seen.next}"] if seen.next else []
    return Group(head, made, *more, *(_bar(r) for r in seen.rollouts if r.state not in ENDED))


def _cells(device: DeviceView, model: ModelView | None, now: float) -> tuple[str, ...]:
    dot = "[green]●[/]" if device.online else "[red]○[/]"
    seen = ago(device.last_seen, now)
    if model is None:
        return device.id, dot, "-", "-", "-", "-", "-", "-", "-", seen
    newest = model.newest if device.is_current(now) else None
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
        energy(newest.energy_uj, newest.energy_relative_uncertainty) if newest.energy_uj is not None else "-",
        model.energy_source or "absent",
        seen,
    )


def _bar(rollout: RolloutView) -> str:
    state = f"{label(rollout.state)}, {rollout.devices - rollout.count(None)} of {rollout.devices} ended"
    return f"rollout {rollout.id}  {rollout.release}: {state}"
