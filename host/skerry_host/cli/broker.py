"""`skerry broker`: whether the broker has taken the newest access rules, and rules for a broker that runs elsewhere."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from skerry_host.cli.common import ago, emit, json_option, registry, table
from skerry_host.home import open_home

if TYPE_CHECKING:
    from rich.console import RenderableType

    from skerry_host.plane.access.exported import Kind

KINDS = ("mosquitto", "rabbitmq", "nats")
PORT = click.IntRange(1, 65535)

_OLD_WAY = {"mtls": ", on the old listener", "external": ", and these rules let none of them in"}
"""What becomes of devices that were provisioned before there were identities."""


@click.group()
def broker() -> None:
    """Show who may use the broker, and write rules for one that runs elsewhere."""


@broker.command()
@json_option
def status(as_json: bool) -> int:
    """Try out which access rules are in force, and list who is denied. Exit status 1 where the newest are not."""
    from msgspec import to_builtins  # noqa: PLC0415 - keeps `--help` quick

    from skerry_host.plane.access.status import Where, look  # noqa: PLC0415
    from skerry_host.plane.provision import addresses_of  # noqa: PLC0415

    home = open_home()
    addresses = addresses_of(home)
    urls = {"operation": addresses.broker} | ({"enrolment": addresses.enrolment} if addresses.enrolment else {})
    with registry() as opened:
        found = look(home, opened, Where(addresses.security, urls))
    emit(to_builtins(found), as_json, lambda: _shown(to_builtins(found)))
    return 0 if found.holds else 1


@broker.command()
@click.argument("kind", type=click.Choice(KINDS))
@click.option("--out", required=True, type=click.Path(path_type=Path, file_okay=False), help="The folder to write.")
@click.option(
    "--name", "names", multiple=True, required=True, metavar="HOST", help="What devices call the broker by; repeatable."
)
@click.option("--port", type=PORT, default=8883, help="For devices in operation [8883].")
@click.option("--enroll-port", type=PORT, default=8884, help="For boards that ask to be enrolled [8884].")
@json_option
def export(kind: "Kind", out: Path, names: tuple[str, ...], port: int, enroll_port: int, as_json: bool) -> None:
    """Write a configuration, certificates and access rules for a broker that runs elsewhere.

    From now on `skerry serve --broker` keeps the rules in that folder; the broker's own units have them read.
    """
    from skerry_host.plane.access.exported import Export  # noqa: PLC0415 - keeps `--help` quick
    from skerry_host.plane.access.exported import export as write  # noqa: PLC0415
    from skerry_host.plane.access.serving import own_files  # noqa: PLC0415
    from skerry_host.plane.access.source import RuleSource  # noqa: PLC0415

    home, now = open_home(), time.time()
    chosen = Export(kind, str(out.resolve()), port, enroll_port)  # systemd refuses a path with `..`
    with registry() as opened:
        rules = RuleSource(opened, home.identity).rules(now)
    files = write(home, chosen, rules, list(names), now)
    own = own_files(home, now)
    serve = (
        f"skerry serve --broker mqtts://{names[0]}:{port} --enroll-broker mqtts://{names[0]}:{enroll_port} "
        f"--broker-ca {own.ca} --broker-cert {own.plane_cert} --broker-key {own.plane_key}"
    )
    data = {"kind": kind, "folder": chosen.folder, "files": files, "serve": serve}
    lines = f"{len(files)} files for {kind} in {chosen.folder}; server.pem holds a key\nthen: {serve}"
    emit(data, as_json, lambda: lines)


def _shown(found: dict[str, Any]) -> "RenderableType":
    from rich.console import Group  # noqa: PLC0415 - keeps `--help` quick

    rows = table("listener", "address", "rules")
    for each in found["listeners"]:
        rows.add_row(each["name"], each["url"], each["verdict"].replace("_", " "))
    denied = table("denied", "since", "why")
    for each in found["denied"]:
        denied.add_row(each["name"], ago(each["since"]), each["reason"])
    lines: list[RenderableType] = [found["line"], rows]
    if found["denied"]:
        lines.append(denied)
    if found["old_way"]:
        way = _OLD_WAY.get(found["security"], "") if found["listeners"] else ""
        lines.append(f"without an identity{way}: {', '.join(found['old_way'])}")
    return Group(*lines)
