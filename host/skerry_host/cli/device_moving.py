"""`skerry device move`: gives devices of the old way an identity, over the connection that they have."""

import time
from typing import TYPE_CHECKING, Any

import click

from skerry_agent.wire.enrolment import Offer
from skerry_host.cli.chosen import EXIT_STATUS, Chosen, chosen_devices, of_all, refused_lines
from skerry_host.cli.common import emit, json_option, registry, warn
from skerry_host.cli.device_enrolment import MOST_DAYS, broker_option, enroll_broker_option, enrolment_addresses
from skerry_host.cli.plane import plane_now
from skerry_host.fleet.errors import FleetError
from skerry_host.fleet.several import Several, for_each
from skerry_host.home import Home, open_home
from skerry_host.plane import provision as provisioning
from skerry_host.plane.broker.listening import only_this_machine
from skerry_host.plane.enrolment import moving
from skerry_host.plane.enrolment.moving import Terms
from skerry_host.plane.registry.records import devices, identities

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

APPROVE = "each shows a code when it has asked: `skerry device pending`, then `skerry device approve CODE`"
TRUSTED = "the first key that comes in the name of each is taken for its own: anybody on that network may be first"


@click.command(epilog=EXIT_STATUS)
@click.argument("names", nargs=-1, metavar="NAME...")
@click.option("--group", help="The devices of a group, or of a selection such as 'tag:lab'.")
@click.option("--old-way", is_flag=True, help="All that are known without an identity.")
@click.option("--trust-network", is_flag=True, help="Approve the first key that asks in the name of each.")
@click.option("--cancel", is_flag=True, help="Offer them no identity any more; one that was given stays.")
@click.option(
    "--days", type=click.FloatRange(0, MOST_DAYS, min_open=True), default=30.0, help="How long the offer stands [30]."
)
@broker_option
@enroll_broker_option
@json_option
def move(names: tuple[str, ...], cancel: bool, as_json: bool, **given: Any) -> int:
    """Give devices of the old way an identity, without touching them. Their agents have to be of this version.

    Each makes a key and asks, over the connection that it has, and you approve it by its code. It goes on the old way
    until it has come in with its certificate.
    """
    home, now = open_home(), time.time()
    terms = None if cancel else Terms(_offer(home, given), given["days"], given["trust_network"])
    with registry(home) as opened, opened.write() as session:
        chosen = _chosen(session, names, given)
        word = "it can be moved" if terms else "a move can be cancelled"

        def act(name: str) -> None:
            if terms is not None:
                moving.begin(session, name, terms, now)
            else:
                moving.cancel(session, name, now)

        done = for_each(word, [each.id for each in chosen.devices], str, act, chosen.refused)
        plane = plane_now(session)
    data = {"cancelled" if cancel else "moving": list(done.done), "refused": done.refused, "plane": plane}
    when = "" if plane.running else "; they are told when the plane runs"
    emit(data, as_json, lambda: "\n".join(_lines(done, terms, when)))
    if terms is not None and only_this_machine(terms.offer.broker):
        hint = "run `skerry serve --listen auto` first, or give --broker"
        warn([f"only this machine can call {terms.offer.broker}: {hint}"])
    return done.exit_code


def _lines(done: "Several[None]", terms: Terms | None, when: str) -> list[str]:
    said = f"offered an identity to {of_all(done)}" if terms else f"no more offered to {of_all(done)}"
    next_step = [] if terms is None else [TRUSTED if terms.trusted else APPROVE]
    return [f"{said}: {', '.join(done.done)}{when}", *next_step, *refused_lines("not moved:", done.refused)]


def _chosen(session: "Session", names: tuple[str, ...], given: dict[str, Any]) -> Chosen:
    """Raises `click.UsageError` unless one way of choosing is given, and `FleetError` where it chooses none."""
    if not given["old_way"]:
        return chosen_devices(session, given["group"], names)
    if names or given["group"]:
        raise click.UsageError("give names, --group or --old-way", click.get_current_context())
    old = sorted(name for name in identities.old_way(session) if identities.incarnation(session, name) is None)
    if not old:
        raise FleetError("no device comes the old way", code="no_devices")
    return Chosen([devices.find(session, name) for name in old], "the old way")


def _offer(home: Home, given: dict[str, Any]) -> Offer:
    """Raises `FleetError` where the broker has no way in with an identity, and `AddressError`."""
    from skerry_host.identity.authority import Authority  # noqa: PLC0415 - keeps the other commands quick

    broker, enrolment = enrolment_addresses(home, given["broker"], given["enroll_broker"])
    for url in (broker, enrolment):
        provisioning.require_tls(url)
    return Offer(broker, enrolment, Authority.open(home.identity, time.time()).root_pem.decode())
