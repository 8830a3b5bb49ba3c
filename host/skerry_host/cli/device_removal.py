"""`skerry device remove-model`: takes a model off a device."""

import time

import click

from skerry_host.cli.common import emit, json_option, registry
from skerry_host.cli.plane import plane_now
from skerry_host.plane.rollouts import intake


@click.command(name="remove-model")
@click.argument("name")
@click.argument("model")
@json_option
def remove_model(name: str, model: str, as_json: bool) -> None:
    """Take a model off a device: it ends, and its files go. A rollout of it brings it back.

    An agent of before this was known keeps the model, and the order fails with that reason (`skerry event list`).
    """
    with registry() as opened, opened.write() as session:
        order = intake.order_removal(session, name, model, time.time())
        plane = plane_now(session)
    data = {"device": name, "model": model, "order": order, "plane": plane}
    emit(data, as_json, lambda: f"{model} is to go from {name}: `skerry device show {name}` shows when it has")
