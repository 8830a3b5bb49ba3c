"""`skerry rollback`: orders devices back to their previous release."""

import time

import click

from skerry_host.cli.chosen import chosen_devices
from skerry_host.cli.common import emit, json_option, registry
from skerry_host.plane.rollouts import intake


@click.command()
@click.option("--group", help="The devices of a group.")
@click.option("--device", "names", multiple=True, help="A device; may be given several times.")
@click.option("--model", help="The model, for devices that run several.")
@json_option
def rollback(group: str | None, names: tuple[str, ...], model: str | None, as_json: bool) -> None:
    """Roll devices back to their previous release, at once and without a download."""
    with registry() as opened, opened.write() as session:
        chosen, selection = chosen_devices(session, group, names)
        orders = {d.id: intake.order_rollback(session, d.id, model, time.time()) for d in chosen}
    data = [{"device": device, "order": order} for device, order in orders.items()]
    emit(data, as_json, lambda: f"rollback ordered for {len(orders)} devices ({selection})")
