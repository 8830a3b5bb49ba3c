"""`skerry device history`: what a device has measured over hours, days or a year."""

import time
from typing import TYPE_CHECKING

import click

from skerry_host import dates
from skerry_host.cli.common import emit, json_option, micros, registry, table
from skerry_host.plane.registry.records import devices
from skerry_host.plane.registry.telemetry.port import seconds
from skerry_host.plane.views.history import History, history
from skerry_host.plane.views.words import energy

if TYPE_CHECKING:
    from rich.table import Table


@click.command(name="history")
@click.argument("name")
@click.option("--span", default="24h", metavar="TIME", help="How far back, for instance 90m, 14d or 365d [24h].")
@click.option("--period", metavar="TIME", help="The length of an interval, a multiple of 10m [one that fits].")
@json_option
def device_history(name: str, span: str, period: str | None, as_json: bool) -> None:
    """Show what a device has measured over some time, when it was measured."""
    now = time.time()
    with registry() as opened, opened.read() as session:
        found = devices.find(session, name).id
        made = history(session, found, now - seconds(span), now, seconds(period) if period else None)
    emit(made, as_json, lambda: _table(made) if made.models else f"{name} has measured nothing in {span}")


def _table(made: History) -> "Table":
    shown = table("from", "model", "release", "inferences/s", "p50", "p95", "p99", "energy")
    for model, points in made.models.items():
        for at in points:
            began = dates.utc(at.at, "%Y-%m-%d %H:%M:%S")
            figures = f"{at.inferences_per_s:.1f}", micros(at.p50_us), micros(at.p95_us), micros(at.p99_us)
            shown.add_row(began, model, at.release, *figures, energy(at.energy_uj, at.energy_relative_uncertainty))
    return shown
