"""`skerry group`: named groups of devices."""

import time

import click

from skerry_host.cli.common import emit, json_option, registry, table
from skerry_host.plane.registry.records import devices


@click.group()
def group() -> None:
    """Create, list and show groups of devices."""


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
@json_option
def list_groups(as_json: bool) -> None:
    """List groups."""
    with registry() as opened, opened.read() as session:
        rows = [
            {"name": name, "where": where, "devices": len(devices.members(session, where))}
            for name, where in devices.all_groups(session)
        ]
    made = table("group", "selection", ">devices")
    for row in rows:
        made.add_row(*map(str, row.values()))
    emit(rows, as_json, lambda: made if rows else "no groups yet: `skerry group create NAME --where EXPR`")


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
