"""`skerry monitor`: the fleet live. Reads the registry; works also while `skerry serve` does not run, and says so."""

import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import click
from msgspec.structs import replace
from rich.console import Group
from rich.live import Live
from rich.text import Text

from skerry_host.cli.common import after_option, console, emit_json, json_option, limit_option, registry
from skerry_host.cli.monitor_page import Look, Screen, Seen, ordered, page, room_for_devices
from skerry_host.cli.plane import known, plane_now
from skerry_host.plane.registry.records import rollouts
from skerry_host.plane.views import plane_state
from skerry_host.plane.views.briefs import Brief, Briefs
from skerry_host.plane.views.gather import Page, device_views, overview, rollout_view, totals
from skerry_host.plane.views.newest import NewestIntervals
from skerry_host.plane.views.views import DeviceView, Overview

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from skerry_host.plane.registry.database import Registry


@click.command()
@click.option("--once", is_flag=True, help="Print the table once and exit, as is done where it is not a terminal.")
@click.option("--interval", type=click.FloatRange(min=0.2), default=1.0, help="Seconds between two refreshes [1].")
@limit_option
@after_option
@json_option
def monitor(once: bool, interval: float, limit: int, after: str, as_json: bool) -> None:
    """Show the fleet live: rollouts in progress, then the devices, those that need attention first."""
    with registry() as opened:
        if as_json:
            emit_json(_overview(opened, Page(after, limit)))
            return
        look = _looking(opened, Page(after, limit))
        if once or not sys.stdout.isatty():
            console().print(Group(*_lines(look, Screen(console().width))))
        else:
            _watch(look, interval)


def _overview(opened: "Registry", part: Page) -> Overview:
    with opened.read() as session:
        plane = plane_now(session)
        seen = overview(session, time.time(), part)
    unknown = replace(seen.totals, online=None, inferences_per_s=None, p95_us=None, power_w=None, power_sources=())
    total = seen.totals if plane.running else unknown
    return replace(seen, totals=total, devices=tuple(known(each, plane) for each in seen.devices), plane=plane)


def _looking(opened: "Registry", part: Page) -> Look:
    briefs, newest = Briefs(), NewestIntervals()

    def look(screen: Screen) -> Seen:
        now = time.time()
        with opened.read() as session:
            plane = plane_state.seen(session, now)
            every = briefs.read(session, connected=plane.running)
            running = [rollout_view(session, row, 0) for row in reversed(rollouts.active(session))]
            seen = Seen(now, plane, totals(session, now, newest), every, running, ())
            room = room_for_devices(seen, screen)
            chosen = _chosen(every, part)[: part.most if room is None else min(part.most, room)]
            shown = tuple(known(each, plane) for each in _views(session, chosen))
        return Seen(seen.at, seen.plane, seen.totals, seen.briefs, seen.rollouts, shown)

    return look


def _chosen(briefs: list[Brief], part: Page) -> list[Brief]:
    """By name behind a device that was given, else in the order of what needs attention."""
    return [brief for brief in briefs if brief.id > part.after] if part.after else ordered(briefs)


def _views(session: "Session", chosen: list[Brief]) -> tuple[DeviceView, ...]:
    return device_views(session, [brief.device for brief in chosen])


def _lines(look: Look, screen: Screen) -> list[Text]:
    return page(look(screen), screen)


def _watch(look: Look, interval: float) -> None:
    out = console()

    def drawn() -> Group:
        return Group(*_lines(look, Screen(*out.size)))

    live = Live(drawn(), console=out, screen=True, auto_refresh=False)
    try:
        with suppress(KeyboardInterrupt):
            live.start(refresh=True)
            while True:
                time.sleep(interval)
                live.update(drawn(), refresh=True)
    finally:  # also if it was interrupted while it drew for the first time: the terminal is given back
        live.stop()
