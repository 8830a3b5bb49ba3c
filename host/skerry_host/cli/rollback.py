"""`skerry rollback`: orders devices back to their previous release."""

import time
from typing import TYPE_CHECKING

import click

from skerry_agent.wire.errors import SkerryError
from skerry_host.cli.chosen import EXIT_STATUS, Chosen, chosen_devices, of_all, refused_lines
from skerry_host.cli.common import emit, json_option, registry
from skerry_host.cli.plane import plane_now
from skerry_host.plane.rollouts import intake

if TYPE_CHECKING:
    from skerry_host.fleet.several import Several


@click.command(epilog=EXIT_STATUS)
@click.option("--group", help="The devices of a group.")
@click.option("--device", "names", multiple=True, help="A device; may be given several times.")
@click.option("--model", help="The model, for devices that run several.")
@json_option
def rollback(group: str | None, names: tuple[str, ...], model: str | None, as_json: bool) -> int:
    """Roll devices back to their previous release, at once and without a download.

    It is ordered for every device that has one; the others are listed, each with the reason.
    """
    with registry() as opened, opened.write() as session:
        chosen = chosen_devices(session, group, names)
        try:
            ordered = intake.order_rollbacks(session, chosen.devices, model, time.time(), chosen.refused)
        except SkerryError as error:
            may_change = intake.open_rollouts(session, [device.id for device in chosen.devices])
            error.hint = "; ".join(filter(None, [error.hint, *_may_change(may_change)]))
            raise
        still_open = intake.open_rollouts(session, [refusal.device for refusal in ordered.refused])
        plane = plane_now(session)
    orders = [{"device": device, "order": order} for device, order in ordered.done.items()]
    data = {"orders": orders, "refused": ordered.refused, "open_rollouts": still_open, "plane": plane}
    emit(data, as_json, lambda: "\n".join(_lines(chosen, ordered, still_open)))
    return ordered.exit_code


def _lines(chosen: Chosen, ordered: "Several[str]", still_open: list[str]) -> list[str]:
    head = f"rollback ordered for {of_all(ordered)} ({chosen.selection})"
    return [head, *refused_lines("not ordered for", ordered.refused), *_may_change(still_open)]


def _may_change(still_open: list[str]) -> list[str]:
    return [f"rollout {each} may still change these: `skerry rollout abort {each}` ends it" for each in still_open]
