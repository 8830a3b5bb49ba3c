"""`skerry group`: named groups of devices."""

import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from skerry_host.cli.common import emit, json_option, registry, table
from skerry_host.cli.listing import PAGE, ListOptions, list_options, none_yet, part
from skerry_host.cli.settings import commands as settings_commands
from skerry_host.fleet.group import parse, select
from skerry_host.plane.registry.records import devices

if TYPE_CHECKING:
    from rich.console import RenderableType


@click.group()
def group() -> None:
    """Create, list, show and set groups of devices."""


for command in settings_commands("group"):
    group.add_command(command)


@group.command()
@click.argument("name")
@click.option(
    "--where", required=True, metavar="EXPR", help="Which devices, for instance: board=raspberry-pi-4 and tag:lab"
)
@json_option
def create(name: str, where: str, as_json: bool) -> None:
    """Create a dynamic group. Devices belong to it while they match."""
    with registry() as opened, opened.write() as session:
        devices.add_group(session, name, where, time.time())
        members = [device.id for device in devices.members(session, where)]
    data = {"name": name, "where": where, "devices": members}
    emit(data, as_json, lambda: f"group {name}: {len(members)} devices now")


@group.command(name="list")
@list_options("id", "where", example="'id=lab-*'", sort=("devices",))
@json_option
def list_groups(options: ListOptions, as_json: bool) -> None:
    """List groups, by name if nothing else is said."""
    with registry() as opened, opened.read() as session:
        enrolled = devices.all_devices(session)
        rows = [
            {"name": name, "where": where, "devices": len(select(parse(where), enrolled))}
            for name, where in devices.all_groups(session)
        ]
    most = options.limit or (sys.maxsize if as_json else PAGE)
    shown = part(rows, lambda row: {"id": row["name"], **row}, options, most)
    emit(shown.items, as_json, lambda: _listed(shown.items, shown.more("groups"), options))


def _listed(rows: Sequence[dict[str, Any]], more: list[str], options: ListOptions) -> "RenderableType":
    from rich.console import Group  # noqa: PLC0415

    if not rows:
        return none_yet(options, "groups", "`skerry group create NAME --where EXPR`")
    made = table("group", "selection", ">devices")
    for row in rows:
        made.add_row(*map(str, row.values()))
    return Group(made, *more)


@group.command()
@click.argument("name")
@json_option
def show(name: str, as_json: bool) -> None:
    """List the devices of a group."""
    with registry() as opened, opened.read() as session:
        where = devices.find_group(session, name)
        members = devices.members(session, where)
    data = {"name": name, "where": where, "devices": [device.id for device in members]}
    made = table("device", "board", "tags")
    for device in members:
        made.add_row(device.id, device.board, " ".join(sorted(device.tags)))
    emit(data, as_json, lambda: made)
