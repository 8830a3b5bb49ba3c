"""`skerry device pending | approve | deny`: boards that have asked for an identity and wait for a person."""

import time
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

import click
from msgspec import Struct

from skerry_host.boards import load_board
from skerry_host.cli.chosen import EXIT_STATUS, refused_lines
from skerry_host.cli.common import ago, emit, json_option, registry, safe, table
from skerry_host.cli.listing import PAGE, ListOptions, Row, list_options, part
from skerry_host.cli.plane import plane_now
from skerry_host.fleet.device import Device
from skerry_host.fleet.errors import FleetError
from skerry_host.fleet.several import for_each
from skerry_host.plane import provision as provisioning
from skerry_host.plane.enrolment import arriving
from skerry_host.plane.enrolment.arriving import Approval
from skerry_host.plane.errors import UnknownError
from skerry_host.plane.registry.records import claims, devices, moves
from skerry_host.plane.registry.tables import PendingRow

if TYPE_CHECKING:
    from rich.console import RenderableType
    from sqlalchemy.orm import Session


class Waiting(Struct, frozen=True):
    """A board that waits: all but claim, times and what was decided is what it says of itself.

    `state`: `waiting`, `approved`, `denied`, or `closed` as its claim is, so that nobody can approve it. `moves`: the
    device of the old way in whose name it asks.
    """

    code: str
    claim: str
    state: str
    serial: str
    board: str
    agent: str
    first: float
    last: float
    approved: str | None
    key_sha256: str
    moves: str | None


@click.command()
@list_options(
    "id", "claim", "state", "serial", "board", example="'claim=@claim-7 and state=waiting'", sort=("first", "last")
)
@json_option
def pending(options: ListOptions, as_json: bool) -> None:
    """List the boards that have asked for an identity and have none, as they came. `id` is the code that a board shows.

    With --json, all of them unless a limit is given.
    """
    with registry() as opened, opened.read() as session:
        plane_now(session)
        closed = {each.name for each in claims.all_claims(session) if each.closed is not None}
        moving = moves.devices_by_claim(session)
        found = [_waiting(row, closed, moving) for row in claims.waiting(session)]
    shown = part(found, _row, options, options.limit or (len(found) or 1 if as_json else PAGE))
    emit(shown.items, as_json, lambda: _pending_table(shown.items, options, shown.more("boards")))


def _row(each: Waiting) -> Row:
    return {**{name: getattr(each, name) for name in each.__struct_fields__}, "id": each.code}


def _waiting(row: PendingRow, closed: Collection[str], moving: Mapping[str, str]) -> Waiting:
    if row.denied is not None:
        state = "denied"
    elif row.claim in closed:
        state = "closed"
    else:
        state = "approved" if row.approved else "waiting"
    said = (row.serial, row.board, row.agent)
    times, decided = (row.first, row.last), (row.approved, row.key_sha256)
    return Waiting(row.code, row.claim, state, *said, *times, *decided, moving.get(row.claim))


def _pending_table(found: Sequence[Waiting], options: ListOptions, more: list[str]) -> "RenderableType":
    from rich.console import Group  # noqa: PLC0415

    if not found:
        return "no such board waits" if options.narrows else "no board waits"
    now = time.time()
    made = table("code", "claim", "state", "says it is", "serial", "asked first", "asked last")
    for each in found:
        said = {"approved": f"approved as {each.approved}", "closed": "its claim is closed"}
        state = said.get(each.state, each.state)
        board, serial = safe(each.board) or "-", safe(each.serial) or "-"
        claim = f"move of {each.moves}" if each.moves else each.claim
        made.add_row(each.code, claim, state, board, serial, ago(each.first, now), ago(each.last, now))
    return Group(made, *more)


@click.command()
@click.argument("code")
@click.option("--as", "name", metavar="ID", help="The device that the board is: a record, or a new one [who moves].")
@click.option("--board", help="The board of a new record [that of the claim].")
@click.option("--tag", "tags", multiple=True, help="A tag of a new record, beside those of the claim.")
@click.option("--replace", is_flag=True, help="In place of the board that the device has.")
@json_option
def approve(
    code: str, name: str | None, board: str | None, tags: tuple[str, ...], replace: bool, as_json: bool
) -> None:
    """Say which device a waiting board is. Compare the code with the one that the board shows."""
    with registry() as opened, opened.write() as session:
        name = provisioning.check_id(name or _who_moves(session, code))
        device = _record(session, (code, name), board, tags)
        row = arriving.approve(session, code, Approval(device, replace), time.time())
        plane = plane_now(session)
    data = {"code": row.code, "device": name, "board": device.board, "tags": sorted(device.tags), "plane": plane}
    when = "it is told now" if plane.running else "it is told when the plane runs"
    emit(data, as_json, lambda: f"board {row.code} is approved as {name}; {when}")


def _who_moves(session: "Session", code: str) -> str:
    """The device that a board says it is where it was offered an identity as that. Raises `click.UsageError`."""
    moves_as = moves.device_of(session, claims.by_code(session, arriving.check_code(code)).claim)
    if moves_as is None:
        raise click.UsageError("give --as: which device the board is", click.get_current_context())
    return moves_as


def _record(session: "Session", asked: tuple[str, str], board: str | None, tags: tuple[str, ...]) -> Device:
    """The record that is there, else the one to be made. Raises `FleetError`, `UnknownError`."""
    code, name = asked
    row = claims.by_code(session, arriving.check_code(code))
    arriving.require_open(session, row, time.time())
    try:
        known = devices.find(session, name)
    except UnknownError:
        claim = claims.find(session, row.claim)
        hardware = board or (claim.board if claim else "")
        if not hardware:
            hint = "give --board; `skerry device boards` lists them"
            raise FleetError(f"there is no record of {name}, and its board is not known", hint=hint) from None
        chosen = load_board(hardware)
        all_tags = {*map(provisioning.check_tag, tags), *(claim.tags if claim else ())}
        return Device(name, chosen.name, frozenset(all_tags), chosen.targets)
    if board not in {None, known.board} or tags:
        hint = "leave out --board and --tag; `skerry device retag` changes tags"
        raise FleetError(f"there is a record of {name} already, with board {known.board}", hint=hint, code="exists")
    return known


@click.command(epilog=EXIT_STATUS.replace("them", "the boards"))
@click.argument("codes", nargs=-1, required=True, metavar="CODE...")
@json_option
def deny(codes: tuple[str, ...], as_json: bool) -> int:
    """Say that waiting boards are none of the fleet's. `approve` undoes it."""
    with registry() as opened, opened.write() as session:
        unique = list(dict.fromkeys(codes))
        done = for_each(
            "a board can be denied", unique, str, lambda code: arriving.deny(session, code, time.time()).code
        )
    lines = [f"board {code} is denied" for code in done.done.values()]
    lines += refused_lines("not denied:", done.refused)
    emit({"denied": list(done.done.values()), "refused": done.refused}, as_json, lambda: "\n".join(lines))
    return done.exit_code
