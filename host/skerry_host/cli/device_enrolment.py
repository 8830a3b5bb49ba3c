"""`skerry device provision | claim | claims`: records for boards that are to come, and the folders they come by."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from msgspec.structs import replace

from skerry_agent.wire.broker_url import without_password
from skerry_agent.wire.enrolment import claim_name
from skerry_host import dates
from skerry_host.boards import Board, list_boards, load_board
from skerry_host.cli.common import ago, emit, json_option, registry, safe, table, warn
from skerry_host.cli.device_access import device_access
from skerry_host.cli.image_options import ImageOrder, Images, hardware_of, image_options, prepared, rehearsal
from skerry_host.fleet.batch import BatchError, Entry, read_batch
from skerry_host.fleet.device import Device
from skerry_host.fleet.errors import FleetError
from skerry_host.home import Home, open_home
from skerry_host.plane import provision as provisioning
from skerry_host.plane.broker.connection import address
from skerry_host.plane.broker.listening import only_this_machine
from skerry_host.plane.enrolment import arriving
from skerry_host.plane.enrolment.arriving import NewRecord
from skerry_host.plane.registry.records import claims, devices
from skerry_host.plane.registry.records.claims import Claim, Wanted

if TYPE_CHECKING:
    from rich.console import RenderableType
    from sqlalchemy.orm import Session

MOST_DAYS = 365.0
days_option = click.option(
    "--days", type=click.FloatRange(0, MOST_DAYS, min_open=True), default=7.0, help="How long boards may ask [7]."
)
broker_option = click.option(
    "--broker", metavar="URL", help="The broker's address for the device [that of `skerry serve`]."
)
enroll_broker_option = click.option(
    "--enroll-broker", metavar="URL", help="Where boards ask for their identity [as `skerry serve` says]."
)


@click.command()
@click.argument("name")
@click.option("--board", help="The device's board, of `skerry device boards` [with --replace: as before].")
@click.option("--tag", "tags", multiple=True, help="A tag to select it by; repeatable [with --replace: as before].")
@broker_option
@enroll_broker_option
@click.option(
    "--credentials",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="The device's own USER:PASSWORD for a broker that asks for one, on one line, mode 0600.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="The image folder to write [HOME/devices/NAME, without an image].",
)
@image_options
@days_option
@click.option("--replace", is_flag=True, help="Also where NAME is there: its next board takes the place of this one.")
@json_option
def provision(name: str, tags: tuple[str, ...], out: Path | None, as_json: bool, **given: Any) -> None:
    """Make a device's record and write its folder: agent.toml, trust.json, and a claim by which its board enrols.

    The claim is for one board. Over a broker without identities, the folder is all that the device needs. With --out or
    --boot it is an image folder, with all that a board needs to become the device by itself and without a network.
    """
    provisioning.check_id(name)
    home = open_home()
    hardware = hardware_of(load_board(given["board"] or _board_of(home, name, replace=given["replace"])), given)
    device = Device(name, hardware.name, frozenset(map(provisioning.check_tag, tags)), hardware.targets)
    order = ImageOrder.of(given, out=out is not None)
    folder = out or home.devices / name
    again = (folder / "agent.toml").is_file()
    broker, enrolment = _addresses(home, given["broker"], given["enroll_broker"])
    enrols = enrolment is not None and not given["credentials"]
    with registry(home) as opened:
        if order.complete:
            with rehearsal(opened) as session:
                _record(session, device, given, enrols=enrols)
        with prepared(home, order, [hardware]) as images:
            with opened.write() as session:
                claim = _record(session, device, given, enrols=enrols)
                place = images.place(folder, hardware, name)
                if claim is None:
                    access = device_access(home, name, given["broker"], given["credentials"])
                    files = provisioning.device_files(home, place, access)
                else:
                    image = _image(session, home, claim, (broker, enrolment or ""))
                    files = provisioning.claim_files(home, place, image)
                images.write(place, files)
                tags = tuple(devices.find(session, name).tags)
            images.keep()
    shown, install = without_password(broker), provisioning.install_command(hardware)
    data: dict[str, Any] = {
        "id": name,
        "board": hardware.name,
        "tags": sorted(tags),
        "folder": str(folder),
        "broker": shown,
    }
    until = {"claim": claim.name, "expires": claim.expires} if claim else {}
    lines = _provisioned(name, folder, install, claim, shown)
    if order.complete:
        lines[2:] = _on_the_board(folder, order, images)
    if again:
        lines.append(f"added to its agent.toml before? carry it over from {provisioning.kept_before(folder)}")
    data |= {"image": order.complete, "boot": str(order.boot) if order.boot else None}
    emit(data | until | {"install": install}, as_json, lambda: "\n".join(lines))
    warn(images.uncertain)
    _warn_of_loopback(folder, broker)


def _record(session: "Session", device: Device, given: dict[str, Any], *, enrols: bool) -> Claim | None:
    """Make or renew the record, with a claim where its board enrols."""
    now = time.time()
    if not enrols:
        arriving.record_without_identity(session, device, now, replace=given["replace"])
        return None
    return arriving.claim_for_one(session, device, given["days"], now, replace=given["replace"])


def _board_of(home: Home, name: str, *, replace: bool) -> str:
    """That of the record, for another board of the same kind. Raises `click.UsageError`, `UnknownError`."""
    if not replace:
        raise click.UsageError("Missing option '--board'", click.get_current_context())
    with registry(home) as opened, opened.read() as session:
        return devices.find(session, name).board


def _provisioned(name: str, folder: Path, install: str, claim: Claim | None, broker: str) -> list[str]:
    """What to do next, each with the values filled in."""
    is_enrolled = f"device {name} is enrolled; it calls {broker}; its configuration is {folder}"
    waits = f"device {name} waits for its board, which enrols by {folder} until {_day(claim.expires)}" if claim else ""
    return [
        waits or is_enrolled,
        f"here:       skerry-agent run --config {folder}/agent.toml",
        f"elsewhere:  copy that folder, then: {safe(install)} && skerry-agent run --config {folder.name}/agent.toml",
    ]


def _on_the_board(folder: Path, order: ImageOrder, images: Images) -> list[str]:
    """What to do with an image folder."""
    if order.boot is not None:
        return [f"put into {order.boot}: the board runs it at its first boot, by {images.started_by}"]
    return [
        f"elsewhere:  copy that folder, then as root and without a network: sh {folder.name}/first-boot.sh",
        f"            or, with an agent that is there: skerry-agent run --config {folder.name}/agent.toml",
        f"to print:   {folder}/steps.html",
    ]


@click.command()
@click.option(
    "--batch",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="CSV",
    help="A file with the columns id,board,tags,serial: a board is the device with its serial.",
)
@click.option("--count", type=click.IntRange(1, 100_000), help="So many boards, each to be approved by hand.")
@click.option("--board", help="The boards that --count is for.")
@click.option("--tag", "tags", multiple=True, help="A tag of the devices that --count is for.")
@broker_option
@enroll_broker_option
@days_option
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), required=True, help="The folder to write.")
@image_options
@json_option
def claim(out: Path, days: float, as_json: bool, **given: Any) -> None:
    """Write one image folder by which many boards enrol: put it into their cards, or onto a stick.

    With --batch the records are made from a file; boards whose serial is in it are enrolled when they come, all others
    wait for `skerry device approve`.
    """
    home = open_home()
    entries, boards = _wanted(given)
    hardware = [hardware_of(board, given) for board in boards]
    broker, enrolment = enrolment_addresses(home, given["broker"], given["enroll_broker"])
    order = ImageOrder.of(given, out=True)
    folders = [out] if len(hardware) == 1 else [out / board.name for board in hardware]
    with registry(home) as opened:
        if order.complete:
            with rehearsal(opened) as session:
                _claim(session, entries, hardware, (given, days))
                _require_free(out)
        with prepared(home, order, hardware) as images:
            with opened.write() as session:
                made = _claim(session, entries, hardware, (given, days))
                _require_free(out)  # now that no other command can write its claim there
                image = _image(session, home, made, (broker, enrolment))
                for board, folder in zip(hardware, folders, strict=True):
                    place = images.place(folder, board)
                    images.write(place, provisioning.claim_files(home, place, image))
            images.keep()
    data: dict[str, Any] = {
        "claim": made.name,
        "count": made.count,
        "expires": made.expires,
        "folders": list(map(str, folders)),
    }
    lines = _claimed(made, folders)
    if order.complete:
        lines[-2:-1] = _on_each_board(order, images)
    data |= {"image": order.complete, "boot": str(order.boot) if order.boot else None}
    emit(data | {"devices": [each.id for each in entries]}, as_json, lambda: "\n".join(lines))
    warn(images.uncertain)
    _warn_of_loopback(folders[0], broker)


def _claimed(made: Claim, folders: Sequence[Path]) -> list[str]:
    boards = "1 board" if made.count == 1 else f"{made.count} boards"
    return [
        f"claim {made.number} is for {boards}, until {_day(made.expires)}",
        *(f"folder for {folder.name}: {folder}" if len(folders) > 1 else f"folder: {folder}" for folder in folders),
        "on each board: skerry-agent run --config FOLDER/agent.toml; then look at `skerry device pending`",
        f"whoever has the folder may ask; `skerry device claims --close {made.number}` ends that",
    ]


def _on_each_board(order: ImageOrder, images: Images) -> list[str]:
    then = "then look at `skerry device pending`"
    if order.boot is not None:
        return [f"put into {order.boot}: each board runs it at its first boot, by {images.started_by}; {then}"]
    return [
        f"on each board, as root and without a network: sh FOLDER/first-boot.sh; {then}",
        "to print: FOLDER/steps.html",
    ]


def _claim(
    session: "Session", entries: list[Entry], hardware: Sequence[Board], given: tuple[dict[str, Any], float]
) -> Claim:
    options, days = given
    now, by_name = time.time(), {board.name: board for board in hardware}
    if entries:
        records = [NewRecord(_device(each, by_name[each.board]), each.serial) for each in entries]
        return arriving.claim_for_records(session, records, days, now)
    tags = tuple(map(provisioning.check_tag, options["tags"]))
    return arriving.claim_for_count(
        session, Wanted(hardware[0].name, tags, now + days * arriving.DAY_S, options["count"]), now
    )


def _wanted(given: dict[str, Any]) -> tuple[list[Entry], list[Board]]:
    """The devices of --batch, or none for --count; and the boards. Raises `BatchError`, `click.UsageError`."""
    batch, count, board = given["batch"], given["count"], given["board"]
    if (batch is None) == (count is None):
        raise click.UsageError("give either --batch or --count", click.get_current_context())
    if batch is None:
        if board is None:
            raise click.UsageError("--count needs --board", click.get_current_context())
        return [], [load_board(board)]
    if board is not None or given["tags"]:
        raise click.UsageError(
            "--board and --tag are for --count: a file says them itself", click.get_current_context()
        )
    try:
        text = batch.read_bytes().decode()
    except UnicodeDecodeError as error:
        raise BatchError(batch.name, [f"not UTF-8 at byte {error.start}: save it as CSV in UTF-8"]) from None
    entries = read_batch(batch.name, text, list_boards())
    return entries, [load_board(name) for name in sorted({each.board for each in entries})]


@click.command()
@click.option("--close", "number", type=click.IntRange(min=1), help="Hear nothing more of this claim.")
@json_option
def claims_command(number: int | None, as_json: bool) -> None:
    """List the claims by which boards may ask, the newest first; or close one."""
    with registry() as opened:
        if number is not None:
            with opened.write() as session:
                claims.close(session, number, time.time())
        with opened.read() as session:
            found = claims.all_claims(session)
            waiting = claims.waiting_counts(session)
    if number is not None:
        found = [each for each in found if each.name == claim_name(number)]
    now = time.time()
    data = [{**_facts(each, now), "waiting": waiting[each.name]} for each in found]
    emit(data, as_json, lambda: _claims_table(found, waiting, now))


def _facts(each: Claim, now: float) -> dict[str, Any]:
    return {
        "number": each.number,
        "name": each.name,
        "state": _state(each, now),
        "board": each.board,
        "tags": each.tags,
        "device": each.device,
        "count": each.count,
        "used": each.used,
        "created": each.created,
        "expires": each.expires,
        "closed": each.closed,
    }


def _state(each: Claim, now: float) -> str:
    if each.closed is not None:
        return "closed"
    if now >= each.expires:
        return "expired"
    return "used up" if each.used >= each.count else "open"


def _claims_table(found: Sequence[Claim], waiting: dict[str, int], now: float) -> "RenderableType":
    if not found:
        return "no claims yet: `skerry device claim --count N --board B --out DIR` makes one"
    made = table(">claim", "state", "for", ">enrolled", ">waiting", "made", "until")
    for each in found:
        of = each.device or each.board or "records"
        enrolled = f"{each.used} of {each.count}"
        until = _day(each.expires)
        made.add_row(
            str(each.number), _state(each, now), of, enrolled, str(waiting[each.name]), ago(each.created, now), until
        )
    return made


def _addresses(home: Home, broker: str | None, enrolment: str | None) -> tuple[str, str | None]:
    """(broker, enrolment listener) for devices: as given, else as the last `skerry serve` has them.

    Where only the broker is given, as another name of it, its enrolment listener is under that name too.
    """
    known = provisioning.addresses_of(home)
    if broker is None or enrolment is not None or known.enrolment is None:
        return broker or known.broker, enrolment or (known.enrolment if broker is None else None)
    named, listener = address(broker), address(known.enrolment)
    return broker, str(replace(listener, host=named.host)) if named.tls and not named.username else None


def enrolment_addresses(home: Home, broker: str | None, enrolment: str | None) -> tuple[str, str]:
    """The same, where boards have to enrol. Raises `FleetError` where nobody can."""
    called, listener = _addresses(home, broker, enrolment)
    if listener is None:
        hint = "`skerry serve` without --plain or --broker has one; or give --enroll-broker"
        raise FleetError("this fleet's broker has no listener for enrolment", hint=hint, code="no_enrolment")
    return called, listener


def _image(session: "Session", home: Home, made: Claim, addresses: tuple[str, str]) -> "provisioning.Image":
    """The claim's certificate and key, with what else boards are given."""
    from skerry_host.identity.authority import Authority  # noqa: PLC0415 - keeps the other commands quick

    now = time.time()
    authority = Authority.open(home.identity, now)
    pair = authority.claim(made.name, (made.expires - now) / arriving.DAY_S)
    arriving.note_certificate(session, made, pair.serial, pair.not_after)
    return provisioning.Image(
        *addresses, authority.root_pem, pair.pem, pair.key_pem, made.name, made.expires, made.count
    )


def _device(each: Entry, board: Board) -> Device:
    return Device(each.id, board.name, frozenset(each.tags), board.targets)


def _require_free(folder: Path) -> None:
    """Raises `FleetError` where something is in a folder: a claim of before would be mixed with this one."""
    if folder.exists() and any(folder.iterdir()):
        raise FleetError(f"{folder} is not empty", hint="choose another folder for --out", code="not_empty")


def _warn_of_loopback(folder: Path, broker: str) -> None:
    if only_this_machine(broker):
        words = "only this machine can call that; for devices elsewhere run `skerry serve --listen auto` first, or give"
        warn([f"{folder}/agent.toml says that the broker is at {without_password(broker)}: {words} --broker"])


def _day(at: float) -> str:
    return dates.local(at, "%Y-%m-%d %H:%M")


__all__ = ["claim", "claims_command", "provision"]
