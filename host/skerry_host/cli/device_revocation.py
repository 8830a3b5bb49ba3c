"""`skerry device revoke | retire | rename | retag`: devices that leave the fleet, or are known otherwise."""

import time
from typing import TYPE_CHECKING

import click

from skerry_host.cli.chosen import EXIT_STATUS, of_all, refused_lines
from skerry_host.cli.common import emit, json_option, registry
from skerry_host.cli.plane import plane_now
from skerry_host.fleet.several import Several, for_each
from skerry_host.home import open_home
from skerry_host.plane import provision as provisioning
from skerry_host.plane.enrolment import arriving, leaving
from skerry_host.plane.enrolment.leaving import Left
from skerry_host.plane.registry.records import devices, events
from skerry_host.plane.registry.records.events import Event

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

names_argument = click.argument("names", nargs=-1, required=True, metavar="NAME...")


@click.command(epilog=EXIT_STATUS)
@names_argument
@click.option("--reason", required=True, help="Why, for whoever looks later.")
@json_option
def revoke(names: tuple[str, ...], reason: str, as_json: bool) -> int:
    """Believe devices no more, from now on: stolen, sold, taken over. What they run, they go on running.

    `skerry device provision NAME --replace` gives one a new identity.
    """
    with registry() as opened, opened.write() as session:
        now, unique = time.time(), list(dict.fromkeys(names))
        done = for_each("it can be revoked", unique, str, lambda name: leaving.revoke(session, name, reason, now))
    _said("revoked", done, as_json)
    return done.exit_code


@click.command(epilog=EXIT_STATUS)
@names_argument
@json_option
def retire(names: tuple[str, ...], as_json: bool) -> int:
    """Take devices off the fleet. Their history stays, and so do their ids: the next board of one needs --replace."""
    with registry() as opened, opened.write() as session:
        now, unique = time.time(), list(dict.fromkeys(names))
        done = for_each("it can be retired", unique, str, lambda name: leaving.retire(session, name, now))
    _said("retired", done, as_json)
    return done.exit_code


def _said(word: str, done: "Several[Left]", as_json: bool) -> None:
    """After it was done: what a broker is told, it is told by the plane, and that is waited for."""
    from skerry_host.plane.access.status import brought_in  # noqa: PLC0415 - keeps `--help` quick

    home = open_home()
    with registry() as opened:
        with opened.read() as session:
            plane = plane_now(session)
        broker = "the broker is told when the plane runs"
        if plane.running and done.done:
            broker = brought_in(home, opened, provisioning.addresses_of(home).security)
    left = [
        {"device": device, "deployments_ended": each.deployments, "orders_ended": each.orders}
        for device, each in done.done.items()
    ]
    lines = [
        f"{word} {of_all(done)}: {', '.join(done.done)}{f'; {broker}' if done.done else ''}",
        *refused_lines(f"not {word}:", done.refused),
    ]
    data = {word: left, "refused": done.refused, "plane": plane, "broker": broker}
    emit(data, as_json, lambda: "\n".join(lines))


@click.command()
@click.argument("old")
@click.argument("to", metavar="NEW")
@json_option
def rename(old: str, to: str, as_json: bool) -> None:
    """Give a record another id, while its board has not come: later the id is in its certificate and its history."""
    provisioning.check_id(to)
    with registry() as opened, opened.write() as session:
        arriving.rename(session, old, to, time.time())
    emit({"old": old, "new": to}, as_json, lambda: f"{old} is now {to}")


@click.command(epilog=EXIT_STATUS)
@names_argument
@click.option("--add", multiple=True, metavar="TAG", help="May be given several times.")
@click.option("--remove", multiple=True, metavar="TAG", help="May be given several times.")
@json_option
def retag(names: tuple[str, ...], add: tuple[str, ...], remove: tuple[str, ...], as_json: bool) -> int:
    """Give devices tags, and take tags from them. Groups follow at once; rollouts under way keep their devices."""
    if not add and not remove:
        raise click.UsageError("give --add or --remove", click.get_current_context())
    added, removed = frozenset(map(provisioning.check_tag, add)), frozenset(remove)
    with registry() as opened, opened.write() as session:
        unique = list(dict.fromkeys(names))
        done = for_each("it can be tagged", unique, str, lambda name: _retag(session, name, added, removed))
    lines = [f"{name}: {' '.join(tags) or 'no tags'}" for name, tags in done.done.items()]
    lines += refused_lines("not changed:", done.refused)
    emit({"tags": done.done, "refused": done.refused}, as_json, lambda: "\n".join(lines))
    return done.exit_code


def _retag(session: "Session", name: str, add: frozenset[str], remove: frozenset[str]) -> list[str]:
    before = devices.find(session, name).tags
    after = (before | add) - remove
    if after != before:
        devices.set_tags(session, name, after)
        events.add(session, Event(time.time(), "retagged", name, " ".join(sorted(after)) or "no tags"))
    return sorted(after)
